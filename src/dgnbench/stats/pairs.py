"""Paired comparisons: what differs, by how much, and whether the data could have shown it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from dgnbench.stats.bootstrap import DRAWS, SEED, draw, unit_of
from dgnbench.stats.cube import Cube, Floats, Policy, cubes, mean_of

ALPHA = 0.05
EXACT = 13  # all sign patterns of so many differences are looked at, of more a random choice
PATTERNS = 10_000
TIE = 1e-12  # sums nearer than this, relative to the largest possible one, are equal

FACTS = ["unit", "n", "difference", "lo", "hi", "effect", "won", "p", "least_p", "p_holm", "verdict",
         "reason"]  # fmt: skip

Test = Literal["sign_flip", "wilcoxon"]
Verdict = Literal["better", "worse", "no difference shown", "too little data"]


@dataclass(frozen=True, eq=False)
class Tested:
    """One-sided p values of paired differences, one a column.

    Parameters
    ----------
    up, down
        For a mean above the tolerance, and for one below minus the tolerance.
    least
        The smallest two-sided p value that so many differences can give.
    n
        How many differences there are.
    """

    up: Floats
    down: Floats
    least: Floats
    n: Floats

    @property
    def two_sided(self) -> Floats:
        """Twice the smaller one, at most 1."""
        p: Floats = np.minimum(1.0, 2 * np.minimum(self.up, self.down))
        return p


def holm(p: Floats) -> Floats:
    """Holm's step-down adjusted p values (Holm 1979); NaN belongs to no family and stays."""
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def sign_flip(differences: Floats, tolerance: float = 0.0, *, seed: int = SEED) -> Tested:
    """Permutation test of paired differences: under no difference every sign is as likely.

    Parameters
    ----------
    differences
        Shape (units, pairs), NaN where missing.
    tolerance
        Means within ± tolerance count as no difference.
    seed
        Of the sign patterns, where there are more than 13 units (else all are looked at).

    Notes
    -----
    p = share of sign patterns whose sum is at least the observed one; with random patterns the
    observed one is counted in, so that p is never 0 (Phipson & Smyth 2010, 10.2202/1544-6115.1585).
    """
    differences = differences[~np.isnan(differences).all(axis=1)]
    units = len(differences)
    here = ~np.isnan(differences)
    n = here.sum(axis=0).astype(float)
    if units <= EXACT:
        bits = (np.arange(2**units)[:, None] >> np.arange(units)[None, :]) & 1
        signs = 1.0 - 2.0 * bits
    else:
        rng = np.random.default_rng(seed)
        signs = rng.choice([-1.0, 1.0], size=(PATTERNS, units))
        signs = np.vstack([np.ones(units), signs])
    sides = []
    for side in (1.0, -1.0):
        shifted = np.where(here, side * differences - tolerance, 0.0)
        slack = TIE * np.abs(shifted).sum(axis=0)
        sides.append((signs @ shifted >= shifted.sum(axis=0) - slack).mean(axis=0))
    least = np.maximum(2.0 ** (1 - n), 2.0 / len(signs))
    return Tested(sides[0], sides[1], np.minimum(1.0, least), n)


def wilcoxon(differences: Floats, tolerance: float = 0.0) -> Tested:
    """Wilcoxon's signed-rank test of paired differences, by SciPy; arguments as for `sign_flip`."""
    from scipy import stats

    n = (~np.isnan(differences)).sum(axis=0)
    sides = []
    for side in (1.0, -1.0):
        p = np.ones(differences.shape[1])
        for j in np.flatnonzero(n > 0):
            column = differences[:, j]
            shifted = side * column[~np.isnan(column)] - tolerance
            if np.any(shifted != 0):
                p[j] = stats.wilcoxon(shifted, alternative="greater").pvalue
        sides.append(p)
    return Tested(sides[0], sides[1], np.minimum(1.0, 2.0 ** (1.0 - n)), n.astype(float))


def effect_size(differences: Floats) -> Floats:
    """Mean difference in standard deviations of the differences, corrected for few units.

    Hedges' g of paired differences, g = (1 − 3/(4(n−1) − 1)) · mean / sd (Hedges 1981,
    10.3102/10769986006002107). Infinite where all differences are equal and not 0.

    Parameters
    ----------
    differences
        Shape (units, pairs), NaN where missing.
    """
    here = ~np.isnan(differences)
    n = here.sum(axis=0)
    mean = mean_of(differences, axis=0)
    squares = np.where(here, differences - mean, 0.0) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        sd = np.sqrt(squares.sum(axis=0) / (n - 1))
        sd = np.where(sd <= TIE * np.abs(mean), 0.0, sd)
        raw = np.where((sd == 0) & (mean == 0), 0.0, mean / sd)
        small = np.where(n > 2, 1 - 3 / (4 * (n - 1) - 1), 1.0)
    return np.where(n > 1, small * raw, np.nan)


