"""Scores between floor and ceiling: 0 is the worst control, 1 the best, never clipped."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd

from dgnbench.contract import CONTROLS

KEYS = ["task", "dataset", "metric"]
SEPARATION = 1e-9  # controls nearer than this, relative to their size, do not separate
NOISE_LEVEL = 0.05  # how often controls of equal mean may pass for separated


@functools.cache
def _range_of_equals(groups: int, df: int) -> float:
    """How many standard errors apart the extremes of equal means lie at most (Tukey's q)."""
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(1 - NOISE_LEVEL, groups, df))


def control_range(scores: pd.DataFrame) -> pd.DataFrame:
    """The worst and best value among the controls, a row a (task, dataset, metric).

    Parameters
    ----------
    scores
        Rows as in ``scores.csv``; `value` is NaN where a score is missing.

    Returns
    -------
    Indexed by task, dataset, metric with columns ``lo`` (worst), ``hi`` (best), ``noise`` (the
    gap that controls of equal mean would show in one case of twenty; 0 where there are no
    replicates), ``separated`` and ``reason`` (why not, else ""). A control's value is its mean
    over replicates; best is largest for direction ``max``, smallest for ``min``.

    Notes
    -----
    `noise` is Tukey's honestly significant range q(0.95; controls, df) · s / √n, s pooled over
    the controls, n their harmonic mean number of replicates (Kramer 1956).
    """
    controls = scores[scores["role"].isin(CONTROLS) & scores["value"].notna()]
    each = controls.groupby([*KEYS, "direction", "method"])["value"].agg(["mean", "var", "count"])
    each["squares"] = (each["var"] * (each["count"] - 1)).fillna(0.0)
    each["inverse"] = 1.0 / each["count"]
    ranges = (
        each.groupby([*KEYS, "direction"])
        .agg(
            min=("mean", "min"),
            max=("mean", "max"),
            controls=("mean", "size"),
            rows=("count", "sum"),
            squares=("squares", "sum"),
            inverse=("inverse", "mean"),
        )
        .reset_index("direction")
    )
    largest_is_best = ranges["direction"] == "max"
    lo = ranges["min"].where(largest_is_best, ranges["max"])
    hi = ranges["max"].where(largest_is_best, ranges["min"])
    size = np.maximum(np.maximum(lo.abs(), hi.abs()), np.finfo(float).tiny)
    noise = [
        _range_of_equals(int(k), int(n - k)) * float(np.sqrt(squares / (n - k) * inverse))
        if k > 1 and n > k and squares > 0
        else 0.0
        for k, n, squares, inverse in zip(
            ranges["controls"], ranges["rows"], ranges["squares"], ranges["inverse"], strict=True
        )
    ]
    made = pd.DataFrame({"lo": lo, "hi": hi, "noise": noise})
    gap = (hi - lo).abs()
    equal = gap <= SEPARATION * size
    within = ~equal & (gap <= made["noise"])
    made["separated"] = ~(equal | within)
    made["reason"] = ""
    made.loc[equal, "reason"] = "all controls have the same value"
    made.loc[equal & (ranges["controls"] < 2), "reason"] = "fewer than two controls have a value"
    made.loc[within, "reason"] = "the controls differ by no more than their own noise"
    return made


def scaled(scores: pd.DataFrame) -> pd.Series[float]:
    """``(x − lo) / (hi − lo)`` between the controls, per dataset and metric, never clipped.

    0 is the worst control, 1 the best; a value outside shows a method worse or better than both.
    It does not depend on which other methods are in the table. NaN where a score is missing or the
    controls do not separate.
    """
    return scaled_by(scores, control_range(scores))


def scaled_by(scores: pd.DataFrame, ranges: pd.DataFrame) -> pd.Series[float]:
    """As `scaled`, between controls given as by `control_range`."""
    joined = scores[KEYS].merge(ranges, how="left", left_on=KEYS, right_index=True)
    span = (joined["hi"] - joined["lo"]).where(joined["separated"].eq(True))
    values = scores["value"].to_numpy(dtype=float)
    return pd.Series((values - joined["lo"].to_numpy()) / span.to_numpy(), index=scores.index)


def left_out(scores: pd.DataFrame) -> pd.DataFrame:
    """The metrics whose controls do not separate on a dataset, with the reason.

    Returns
    -------
    Columns task, dataset, metric, lo, hi, noise, reason; empty where every metric separates.
    """
    ranges = control_range(scores)
    return ranges[~ranges["separated"]].drop(columns="separated").reset_index()


def not_separated(scores: pd.DataFrame) -> list[tuple[str, str, str]]:
    """The (task, dataset, metric) whose controls do not separate: left out of every aggregate."""
    ranges = control_range(scores)
    return [(t, d, m) for t, d, m in ranges.index[~ranges["separated"]]]


def applicable(scores: pd.DataFrame) -> pd.DataFrame:
    """The rows that count: of metrics that have a meaning there and whose controls separate."""
    rows = scores[scores["status"] != "not_applicable"]
    ranges = control_range(scores)
    useless = ranges.index[~ranges["separated"]]
    return rows[~pd.MultiIndex.from_frame(rows[KEYS]).isin(useless)]
