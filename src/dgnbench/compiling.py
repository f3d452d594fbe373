"""Loops compiled by numba, kept on disk for the next process."""

# mypy: disable-error-code="import-untyped"
from __future__ import annotations

from typing import Any

import numba


def compiled(function: Any) -> Any:
    """Compile at the first call; sums may be reordered, and a NaN stays one."""
    options: dict[str, Any] = {"error_model": "numpy", "fastmath": {"nsz", "contract", "reassoc"}}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no place to keep it: a read-only installation and home
        return numba.njit(**options)(function)
