"""Everything that the report says in numbers, computed once from a benchmark's tables."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dgnbench import stats
from dgnbench.contract import CONTROLS
from dgnbench.results import Results


@dataclass(frozen=True, eq=False)
class Facts:
    """A finished benchmark and what `dgnbench.stats` says of it; tables are computed when asked for."""

    results: Results

    @functools.cached_property
    def standings(self) -> pd.DataFrame:
        """A row a task and method that is no control, best first, leagues apart.

        A method without any score has no mean and no rank: 0 would look like a score.
        """
        table = self._of(stats.standings(self.results.scores), "task", "method", "coverage")
        numbers = table.columns.intersection(
            ["mean", "lo", "hi", "skip", "p_best", "rank", "rank_lo", "rank_hi", "difference",
             "difference_lo", "difference_hi", "effect"]
        )  # fmt: skip
        table.loc[table["coverage"] == 0, numbers] = float("nan")
        return table

    @functools.cached_property
    def controls(self) -> pd.DataFrame:
        """Means of the controls, a row a task and control; one that declines counts where it is."""
        scores = self.results.scores
        table = self._of(stats.intervals(scores, "skip"), "task", "method", "role")
        coverage = stats.aggregate(scores, "skip")[["task", "method", "coverage"]]
        table = table.merge(coverage, on=["task", "method"]).assign(skip=table.get("mean"))
        return table[table["role"].isin(CONTROLS)]

    @functools.cached_property
    def by_dataset(self) -> dict[tuple[str, ...], dict[str, Any]]:
        """Mean and interval over replicates, by task, dataset, metric, method."""
        table = stats.dataset_intervals(self.results.scores)
        return {
            tuple(str(row[key]) for key in ("task", "dataset", "metric", "method")): {
                str(name): value for name, value in row.items()
            }
            for row in table.to_dict("records")
        }

    @functools.cached_property
    def pairs(self) -> pd.DataFrame:
        """Every two methods of every task."""
        return self._of(stats.all_pairs(self.results.scores), "task", "method", "rival")

    @functools.cached_property
    def diagrams(self) -> dict[str, stats.CriticalDifference]:
        """The critical-difference diagram of every task, of methods that are not given labels."""
        found = stats.critical_differences(self.results.scores)
        return {diagram.task: diagram for diagram in found if not diagram.uses_labels}

    @functools.cached_property
    def left_out(self) -> pd.DataFrame:
        """Metrics whose controls do not separate on a dataset."""
        return stats.left_out(self.results.scores)

    @functools.cached_property
    def noise(self) -> pd.DataFrame:
        """What replicates allow the primary metric to tell, a row a task and dataset."""
        scores = self.results.scores
        return self._of(stats.replicate_noise(scores[scores["primary"]]), "task")

    @functools.cached_property
    def halves(self) -> pd.DataFrame:
        """How well halves of the data agree on the ranking."""
        return self._of(stats.split_half(self.results.scores), "task")

    @functools.cached_property
    def correlations(self) -> pd.DataFrame:
        """Rank correlations between metrics."""
        return stats.metric_correlations(self.results.scores)

    @functools.cached_property
    def variance(self) -> pd.DataFrame:
        """Components of variance."""
        return stats.variance_split(self.results.scores)

    @functools.cached_property
    def tuning(self) -> pd.DataFrame:
        """What choosing a variant would have bought."""
        return self._of(stats.tuning_gain(self.results.scores), "task")

    @staticmethod
    def _of(table: pd.DataFrame, *keys: str) -> pd.DataFrame:
        """A table with its columns also where it has no rows."""
        return table if len(table.columns) else pd.DataFrame(columns=list(keys))

    def of_task(self, table: pd.DataFrame, task: str) -> list[dict[str, Any]]:
        """The rows of one task as dicts."""
        return [{str(k): v for k, v in row.items()}
                for row in table[table["task"] == task].to_dict("records")]  # fmt: skip
