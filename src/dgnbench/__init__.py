"""dgnbench: a benchmark of deep generative networks for single-cell genomics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dgnbench.contract import ContractError, Declined, NotApplicable

if TYPE_CHECKING:
    from dgnbench.tryout import benchmark

__version__ = "0.1.0"
__all__ = ["ContractError", "Declined", "NotApplicable", "__version__", "benchmark"]


def __getattr__(name: str) -> Any:
    # Lazy: a method file that says `from dgnbench import Declined` must not pay for pandas.
    if name == "benchmark":
        from dgnbench.tryout import benchmark

        return benchmark
    raise AttributeError(f"module 'dgnbench' has no attribute {name!r}")
