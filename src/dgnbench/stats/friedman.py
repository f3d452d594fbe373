"""Friedman's test, Nemenyi's critical difference and the groups of methods that do not differ."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from dgnbench.stats.bootstrap import MIN_DATASETS
from dgnbench.stats.cube import Flags, Floats, Policy, cubes
from dgnbench.stats.pairs import ALPHA


@dataclass(frozen=True)
class CriticalDifference:
    """The numbers of a critical-difference diagram (Demšar 2006, JMLR 7:1–30).

    Parameters
    ----------
    task, policy
        Of which table.
    uses_labels
        Which league: methods that are given labels, or the others.
    ranks
        Mean rank over datasets of every method, best (lowest) first.
    critical_difference
        Mean ranks nearer than this do not differ (Nemenyi, alpha 0.05); NaN where not enough.
    groups
        Largest sets of neighbours that do not differ, best first, each of two methods or more.
        One group of all where Friedman's test shows no difference at all.
    statistic, p
        Friedman's χ² and its p value.
    n_datasets
        Datasets on which every method has a score that counts.
    left_out
        Methods without a score that counts on some dataset.
    enough, reason
        Whether anything can be concluded; if not, why, and `groups` is empty.
    """

    task: str
    policy: Policy
    uses_labels: bool
    ranks: dict[str, float]
    critical_difference: float
    groups: tuple[tuple[str, ...], ...]
    statistic: float
    p: float
    n_datasets: int
    left_out: tuple[str, ...]
    enough: bool
    reason: str


def nemenyi(mean_ranks: Floats, n_datasets: int) -> Floats:
    """Two-sided p values of all pairs, (methods, methods), by Nemenyi's test.

    Parameters
    ----------
    mean_ranks
        One a method.
    n_datasets
        Over how many datasets the ranks were averaged.
    """
    from scipy.stats import studentized_range

    k = len(mean_ranks)
    error = np.sqrt(k * (k + 1) / (6 * n_datasets))
    gaps = np.abs(mean_ranks[:, None] - mean_ranks[None, :]) / error
    upper = np.triu_indices(k, 1)
    p = np.eye(k)
    p[upper] = studentized_range.sf(gaps[upper] * np.sqrt(2), k, np.inf)
    made: Floats = np.maximum(p, p.T)
    return made


def critical_differences(
    scores: pd.DataFrame, policy: Policy = "floor", *, primary_only: bool = True
) -> list[CriticalDifference]:
    """A critical-difference diagram's numbers for every task and league; controls are left out.

    A league are the methods that are given labels, or those that are not.

    Parameters
    ----------
    scores, policy, primary_only
        As for `dgnbench.stats.aggregate`.
    """
    made = []
    for whole in cubes(scores, primary_only=primary_only):
        everybody = whole.without_controls()
        for labels in (False, True):
            cube = everybody.select(everybody.uses_labels == labels)
            if not cube.methods:
                continue
            values = cube.dataset_means(policy)
            values = values[:, (cube.there.sum(axis=2) > 0).any(axis=0)]
            complete: Flags = np.all(~np.isnan(values), axis=1)
            names = [name for name, here in zip(cube.methods, complete, strict=True) if here]
            absent = tuple(n for n, here in zip(cube.methods, complete, strict=True) if not here)
            found = _diagram(cube.task, policy, names, values[complete], absent)
            made.append(replace(found, uses_labels=labels))
    return made


def _diagram(
    task: str, policy: Policy, names: list[str], values: Floats, absent: tuple[str, ...]
) -> CriticalDifference:
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    k, n = values.shape
    if not k or not n:
        nan = float("nan")
        return CriticalDifference(task, policy, False, {}, nan, (), nan, nan, n, absent, False,
                                  "no method has a score on every dataset")  # fmt: skip
    mean_ranks = rankdata(-values, axis=0).mean(axis=1)
    order = np.argsort(mean_ranks, kind="stable")
    ranks = {names[i]: float(mean_ranks[i]) for i in order}
    if k < 3 or n < MIN_DATASETS:
        reason = (f"{n} dataset{'s' if n != 1 else ''}, at least {MIN_DATASETS} are needed"
                  if n < MIN_DATASETS else f"{k} methods, at least 3 are needed")  # fmt: skip
        nan = float("nan")
        return CriticalDifference(
            task, policy, False, ranks, nan, (), nan, nan, n, absent, False, reason
        )
    if np.ptp(values, axis=0).max() == 0:  # ties everywhere: Friedman's statistic is 0/0
        statistic, p = 0.0, 1.0
    else:
        statistic, p = (float(x) for x in friedmanchisquare(*values))
    q = float(studentized_range.ppf(1 - ALPHA, k, np.inf)) / np.sqrt(2)
    width = float(q * np.sqrt(k * (k + 1) / (6 * n)))
    groups = (_groups(ranks, width) if p <= ALPHA else (tuple(ranks),))  # fmt: skip
    return CriticalDifference(
        task, policy, False, ranks, width, groups, statistic, p, n, absent, True, ""
    )


def _groups(ranks: dict[str, float], width: float) -> tuple[tuple[str, ...], ...]:
    names, values = list(ranks), np.array(list(ranks.values()))
    found: list[tuple[str, ...]] = []
    reached = 0
    for start in range(len(names)):
        end = int(np.searchsorted(values, values[start] + width, side="left"))
        if end > reached and end - start > 1:
            found.append(tuple(names[start:end]))
        reached = max(reached, end)
    return tuple(found)
