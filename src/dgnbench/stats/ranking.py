"""Means and ranks under both ways to count what is missing."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dgnbench.contract import CONTROLS
from dgnbench.stats.cube import Floats, Policy, cubes


def aggregate(scores: pd.DataFrame, policy: Policy, *, primary_only: bool = True) -> pd.DataFrame:
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
    made = [
        pd.DataFrame(
            {
                "task": cube.task,
                "method": cube.methods,
                "role": cube.roles,
                "uses_labels": cube.uses_labels,
                "mean": cube.means(policy),
                "coverage": cube.coverage(),
            }
        )
        for cube in cubes(scores, primary_only=primary_only)
    ]
    columns = ["task", "method", "role", "uses_labels", "mean", "coverage"]
    return pd.concat(made, ignore_index=True) if made else pd.DataFrame(columns=columns)


def both_policies(
    scores: pd.DataFrame, *, primary_only: bool = True, labels_apart: bool = True
) -> pd.DataFrame:
    """Means and ranks with missing scores counted as floor and skipped, side by side.

    Parameters
    ----------
    scores, primary_only
        As for `aggregate`.
    labels_apart
        Rank methods that use labels in a league of their own.

    Returns
    -------
    A row a task and method that is no control, best first: task, method, role, uses_labels,
    coverage, floor, skip (the means), floor_rank, skip_rank (1 is best, ties share the better
    rank, NaN without any score), changes_places_with (how many methods of its league it overtakes
    or falls behind when the policy changes) and depends_on_policy (whether there is any).
    """
    floor = aggregate(scores, "floor", primary_only=primary_only)
    made = floor.rename(columns={"mean": "floor"})
    made["skip"] = aggregate(scores, "skip", primary_only=primary_only)["mean"]
    made = made[~made["role"].isin(CONTROLS)]
    league = ["task", "uses_labels"] if labels_apart else ["task"]
    for policy in ("floor", "skip"):
        ranks = made.groupby(league)[policy].rank(ascending=False, method="min")
        made[f"{policy}_rank"] = ranks
    made["changes_places_with"] = 0
    for _, own in made.groupby(league):
        made.loc[own.index, "changes_places_with"] = _swaps(
            own["floor"].to_numpy(dtype=float), own["skip"].to_numpy(dtype=float)
        )
    made["depends_on_policy"] = made["changes_places_with"] > 0
    columns = ["task", "method", "role", "uses_labels", "coverage", "floor", "skip", "floor_rank",
               "skip_rank", "changes_places_with", "depends_on_policy"]  # fmt: skip
    return made.sort_values([*league, "floor_rank", "method"], ignore_index=True)[columns]


def _swaps(first: Floats, second: Floats) -> Floats:
    """With how many others the order turns round, one a method; NaN is in no order."""
    before = np.sign(first[:, None] - first[None, :])
    after = np.sign(second[:, None] - second[None, :])
    swaps: Floats = ((before * after) < 0).sum(axis=1)
    return swaps
