"""What a method may say while it works: a bar, its training history, its phases.

Inside a run the history goes to ``history.csv`` beside the output and the bar to the run's log;
in a notebook it stays in memory (`rows()`).
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_rows: list[dict[str, float]] = []
_seconds: dict[str, float] = {}
_file: Path | None = None

BAR_EVERY_S = 2.0  # a log, not a screen: one line every two seconds is enough


def start(history: Path | None = None) -> None:
    """Begin a run: forget the last one's rows; with `history`, write them to that file."""
    global _file
    _rows.clear()
    _seconds.clear()
    _file = history


def log(epoch: int, **values: float) -> None:
    """Add a row to the training history.

    Parameters
    ----------
    epoch
        Epoch or step, counted from 0.
    **values
        Loss parts and whatever else is worth a curve (``loss=…, kl=…, val_loss=…``).
    """
    _rows.append({"epoch": epoch, **{name: float(value) for name, value in values.items()}})


def finish() -> None:
    """Write the history, if a run asked for it and there is any."""
    if _file is None or not _rows:
        return
    columns = list(dict.fromkeys(name for row in _rows for name in row))
    with _file.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(_rows)


def rows() -> list[dict[str, float]]:
    """The history so far, a dict a row."""
    return list(_rows)


def seconds(phase: str) -> float:
    """Seconds spent in a phase so far."""
    return _seconds.get(phase, 0.0)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Time a part of a run apart, `with phase("predict"):`."""
    begin = time.perf_counter()
    try:
        yield
    finally:
        _seconds[name] = seconds(name) + time.perf_counter() - begin


def bar(iterable: Iterable[T], label: str = "") -> Iterator[T]:
    """Iterate, saying on stderr how far it is every two seconds."""
    total = len(iterable) if isinstance(iterable, Sized) else None
    said = time.monotonic()
    for done, item in enumerate(iterable, start=1):
        yield item
        if time.monotonic() - said >= BAR_EVERY_S:
            said = time.monotonic()
            print(f"{label} {done}/{total if total is not None else '?'}", file=sys.stderr)