def verdicts(tested: Tested, *, alpha: float = ALPHA) -> tuple[Floats, list[Verdict]]:
    """Holm-adjusted p values of a family, and what can be said.

    ``too little data`` where even the clearest outcome could not have been told from chance:
    the least possible p value, times the size of the family, is above alpha.
    """
    p = np.where(tested.n > 0, tested.two_sided, np.nan)
    adjusted = holm(p)
    size = int((~np.isnan(p)).sum())
    words: list[Verdict] = []
    for j, value in enumerate(adjusted):
        if np.isnan(value):
            words.append("too little data")
        elif value <= alpha:
            words.append("better" if tested.up[j] < tested.down[j] else "worse")
        elif tested.least[j] * size > alpha:
            words.append("too little data")
        else:
            words.append("no difference shown")
    return adjusted, words


def _units(differences: Floats, unit: str) -> Floats:
    """(pairs, datasets, replicates) to (units, pairs)."""
    if unit == "datasets":
        return mean_of(differences, axis=2).T
    return differences.reshape(len(differences), -1).T


def measured(
    differences: Floats,
    *,
    tolerance: float = 0.0,
    test: Test = "sign_flip",
    draws: int = DRAWS,
    seed: int = SEED,
) -> tuple[pd.DataFrame, Tested]:
    """Size, interval and one-sided tests of paired differences; no correction, no verdict.

    Parameters
    ----------
    differences
        Shape (pairs, datasets, replicates), NaN where missing. The units are datasets where
        there are at least 5, else single runs (and the result is about these datasets only).

    Returns
    -------
    A row a pair with columns unit, n, difference, lo, hi, effect, won (share of units, ties
    half), p, least_p (the smallest that so many units can give); and the tests.
    """
    unit = unit_of(differences)
    each = _units(differences, unit)
    tested = (sign_flip(each, tolerance, seed=seed) if test == "sign_flip"
              else wilcoxon(each, tolerance))  # fmt: skip
    drawn = draw(differences, draws=draws, seed=seed)
    lo, hi = drawn.interval()
    table = pd.DataFrame(
        {
            "unit": unit,
            "n": tested.n.astype(int),
            "difference": drawn.mean,
            "lo": lo,
            "hi": hi,
            "effect": effect_size(each),
            "won": mean_of(np.where(np.isnan(each), np.nan, (np.sign(each) + 1) / 2), axis=0),
            "p": np.where(tested.n > 0, tested.two_sided, np.nan),
            "least_p": tested.least,
        }
    )
    return table, tested


def judged(table: pd.DataFrame, tested: Tested, *, alpha: float = ALPHA) -> pd.DataFrame:
    """The table of `measured` with p_holm, verdict and reason (in words, what limits it)."""
    adjusted, words = verdicts(tested, alpha=alpha)
    family = int((tested.n > 0).sum())
    reasons = []
    columns = (table["n"], table["unit"], table["least_p"], words)
    for n, unit, least, word in zip(*columns, strict=True):
        said = []
        if word == "too little data":
            said.append(
                f"{n} {'datasets' if unit == 'datasets' else 'paired runs'} cannot give p below "
                f"{least:.3g}, and "
                f"{family} comparison{'s' if family > 1 else ''} would need {alpha / family:.3g}"
                if n and family
                else "no dataset where both have a score"
            )
        if unit == "replicates" and n:
            said.append("about these datasets only")
        reasons.append("; ".join(said))
    return table.assign(p_holm=adjusted, verdict=words, reason=reasons)


def differences_of(cube: Cube, pairs: Sequence[tuple[int, int]], policy: Policy) -> Floats:
    """First minus second, (pairs, datasets, replicates).

    NaN where one was not asked for, where neither has a score, and with ``skip`` where one lacks.
    """
    counted = cube.counted(policy)
    first = [a for a, _ in pairs]
    second = [b for _, b in pairs]
    some = (cube.there[first] > 0) | (cube.there[second] > 0)
    return np.where(some, counted[first] - counted[second], np.nan)


