"""One task's scores as an array: methods × datasets × replicates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from dgnbench.contract import CONTROLS
from dgnbench.stats.scaling import applicable

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Policy = Literal["floor", "skip"]
POLICIES: tuple[Policy, ...] = ("floor", "skip")


@dataclass(frozen=True, eq=False)
class Cube:
    """Scaled scores of one task, shape (methods, datasets, replicates).

    Parameters
    ----------
    task, methods, datasets, replicates
        What the axes stand for; all sorted.
    roles, uses_labels
        One a method.
    total
        Sum of the scaled scores that there are (over metrics, where there are several).
    there, asked
        How many scores there are, and how many there should be.
    """

    task: str
    methods: tuple[str, ...]
    datasets: tuple[str, ...]
    replicates: tuple[int, ...]
    roles: tuple[str, ...]
    uses_labels: Flags
    total: Floats
    there: npt.NDArray[np.int64]
    asked: npt.NDArray[np.int64]

    def counted(self, policy: Policy) -> Floats:
        """What enters an aggregate, (methods, datasets, replicates); NaN where nothing does.

        With ``floor`` a missing score counts 0, with ``skip`` it does not count.
        """
        by = self.asked if policy == "floor" else self.there
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(by > 0, self.total / by, np.nan)

    def dataset_means(self, policy: Policy) -> Floats:
        """Mean over replicates, (methods, datasets)."""
        return mean_of(self.counted(policy), axis=2)

    def means(self, policy: Policy) -> Floats:
        """Mean over datasets of the mean over replicates, one a method."""
        return mean_of(self.dataset_means(policy), axis=1)

    def coverage(self) -> Floats:
        """The share of scores that there are: mean over datasets, one a method."""
        asked, there = self.asked.sum(axis=2), self.there.sum(axis=2)
        with np.errstate(invalid="ignore", divide="ignore"):
            return mean_of(np.where(asked > 0, there / asked, np.nan), axis=1)

    def index(self, method: str) -> int:
        """The row of a method.

        Raises
        ------
        ValueError
            No scores of that method in this task.
        """
        if method not in self.methods:
            raise ValueError(
                f"task {self.task}: no scores of '{method}'; there are {', '.join(self.methods)}"
            )
        return self.methods.index(method)

    def select(self, keep: Sequence[int] | Flags) -> Cube:
        """The same task with some of the methods."""
        rows = np.arange(len(self.methods))[np.asarray(keep)]
        return Cube(
            self.task,
            tuple(self.methods[i] for i in rows),
            self.datasets,
            self.replicates,
            tuple(self.roles[i] for i in rows),
            self.uses_labels[rows],
            self.total[rows],
            self.there[rows],
            self.asked[rows],
        )

    def without_controls(self) -> Cube:
        """The same task without floors and ceilings."""
        return self.select(np.array([role not in CONTROLS for role in self.roles], dtype=bool))


def mean_of(values: Floats, axis: int) -> Floats:
    """Mean of what is not NaN; NaN (and no warning) where nothing is."""
    here = ~np.isnan(values)
    count = here.sum(axis=axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0, np.where(here, values, 0.0).sum(axis=axis) / count, np.nan)


def cubes(scores: pd.DataFrame, *, primary_only: bool = True) -> Iterator[Cube]:
    """A cube a task.

    Parameters
    ----------
    scores
        Rows as in ``scores.csv``, with `scaled`.
    primary_only
        The task's primary metric (else all its metrics, with equal weight).

    Notes
    -----
    Metrics that do not apply to a dataset or whose controls do not separate are left out for
    everybody. A dataset that could not be scored at all, controls included, counts as missing.
    """
    rows = applicable(scores)
    if primary_only:
        rows = rows[rows["primary"].astype(bool)]
    for task, own in rows.groupby("task", sort=True):
        yield _cube(str(task), own)


def cube_of(scores: pd.DataFrame, task: str, *, primary_only: bool = True) -> Cube:
    """The cube of one task.

    Raises
    ------
    ValueError
        No scores of that task that count.
    """
    for cube in cubes(scores[scores["task"] == task], primary_only=primary_only):
        return cube
    raise ValueError(f"no scores of task '{task}' whose controls separate")


def _cube(task: str, rows: pd.DataFrame) -> Cube:
    axes = [np.unique(rows[name].to_numpy(), return_inverse=True) for name in
            ("method", "dataset", "replicate")]  # fmt: skip
    place: Any = tuple(codes for _, codes in axes)
    shape = tuple(len(names) for names, _ in axes)
    values = rows["scaled"].to_numpy(dtype=float)
    here = ~np.isnan(values)
    total = np.zeros(shape)
    there, asked = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    np.add.at(total, place, np.where(here, values, 0.0))
    np.add.at(there, place, here)
    np.add.at(asked, place, 1)
    first = rows.drop_duplicates("method").set_index("method")
    methods = tuple(str(name) for name in axes[0][0])
    return Cube(
        task,
        methods,
        tuple(str(name) for name in axes[1][0]),
        tuple(int(r) for r in axes[2][0]),
        tuple(str(first.loc[name, "role"]) for name in methods),
        np.array([str(first.loc[name, "uses_labels"]).lower() == "true" for name in methods]),
        total,
        there,
        asked,
    )
