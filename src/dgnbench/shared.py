"""What several metrics of a run need is computed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

Engine = Literal["own", "scib_metrics"]
T = TypeVar("T")


class Shared:
    """Two memos: one for this output, one for all outputs that share a solution.

    Parameters
    ----------
    solution_memo
        The dict that all runs of a (task, dataset, replicate) hand around; None starts a new one.
    engine
        Whose implementation metrics of embeddings use: ours, or scib-metrics as the reference.
    """

    def __init__(self, solution_memo: dict[str, Any] | None = None, engine: Engine = "own") -> None:
        self.engine: Engine = engine
        self._run: dict[str, Any] = {}
        self._solution = {} if solution_memo is None else solution_memo

    def for_another_output(self) -> Shared:
        """The memos of another output of the same solution."""
        return Shared(self._solution, self.engine)

    def per_run(self, key: str, compute: Callable[[], T]) -> T:
        """``compute()`` the first time `key` is asked for in this run."""
        if key not in self._run:
            self._run[key] = compute()
        return self._run[key]  # type: ignore[no-any-return]

    def per_solution(self, key: str, compute: Callable[[], T]) -> T:
        """``compute()`` the first time `key` is asked for with this solution."""
        if key not in self._solution:
            self._solution[key] = compute()
        return self._solution[key]  # type: ignore[no-any-return]
