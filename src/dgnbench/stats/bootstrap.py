"""Intervals, probabilities of being best and rank intervals, by a hierarchical bootstrap.

Whole datasets are drawn with all their replicates: the noise of replicates is in the spread
between datasets already, and drawing replicates again would count it twice (Davison & Hinkley
1997, Bootstrap Methods and their Application, section 3.8). Where there are too few datasets to
say anything about other ones, replicates are drawn within each dataset instead.

The plain percentile interval is too narrow for few units: its variance is smaller by (n−1)/n and
its quantiles are normal ones (Hesterberg 2015, 10.1080/00031305.2015.1089789). Every draw is
therefore stretched by √(n/(n−1)) and by √(df/χ²(df)), one χ² a draw for all methods: the draws
of a mean, and of any difference of means, then have Student's spread, and the skew of the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from dgnbench.contract import CONTROLS
from dgnbench.stats.cube import Cube, Flags, Floats, Policy, cubes, mean_of

DRAWS = 2000
SEED = 0
LEVEL = 0.95
MIN_DATASETS = 5  # with fewer an interval is over replicates only, and about these datasets only

COLUMNS = ["task", "method", "role", "uses_labels", "mean", "lo", "hi", "over", "n_datasets", "p_best",
           "rank", "rank_lo", "rank_hi", "reason"]  # fmt: skip

Over = Literal["datasets", "replicates", "nothing"]
WHY = {
    "datasets": "",
    "replicates": f"fewer than {MIN_DATASETS} datasets: the interval is over replicates only and "
    "says nothing about other datasets",
    "nothing": "a single score where at least two are needed: no interval",
}


@dataclass(frozen=True, eq=False)
class Draws:
    """Bootstrap draws of means.

    Parameters
    ----------
    over
        What was drawn, one a mean.
    mean
        The means themselves, shape (means,).
    values
        Shape (draws, means); NaN where `over` is ``nothing``.
    """

    over: tuple[Over, ...]
    mean: Floats
    values: Floats

    def interval(self, level: float = LEVEL) -> tuple[Floats, Floats]:
        """Lower and upper ends, one a mean; NaN where nothing could be drawn."""
        tail = (1 - level) / 2
        lo, hi = np.quantile(self.values, [tail, 1 - tail], axis=0)
        return lo, hi


def unit_of(values: Floats) -> Over:
    """What a table is drawn over: datasets where there are enough of them, else replicates.

    Parameters
    ----------
    values
        Shape (means, datasets, replicates), NaN where missing.
    """
    datasets = int((~np.isnan(values)).any(axis=(0, 2)).sum())
    return "datasets" if datasets >= MIN_DATASETS else "replicates"


def draw(values: Floats, *, draws: int = DRAWS, seed: int = SEED) -> Draws:
    """Bootstrap draws of mean-over-datasets-of-mean-over-replicates.

    Parameters
    ----------
    values
        Shape (means, datasets, replicates), NaN where missing. A mean's draws do not depend on
        which other means are in the array.
    draws, seed
        How many, and what makes them reproducible.
    """
    rng = np.random.default_rng(seed)
    over = unit_of(values)
    by_dataset = mean_of(values, axis=2)
    mean = mean_of(by_dataset, axis=1)
    n_datasets = (~np.isnan(by_dataset)).sum(axis=1)
    n = values.shape[1]
    if over == "datasets":
        df = n_datasets - 1
        enough = df > 0
        weights = rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(float)
        parts = _parts(by_dataset, axis=1) / np.maximum(n_datasets, 1)[:, None]
    else:
        r = values.shape[2]
        within = (~np.isnan(values)).sum(axis=2)
        df = _satterthwaite(values)
        enough = (within != 1).all(axis=1) & (within > 1).any(axis=1)  # one has an unknown spread
        weights = rng.multinomial(r, np.full(r, 1 / r), size=(draws, n)).astype(float)
        weights = weights.reshape(draws, n * r)
        parts = _parts(values, axis=2) / np.maximum(within, 1)[:, :, None]
        parts = parts.reshape(len(values), n * r) / np.maximum(n_datasets, 1)[:, None]
    stretched = weights @ parts.T * _stretch(rng.random(draws), df)
    drawn: Floats = np.where(enough[None, :], mean[None, :] + stretched, np.nan)
    words: tuple[Over, ...] = tuple(over if here else "nothing" for here in enough)
    return Draws(words, mean, drawn)


def _parts(values: Floats, axis: int) -> Floats:
    """Deviations from the mean along an axis, stretched by √(n/(n−1)); 0 where missing."""
    here = ~np.isnan(values)
    count = here.sum(axis=axis, keepdims=True)
    mean = np.expand_dims(mean_of(values, axis=axis), axis)
    parts: Floats = np.where(here, values - mean, 0.0)
    parts *= np.sqrt(count / np.maximum(count - 1, 1))
    return parts


def _satterthwaite(values: Floats) -> Floats:
    """Degrees of freedom of a sum of means over replicates whose noise differs by dataset.

    Welch 1947 (10.1093/biomet/34.1-2.28): (Σ v)² / Σ v²/(r − 1), v the squared standard errors.
    """
    here = ~np.isnan(values)
    r = here.sum(axis=2)
    mean = np.expand_dims(mean_of(values, axis=2), 2)
    squares = (np.where(here, values - mean, 0.0) ** 2).sum(axis=2)
    free = np.maximum(r - 1, 1)
    v = squares / free / np.maximum(r, 1)
    below = (v**2 / free).sum(axis=1)
    df = np.where(below > 0, v.sum(axis=1) ** 2 / np.where(below > 0, below, 1.0), 1.0)
    rounded: Floats = np.floor(df * 10 + 1e-6) / 10  # few kinds, each a little too small
    return rounded


def _stretch(uniform: Floats, df: Floats) -> Floats:
    """√(df/χ²(df)), shape (draws, means): the same quantile of χ² for all means of a draw."""
    from scipy.stats import chi2

    kinds, which = np.unique(np.maximum(df, 1.0), return_inverse=True)
    table = np.sqrt(kinds[None, :] / chi2.ppf(uniform[:, None], kinds[None, :]))
    made: Floats = table[:, which]
    return made


def probability_best(values: Floats) -> Floats:
    """The share of draws in which each mean is largest; ties share; NaN without draws.

    Parameters
    ----------
    values
        Shape (draws, means).
    """
    known = ~np.isnan(values).any(axis=0)
    share = np.full(values.shape[1], np.nan)
    if known.any():
        drawn = values[:, known]
        top = drawn == drawn.max(axis=1, keepdims=True)
        share[known] = (top / top.sum(axis=1, keepdims=True)).mean(axis=0)
    return share


def rank_interval(values: Floats, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Between which ranks (1 is largest) each mean lies in `level` of the draws.

    Parameters
    ----------
    values
        Shape (draws, means).
    """
    from scipy.stats import rankdata

    known = ~np.isnan(values).any(axis=0)
    lo, hi = np.full(values.shape[1], np.nan), np.full(values.shape[1], np.nan)
    if known.any():
        ranks = rankdata(-values[:, known], axis=1, method="min")
        tail = (1 - level) / 2
        lo[known] = np.quantile(ranks, tail, axis=0, method="lower")
        hi[known] = np.quantile(ranks, 1 - tail, axis=0, method="higher")
    return lo, hi