def all_pairs(
    scores: pd.DataFrame,
    policy: Policy = "floor",
    *,
    tolerance: float = 0.0,
    test: Test = "sign_flip",
    primary_only: bool = True,
    draws: int = DRAWS,
    seed: int = SEED,
) -> pd.DataFrame:
    """Every two methods of every task, Holm-corrected over all pairs of the task.

    Parameters
    ----------
    scores, policy, primary_only
        As for `dgnbench.stats.aggregate`; controls are left out.
    tolerance
        Differences within ± tolerance, in scaled units, count as none.
    test
        Exact permutation of signs, or Wilcoxon's signed ranks.

    Returns
    -------
    Columns task, method, rival, unit, n, difference (method − rival), lo, hi, effect, won, p,
    least_p, p_holm, verdict (of the method), reason.
    """
    made = []
    for whole in cubes(scores, primary_only=primary_only):
        cube = whole.without_controls()
        pairs = [(a, b) for a in range(len(cube.methods)) for b in range(a)]
        if not pairs:
            continue
        table, tested = measured(differences_of(cube, pairs, policy), tolerance=tolerance,
                                 test=test, draws=draws, seed=seed)  # fmt: skip
        table = judged(table, tested)
        table.insert(0, "task", cube.task)
        table.insert(1, "method", [cube.methods[a] for a, _ in pairs])
        table.insert(2, "rival", [cube.methods[b] for _, b in pairs])
        made.append(table)
    columns = ["task", "method", "rival", *FACTS]
    return pd.concat(made, ignore_index=True) if made else pd.DataFrame(columns=columns)


def against_baselines(
    scores: pd.DataFrame,
    policy: Policy = "floor",
    *,
    tolerance: float = 0.0,
    test: Test = "sign_flip",
    primary_only: bool = True,
    draws: int = DRAWS,
    seed: int = SEED,
) -> pd.DataFrame:
    """Every method against the best non-deep baseline, Holm-corrected over the task's methods.

    Parameters
    ----------
    scores, policy, primary_only, tolerance, test
        As for `all_pairs`.

    Returns
    -------
    A row a task and method of role ``method``: task, method, uses_labels, baseline (the one of
    the highest mean), unit, n, difference (method − baseline), lo, hi, effect, won, p, least_p,
    p_holm, verdict, reason, below_baseline (whether its mean is not above the baseline's).
    Methods that use labels meet every baseline, the others those without labels. Empty without
    baselines.

    Notes
    -----
    Which baseline is best is seen in the same data. ``better`` therefore needs every baseline
    beaten (p is the largest over baselines: intersection-union test, Berger 1982,
    10.1080/00401706.1982.10487790), and p for ``worse`` is the smallest times their number.
    """
    made = []
    for whole in cubes(scores, primary_only=primary_only):
        cube = whole.without_controls()
        means = cube.means(policy)
        pairs: list[tuple[int, int]] = []
        starts: list[int] = []
        for a, role in enumerate(cube.roles):
            rivals = [
                b
                for b, other in enumerate(cube.roles)
                if other == "baseline" and cube.uses_labels[b] <= cube.uses_labels[a]
            ]
            rivals = [b for b in rivals if not np.isnan(means[b])]
            if role == "method" and rivals:
                starts.append(len(pairs))
                pairs += [(a, b) for b in sorted(rivals, key=lambda b: -means[b])]
        if not pairs:
            continue
        table, tested = measured(differences_of(cube, pairs, policy), tolerance=tolerance,
                                 test=test, draws=draws, seed=seed)  # fmt: skip
        sizes = np.diff([*starts, len(pairs)])
        against_all = Tested(
            np.maximum.reduceat(tested.up, starts),
            np.minimum(1.0, np.minimum.reduceat(tested.down, starts) * sizes),
            np.maximum.reduceat(tested.least, starts),
            np.minimum.reduceat(tested.n, starts),
        )
        table = table.iloc[starts].reset_index(drop=True)
        table["p"] = np.where(against_all.n > 0, against_all.two_sided, np.nan)
        table = judged(table, against_all)
        own = [pairs[i] for i in starts]
        table.insert(0, "task", cube.task)
        table.insert(1, "method", [cube.methods[a] for a, _ in own])
        table.insert(2, "uses_labels", [bool(cube.uses_labels[a]) for a, _ in own])
        table.insert(3, "baseline", [cube.methods[b] for _, b in own])
        table["below_baseline"] = [not means[a] > means[b] for a, b in own]
        made.append(table)
    columns = ["task", "method", "uses_labels", "baseline", *FACTS, "below_baseline"]
    return pd.concat(made, ignore_index=True) if made else pd.DataFrame(columns=columns)
