"""Everything that a task's ranking needs in one table: facts, for the report to put in words."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dgnbench.contract import CONTROLS
from dgnbench.stats.bootstrap import DRAWS, SEED, intervals
from dgnbench.stats.cube import Policy
from dgnbench.stats.pairs import against_baselines
from dgnbench.stats.ranking import both_policies

FROM_BASELINES = ["baseline", "difference", "difference_lo", "difference_hi", "effect", "verdict",
                  "p_holm", "below_baseline"]  # fmt: skip


def standings(
    scores: pd.DataFrame,
    policy: Policy = "floor",
    *,
    tolerance: float = 0.0,
    primary_only: bool = True,
    draws: int = DRAWS,
    seed: int = SEED,
) -> pd.DataFrame:
    """Ranks, intervals and flags of every method on every task.

    Parameters
    ----------
    scores, policy, tolerance, primary_only
        As for `dgnbench.stats.aggregate` and `dgnbench.stats.against_baselines`.

    Returns
    -------
    A row a task and method that is no control, leagues apart, best first. From `both_policies`:
    coverage, floor, skip, floor_rank, skip_rank, changes_places_with, depends_on_policy. From
    `intervals`, under `policy`: mean, lo, hi, over, n_datasets, p_best, rank, rank_lo, rank_hi,
    reason. From `against_baselines` (NaN or None for baselines): baseline, difference with
    difference_lo and difference_hi, effect, verdict, p_holm, below_baseline. And below_floor: whether
    its mean is not above that of the best floor.
    """
    sides = both_policies(scores, primary_only=primary_only)
    drawn = intervals(scores, policy, primary_only=primary_only, draws=draws, seed=seed)
    keys = ["task", "method"]
    made = sides.merge(drawn.drop(columns=["role", "uses_labels"]), on=keys)
    against = against_baselines(scores, policy, tolerance=tolerance, primary_only=primary_only,
                                draws=draws, seed=seed)  # fmt: skip
    if against.empty:
        against = pd.DataFrame(columns=[*keys, *FROM_BASELINES])
    against = against.rename(columns={"lo": "difference_lo", "hi": "difference_hi"})
    made = made.merge(against[[*keys, *FROM_BASELINES]], on=keys, how="left")
    made["below_baseline"] = made["below_baseline"].eq(True)
    floors = drawn[drawn["role"] == CONTROLS[0]].groupby("task")["mean"].max()
    bar = made["task"].map(floors)
    made["below_floor"] = np.where(bar.isna(), False, ~(made["mean"] > bar))
    return made.sort_values(["task", "uses_labels", "rank", "method"], ignore_index=True)