def intervals(
    scores: pd.DataFrame,
    policy: Policy = "floor",
    *,
    primary_only: bool = True,
    labels_apart: bool = True,
    draws: int = DRAWS,
    seed: int = SEED,
) -> pd.DataFrame:
    """95 % interval, probability of being best and rank interval of every aggregate.

    Parameters
    ----------
    scores, policy, primary_only
        As for `dgnbench.stats.aggregate`.
    labels_apart
        Rank methods that use labels in a league of their own.
    draws, seed
        Of the bootstrap.

    Returns
    -------
    A row a task and method: task, method, role, uses_labels, mean, lo, hi, over (datasets,
    replicates or nothing), n_datasets (with a score of it that counts), p_best, rank, rank_lo,
    rank_hi (all NaN for controls, which are not ranked) and reason (what the interval cannot say).
    """
    made = []
    for cube in cubes(scores, primary_only=primary_only):
        counted = cube.counted(policy)
        drawn = draw(counted, draws=draws, seed=seed)
        lo, hi = drawn.interval()
        table = pd.DataFrame(
            {
                "task": cube.task,
                "method": cube.methods,
                "role": cube.roles,
                "uses_labels": cube.uses_labels,
                "mean": drawn.mean,
                "lo": lo,
                "hi": hi,
                "over": drawn.over,
                "n_datasets": (~np.isnan(counted)).any(axis=2).sum(axis=1),
            }
        )
        for name in ("p_best", "rank", "rank_lo", "rank_hi"):
            table[name] = np.nan
        for league in _leagues(cube, labels_apart):
            rows = np.flatnonzero(league)
            values = drawn.values[:, rows]
            table.loc[rows, "p_best"] = probability_best(values)
            table.loc[rows, "rank"] = table.loc[rows, "mean"].rank(ascending=False, method="min")
            table.loc[rows, "rank_lo"], table.loc[rows, "rank_hi"] = rank_interval(values)
        table["reason"] = [WHY[over] for over in drawn.over]
        made.append(table)
    return pd.concat(made, ignore_index=True) if made else pd.DataFrame(columns=COLUMNS)


def _leagues(cube: Cube, labels_apart: bool) -> list[Flags]:
    ranked = np.array([role not in CONTROLS for role in cube.roles], dtype=bool)
    if not labels_apart:
        return [ranked]
    return [ranked & ~cube.uses_labels, ranked & cube.uses_labels]


def dataset_intervals(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean and 95 % Student interval over replicates, a row a task, dataset, method and metric.

    Returns
    -------
    Columns task, dataset, method, metric, n, value, value_lo, value_hi, scaled, scaled_lo,
    scaled_hi, sd (of the raw value over replicates). Missing scores are skipped; no interval
    from fewer than two replicates.
    """
    from scipy.stats import t

    keys = ["task", "dataset", "method", "metric"]
    groups = scores.groupby(keys, sort=False)
    made = groups["value"].agg(n="count", value="mean", sd="std").reset_index()
    other = groups["scaled"].agg(["mean", "std"]).reset_index()
    made["scaled"] = other["mean"]
    n = made["n"].to_numpy(dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        half = np.where(n > 1, t.ppf((1 + LEVEL) / 2, n - 1) / np.sqrt(n), np.nan)
    for name, sd in (("value", made["sd"]), ("scaled", other["std"])):
        made[f"{name}_lo"] = made[name] - half * sd
        made[f"{name}_hi"] = made[name] + half * sd
    return made[[*keys, "n", "value", "value_lo", "value_hi", "scaled", "scaled_lo", "scaled_hi",
                 "sd"]]  # fmt: skip
