"""One run, supervised: the method works in a child process, the parent watches and records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dgnbench.runner.attempts import TryAgain
    from dgnbench.runner.supervise import fit

__all__ = ["TryAgain", "fit"]


def __getattr__(name: str) -> Any:
    """Import when asked for: the child may live in an environment without what its parent needs."""
    if name == "fit":
        from dgnbench.runner.supervise import fit

        return fit
    if name == "TryAgain":
        from dgnbench.runner.attempts import TryAgain

        return TryAgain
    raise AttributeError(name)
