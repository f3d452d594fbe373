"""A finished benchmark, read from its folder."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

NUMBERS = (
    "seconds",
    "peak",
    "budget",
    "parameters",
)  # how columns of runs.csv begin that hold some


@dataclass(frozen=True, eq=False)
class Results:
    """``results/<benchmark>``: tables and manifest at once, outputs and histories when asked for."""

    folder: Path
    runs: pd.DataFrame
    scores: pd.DataFrame
    manifest: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Results:
        """Read the three files that `collect` wrote."""
        runs = pd.read_csv(folder / "runs.csv", keep_default_na=False)
        for name in runs.columns[runs.columns.str.startswith(NUMBERS)]:
            runs[name] = pd.to_numeric(runs[name])
        scores = pd.read_csv(folder / "scores.csv")
        for words in ("reason", "note"):
            scores[words] = scores[words].fillna("")
        return cls(folder, runs, scores, json.loads((folder / "manifest.json").read_text()))

    @property
    def tasks(self) -> list[str]:
        """The benchmark's tasks, in its order."""
        return list(self.manifest["cards"]["tasks"])

    def datasets(self, task: str) -> list[str]:
        """The datasets that took part in a task."""
        return list(dict.fromkeys(self.runs.loc[self.runs["task"] == task, "dataset"]))

    def label(self, method: str) -> str:
        """A method's name for people."""
        return str(self.manifest["cards"]["methods"][method]["label"])

    def uses_labels(self, method: str) -> bool:
        """Whether a method is given cell types."""
        return bool(self.manifest["cards"]["methods"][method]["uses_labels"])

    def kind(self, method: str) -> str:
        """A method's role, and whether it is given cell types."""
        return self.role(method) + (", uses labels" if self.uses_labels(method) else "")

    def task_label(self, task: str) -> str:
        """A task's name for people."""
        return str(self.manifest["cards"]["tasks"][task]["label"])

    def metric_label(self, task: str) -> str:
        """The name for people of the metric that ranks a task."""
        return str(self.metrics[task][self.primary(task)]["label"])

    def role(self, method: str) -> str:
        """A method's role: method, baseline, floor or ceiling."""
        return str(self.manifest["cards"]["methods"][method]["role"])

    def dataset_label(self, dataset: str) -> str:
        """A dataset's name for people."""
        return str(self.manifest["cards"]["datasets"][dataset]["label"])

    def primary(self, task: str) -> str:
        """The metric that ranks a task."""
        return str(self.manifest["cards"]["tasks"][task]["primary"])

    @functools.cached_property
    def metrics(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Metric cards by task and id."""
        found: dict[str, dict[str, dict[str, Any]]] = {task: {} for task in self.tasks}
        for family in self.manifest["cards"]["metrics"].values():
            for task in set(family["tasks"]) & set(found):
                found[task].update(family["metrics"])
        return found

    def ok_methods(self, task: str, dataset: str, replicate: int = 0) -> list[str]:
        """Methods with an output."""
        runs = self.runs
        here = (runs["task"] == task) & (runs["dataset"] == dataset)
        here &= (runs["replicate"] == replicate) & (runs["status"] == "ok")
        return list(runs.loc[here, "method"])

    def group(self, task: str, dataset: str, replicate: int = 0) -> Path:
        """The folder of a (task, dataset, replicate)."""
        return self.folder / task / dataset / f"r{replicate}"

    def output(self, task: str, dataset: str, method: str, replicate: int = 0) -> Any:
        """A run's output matrix."""
        from dgnbench.storage import read_matrix

        return read_matrix(self.group(task, dataset, replicate) / method / "output.h5ad")

    def solution(self, task: str, dataset: str, replicate: int = 0) -> Any:
        """The hidden parts of a group."""
        from dgnbench.storage import read_parts

        return read_parts(self.group(task, dataset, replicate) / "solution")

    def problem(self, task: str, dataset: str, replicate: int = 0) -> Any:
        """The visible parts of a group."""
        from dgnbench.storage import read_parts

        return read_parts(self.group(task, dataset, replicate) / "problem")

    def history(self, task: str, dataset: str, method: str, replicate: int = 0) -> Any:
        """A run's training history, or None where the method kept none."""
        file = self.group(task, dataset, replicate) / method / "history.csv"
        return pd.read_csv(file) if file.is_file() else None
