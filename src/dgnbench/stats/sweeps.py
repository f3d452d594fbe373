"""Sweeps over parameters: response curves, and what tuning would have bought."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dgnbench.plan import base_of, variant_of
from dgnbench.stats.bootstrap import DRAWS, LEVEL, MIN_DATASETS, SEED, WHY, draw
from dgnbench.stats.cube import Cube, Flags, Floats, Policy, cubes, mean_of
from dgnbench.stats.pairs import differences_of

CURVE = ["task", "method", "variant", "parameter", "value", "default", "alone", "mean", "lo", "hi",
         "difference", "difference_lo", "difference_hi", "over", "reason"]  # fmt: skip
GAIN = ["task", "method", "n_variants", "n_datasets", "gain", "lo", "hi", "p", "oracle",
        "oracle_per_dataset", "chosen", "reason"]  # fmt: skip


def _swept(cube: Cube) -> dict[str, list[int]]:
    """The rows of every method that has variants; its default first."""
    found: dict[str, list[int]] = {}
    for row, name in enumerate(cube.methods):
        found.setdefault(base_of(name), []).append(row)
    return {
        method: sorted(rows, key=lambda row: "@" in cube.methods[row])
        for method, rows in found.items()
        if len(rows) > 1
    }


def response_curves(
    scores: pd.DataFrame,
    policy: Policy = "floor",
    *,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
    primary_only: bool = True,
    draws: int = DRAWS,
    seed: int = SEED,
) -> pd.DataFrame:
    """The mean score of every variant of a method along every parameter that was changed.

    Parameters
    ----------
    scores, policy, primary_only
        As for `dgnbench.stats.aggregate`.
    defaults
        The parameters of each method's card, so that the default has a place on the curve.

    Returns
    -------
    A row a task, variant and parameter: task, method (without ``@``), variant (as in the scores),
    parameter, value (None for a default that `defaults` does not tell), default, alone (whether
    nothing else was changed), mean, lo, hi, difference, difference_lo, difference_hi (to the
    default, paired; NaN where the default was not run), over, reason. Sorted along each curve.
    """
    made: list[dict[str, Any]] = []
    for cube in cubes(scores, primary_only=primary_only):
        counted = cube.counted(policy)
        for method, rows in _swept(cube).items():
            drawn = draw(counted[rows], draws=draws, seed=seed)
            lo, hi = drawn.interval()
            has_default = "@" not in cube.methods[rows[0]]
            pairs = [(row, rows[0]) for row in rows]
            gap = draw(differences_of(cube, pairs, policy), draws=draws, seed=seed)
            gap_lo, gap_hi = gap.interval()
            changed = [variant_of(cube.methods[row]) for row in rows]
            names = sorted({name for params in changed for name in params})
            own = dict((defaults or {}).get(method, {}))
            for i, (row, params) in enumerate(zip(rows, changed, strict=True)):
                for name in params or names:
                    made.append(
                        {
                            "task": cube.task,
                            "method": method,
                            "variant": cube.methods[row],
                            "parameter": name,
                            "value": params.get(name, own.get(name)),
                            "default": not params,
                            "alone": len(params) <= 1,
                            "mean": drawn.mean[i],
                            "lo": lo[i],
                            "hi": hi[i],
                            "difference": gap.mean[i] if has_default else np.nan,
                            "difference_lo": gap_lo[i] if has_default else np.nan,
                            "difference_hi": gap_hi[i] if has_default else np.nan,
                            "over": drawn.over[i],
                            "reason": WHY[drawn.over[i]],
                        }
                    )
    made.sort(key=lambda row: (row["task"], row["method"], row["parameter"], _place(row["value"])))
    return pd.DataFrame(made, columns=CURVE)


def _place(value: Any) -> tuple[int, float, str]:
    """Numbers in their order, then words in theirs."""
    if isinstance(value, int | float):
        return (0, float(value), "")
    return (1, 0.0, str(value))


def tuning_gain(
    scores: pd.DataFrame,
    policy: Policy = "floor",
    *,
    primary_only: bool = True,
) -> pd.DataFrame:
    """What choosing a variant would have bought over the default, a row a task and method.

    The honest figure chooses the variant with the best mean on the other datasets and measures it
    on the dataset left out, whose solution it has thus not seen. The oracles choose with the
    solution in hand and are too good by as much as chance allows.

    Parameters
    ----------
    scores, policy, primary_only
        As for `dgnbench.stats.aggregate`; methods that were run with their default and at least
        one variant.

    Returns
    -------
    Columns task, method, n_variants (the default among them), n_datasets, gain (mean over the
    datasets left out; NaN with fewer than 2 datasets), lo, hi, p (two-sided, not corrected for
    several methods; NaN with fewer than 5 datasets), oracle (gain of the one variant that is best
    over all datasets), oracle_per_dataset (gain of the best variant of each dataset), chosen
    (variant by dataset left out), reason (what limits the numbers).

    Notes
    -----
    The datasets left out share most of the datasets that chose for them, so that the plain
    interval would be too narrow. Its variance is therefore s² (1/n + 1/(n−1)) instead of s²/n
    (Nadeau & Bengio 2003, 10.1023/A:1024068626366), an approximation.
    """
    made: list[dict[str, Any]] = []
    for cube in cubes(scores, primary_only=primary_only):
        counted = cube.counted(policy)
        for method, rows in _swept(cube).items():
            if "@" in cube.methods[rows[0]]:
                continue
            own = counted[rows]
            usable: Flags = np.all(
                ~np.isnan(mean_of(own, axis=2)), axis=0
            )  # all variants count there
            made.append(
                {
                    "task": cube.task,
                    "method": method,
                    "n_variants": len(rows),
                    **_gain(
                        [cube.methods[row] for row in rows],
                        own[:, usable],
                        [d for d, u in zip(cube.datasets, usable, strict=True) if u],
                    ),
                }
            )
    return pd.DataFrame(made, columns=GAIN)


def _gain(names: list[str], values: Floats, datasets: list[str]) -> dict[str, Any]:
    """The gains of one method; values (variants, datasets, replicates), the default first."""
    n = len(datasets)
    means = mean_of(values, axis=2)
    row: dict[str, Any] = {"n_datasets": n}
    nan = float("nan")
    if n == 0:
        return {**row, "gain": nan, "lo": nan, "hi": nan, "p": nan, "oracle": nan,
                "oracle_per_dataset": nan, "chosen": {},
                "reason": "no dataset on which all variants have a score"}  # fmt: skip
    overall = means.mean(axis=1)
    row["oracle"] = float(overall.max() - overall[0])
    row["oracle_per_dataset"] = float((means.max(axis=0) - means[0]).mean())
    if n < 2:
        return {**row, "gain": nan, "lo": nan, "hi": nan, "p": nan, "chosen": {},
                "reason": "one dataset: no other one to choose on"}  # fmt: skip
    others = (means.sum(axis=1, keepdims=True) - means) / (n - 1)
    best = others.argmax(axis=0)  # the default, which comes first, wins ties
    gains = means[best, np.arange(n)] - means[0]
    lo, hi, p = _corrected(gains) if n >= MIN_DATASETS else (nan, nan, nan)
    return {
        **row,
        "gain": float(gains.mean()),
        "lo": lo,
        "hi": hi,
        "p": p,
        "chosen": {d: names[i] for d, i in zip(datasets, best, strict=True)},
        "reason": "" if n >= MIN_DATASETS else f"{n} datasets: says nothing about other datasets",
    }


def _corrected(gains: Floats) -> tuple[float, float, float]:
    """Interval and p value of a mean over datasets left out, which share what chose for them."""
    from scipy.stats import t

    n = len(gains)
    mean = float(gains.mean())
    error = float(gains.std(ddof=1) * np.sqrt(1 / n + 1 / (n - 1)))
    half = float(t.ppf((1 + LEVEL) / 2, n - 1)) * error
    p = 2 * float(t.sf(abs(mean) / error, n - 1)) if error > 0 else float(mean == 0)
    return mean - half, mean + half, p
