"""Scaling and aggregation of scores. No plotting, no files."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from dgnbench.contract import CONTROLS

KEYS = ["task", "dataset", "metric"]
SEPARATION = 1e-9  # controls nearer than this, relative to their size, do not separate


def control_range(scores: pd.DataFrame) -> pd.DataFrame:
    """The worst and best value among the controls, a row a (task, dataset, metric).

    Parameters
    ----------
    scores
        Rows as in ``scores.csv``; `value` is NaN where a score is missing.

    Returns
    -------
    Indexed by task, dataset, metric with columns ``lo`` (worst), ``hi`` (best) and ``separated``.
    A control's value is its mean over replicates; best is largest for direction ``max``, smallest
    for ``min``.
    """
    controls = scores[scores["role"].isin(CONTROLS) & scores["value"].notna()]
    means = controls.groupby([*KEYS, "direction", "method"])["value"].mean()
    ranges = means.groupby([*KEYS, "direction"]).agg(["min", "max"]).reset_index("direction")
    largest_is_best = ranges["direction"] == "max"
    lo = ranges["min"].where(largest_is_best, ranges["max"])
    hi = ranges["max"].where(largest_is_best, ranges["min"])
    size = np.maximum(np.maximum(lo.abs(), hi.abs()), np.finfo(float).tiny)
    return pd.DataFrame({"lo": lo, "hi": hi, "separated": (hi - lo).abs() > SEPARATION * size})


def scaled(scores: pd.DataFrame) -> pd.Series[float]:
    """``(x − lo) / (hi − lo)`` between the controls, per dataset and metric, never clipped.

    0 is the worst control, 1 the best; a value outside shows a method worse or better than both.
    It does not depend on which other methods are in the table. NaN where a score is missing or the
    controls do not separate.
    """
    ranges = control_range(scores)
    joined = scores[KEYS].merge(ranges, how="left", left_on=KEYS, right_index=True)
    span = (joined["hi"] - joined["lo"]).where(joined["separated"].eq(True))
    values = scores["value"].to_numpy(dtype=float)
    return pd.Series((values - joined["lo"].to_numpy()) / span.to_numpy(), index=scores.index)


def not_separated(scores: pd.DataFrame) -> list[tuple[str, str, str]]:
    """The (task, dataset, metric) whose controls do not separate: left out of every aggregate."""
    ranges = control_range(scores)
    return [(t, d, m) for t, d, m in ranges.index[~ranges["separated"]]]


def aggregate(
    scores: pd.DataFrame, policy: Literal["floor", "skip"], *, primary_only: bool = True
) -> pd.DataFrame:
    """Mean scaled score of every method on every task.

    Parameters
    ----------
    scores
        Rows as in ``scores.csv``, with `scaled`.
    policy
        What a missing score counts: ``floor`` as 0, ``skip`` not at all.
    primary_only
        Aggregate the task's primary metric (else the mean over all its metrics).

    Returns
    -------
    Columns task, method, role, uses_labels, mean, coverage (the share of scores that exist). Metrics
    that do not apply to a dataset or whose controls do not separate are left out for everybody. A
    dataset that could not be scored at all, controls included, counts as missing for everybody.
    """
    rows = scores[scores["status"] != "not_applicable"]
    if primary_only:
        rows = rows[rows["primary"]]
    ranges = control_range(scores)
    useless = ranges.index[~ranges["separated"]]
    rows = rows[~pd.MultiIndex.from_frame(rows[KEYS]).isin(useless)]
    counted = rows["scaled"].fillna(0.0) if policy == "floor" else rows["scaled"]
    rows = rows.assign(counted=counted, there=rows["scaled"].notna())
    keys = ["task", "method", "role", "uses_labels"]
    per_dataset = rows.groupby([*keys, "dataset"], as_index=False).agg(
        counted=("counted", "mean"), there=("there", "mean")
    )
    return per_dataset.groupby(keys, as_index=False).agg(
        mean=("counted", "mean"), coverage=("there", "mean")
    )
