"""How much of a score is noise, and which metrics say the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from dgnbench.contract import CONTROLS
from dgnbench.stats.bootstrap import LEVEL, SEED
from dgnbench.stats.cube import Floats, Policy, cubes, mean_of
from dgnbench.stats.scaling import applicable

REDUNDANT = 0.95  # metrics whose mean rank correlation is at least this say the same
SPLITS = 500  # random halves


def replicate_noise(scores: pd.DataFrame) -> pd.DataFrame:
    """What replicates allow a metric to tell, a row a task, dataset and metric.

    Parameters
    ----------
    scores
        Rows as in ``scores.csv``, with `scaled`; controls are left out, and so are methods that
        lack a replicate.

    Returns
    -------
    Columns task, dataset, metric, n_methods, n_replicates, noise (standard deviation over
    replicates after what all methods share in a replicate is taken off), reliability (of the mean
    over replicates: the share of the differences between methods that is not noise, at least 0),
    ceiling (√reliability: the largest correlation that these means can have with anything),
    least_difference (between two methods' means, at the 5 % level) and reason (where there are
    fewer than two replicates or methods, and the numbers are NaN).

    Notes
    -----
    Two-way analysis of variance, methods × replicates: reliability = 1 − MSE/MSB (ICC(C,k), McGraw
    & Wong 1996, 10.1037/1082-989X.1.1.30); least difference t(0.975, df) · √(2 MSE/R) (Fisher).
    """
    from scipy.stats import t

    rows = applicable(scores)
    rows = rows[~rows["role"].isin(CONTROLS)]
    made: list[dict[str, Any]] = []
    for (task, dataset, metric), own in rows.groupby(["task", "dataset", "metric"]):
        table = own.pivot_table(index="method", columns="replicate", values="scaled").dropna()
        values = table.to_numpy(dtype=float)
        k, r = values.shape
        row: dict[str, Any] = {"task": task, "dataset": dataset, "metric": metric, "n_methods": k,
                               "n_replicates": r}  # fmt: skip
        nothing = dict.fromkeys(("noise", "reliability", "ceiling", "least_difference"), np.nan)
        if k < 2 or r < 2:
            what = "replicates" if r < 2 else "methods with all replicates"
            made.append({**row, **nothing, "reason": f"fewer than two {what}"})
            continue
        methods = values.mean(axis=1, keepdims=True)
        rest = values - methods - values.mean(axis=0, keepdims=True) + values.mean()
        df = (k - 1) * (r - 1)
        error = float((rest**2).sum() / df)
        between = float(r * methods.var(ddof=1))
        reliability = max(0.0, 1 - error / between) if between > 0 else 0.0
        made.append(
            {
                **row,
                "noise": np.sqrt(error),
                "reliability": reliability,
                "ceiling": np.sqrt(reliability),
                "least_difference": float(t.ppf((1 + LEVEL) / 2, df) * np.sqrt(2 * error / r)),
                "reason": "",
            }
        )
    columns = ["task", "dataset", "metric", "n_methods", "n_replicates", "noise", "reliability",
               "ceiling", "least_difference", "reason"]  # fmt: skip
    return pd.DataFrame(made, columns=columns)


def split_half(
    scores: pd.DataFrame,
    policy: Policy = "floor",
    *,
    primary_only: bool = True,
    splits: int = SPLITS,
    seed: int = SEED,
) -> pd.DataFrame:
    """How well a ranking from one half of the data agrees with that from the other half.

    Parameters
    ----------
    scores, policy, primary_only
        As for `dgnbench.stats.aggregate`; controls are left out.
    splits, seed
        Random halves, and what makes them reproducible.

    Returns
    -------
    Two rows a task: task, halves_of (datasets or replicates), n_methods, n (datasets or
    replicates), agreement (mean Spearman correlation between halves), lo, hi (95 % of the halves)
    and reliability (of the ranking from all, by Spearman–Brown: 2ρ/(1+ρ)), reason (where there are
    fewer than 2 to halve, or fewer than 3 methods, and the numbers are NaN). An odd one is left
    out at random.
    """
    made: list[dict[str, Any]] = []
    for whole in cubes(scores, primary_only=primary_only):
        values = whole.without_controls().counted(policy)
        for axis, name in ((1, "datasets"), (2, "replicates")):
            table = mean_of(values, axis=3 - axis)
            table = table[~np.isnan(table).any(axis=1)]
            k, n = table.shape
            row: dict[str, Any] = {"task": whole.task, "halves_of": name, "n_methods": k, "n": n,
                                   **dict.fromkeys(("agreement", "lo", "hi", "reliability"), np.nan),
                                   "reason": ""}  # fmt: skip
            if n < 2 or k < 3:
                row["reason"] = f"fewer than 2 {name}" if n < 2 else "fewer than 3 methods"
            else:
                found = _agreement(table, splits, np.random.default_rng(seed))
                mean = float(found.mean())
                tail = (1 - LEVEL) / 2
                lo, hi = np.quantile(found, [tail, 1 - tail])
                row |= {"agreement": mean, "lo": float(lo), "hi": float(hi),
                        "reliability": max(0.0, 2 * mean / (1 + mean)) if mean > -1 else 0.0}  # fmt: skip
            made.append(row)
    columns = [
        "task",
        "halves_of",
        "n_methods",
        "n",
        "agreement",
        "lo",
        "hi",
        "reliability",
        "reason",
    ]
    return pd.DataFrame(made, columns=columns)


def _agreement(table: Floats, splits: int, rng: np.random.Generator) -> Floats:
    """Spearman correlations between random halves of the columns, one a split."""
    from scipy.stats import rankdata

    n = table.shape[1]
    order = rng.permuted(np.tile(np.arange(n), (splits, 1)), axis=1)
    half = n // 2
    ranks = [
        rankdata(table[:, columns].mean(axis=2), axis=0)
        for columns in (order[:, :half], order[:, half : 2 * half])
    ]
    centred = [r - r.mean(axis=0) for r in ranks]
    size = np.sqrt((centred[0] ** 2).sum(axis=0) * (centred[1] ** 2).sum(axis=0))
    found: Floats = (centred[0] * centred[1]).sum(axis=0) / np.where(size > 0, size, 1.0)
    return found


def metric_correlations(scores: pd.DataFrame, *, at_least: float = REDUNDANT) -> pd.DataFrame:
    """Rank correlation of every two metrics of a task over methods, mean over datasets.

    Parameters
    ----------
    scores
        Rows as in ``scores.csv``, with `scaled`, which points upwards for every metric; controls
        are left out.
    at_least
        From which mean correlation on two metrics are called redundant.

    Returns
    -------
    Columns task, metric, other, correlation (mean Spearman over datasets), lowest, n_datasets
    (with at least 4 methods that have both), redundant; the most alike first.
    """
    rows = applicable(scores)
    rows = rows[~rows["role"].isin(CONTROLS)]
    made: list[dict[str, Any]] = []
    for task, own in rows.groupby("task"):
        table = own.pivot_table(index=["dataset", "method"], columns="metric", values="scaled")
        matrices = [
            part.corr(method="spearman", min_periods=4).to_numpy()
            for _, part in table.groupby(level="dataset")
        ]
        if not matrices:
            continue
        stack = np.stack(matrices)
        mean, count = mean_of(stack, axis=0), (~np.isnan(stack)).sum(axis=0)
        lowest = np.where(np.isnan(stack), np.inf, stack).min(axis=0)
        names = list(table.columns)
        made += [
            {
                "task": task,
                "metric": names[a],
                "other": names[b],
                "correlation": float(mean[a, b]),
                "lowest": float(lowest[a, b]),
                "n_datasets": int(count[a, b]),
                "redundant": bool(mean[a, b] >= at_least),
            }
            for a in range(len(names))
            for b in range(a + 1, len(names))
            if count[a, b]
        ]
    columns = ["task", "metric", "other", "correlation", "lowest", "n_datasets", "redundant"]
    table = pd.DataFrame(made, columns=columns)
    return table.sort_values(["task", "correlation"], ascending=[True, False], ignore_index=True)
