"""What a method may say while it works: a bar, its training history, its phases; and its budget of time.

Inside a run the history goes to ``history.csv`` beside the output and the bar to the run's log;
in a notebook it stays in memory (`rows()`).
"""

from __future__ import annotations

import csv
import os
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
_parameters: int | None = None

TRAIN_SECONDS = "DGNBENCH_TRAIN_SECONDS"  # how long a run may train: the config's `budget`
_up_at: float | None = None

BAR_EVERY_S = 2.0  # a log, not a screen: one line every two seconds is enough


def start(history: Path | None = None) -> None:
    """Begin a run: forget the last one's rows; with `history`, write them to that file."""
    global _file, _parameters
    _rows.clear()
    _seconds.clear()
    _file, _parameters = history, None
    start_clock()


def start_clock() -> None:
    """Begin to count the budget of time, if this run has one."""
    global _up_at
    seconds = os.environ.get(TRAIN_SECONDS)
    _up_at = time.monotonic() + float(seconds) if seconds else None


def time_is_up() -> bool:
    """Whether a method should stop training, because its budget of time is used up."""
    return _up_at is not None and time.monotonic() >= _up_at


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


def parameters(count: int) -> None:
    """Say how many trainable parameters the model has: its size in the report."""
    global _parameters
    _parameters = int(count)


def told_parameters() -> int | None:
    """What `parameters` was told, if anything."""
    return _parameters


def rounds() -> int:
    """Epochs trained so far by the history (steps, of a method that counts in steps)."""
    return 1 + max((int(row["epoch"]) for row in _rows), default=-1)


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


def training(iterable: Iterable[T], label: str = "epoch") -> Iterator[T]:
    """`bar` over the rounds of training, which ends early when the budget of time is used up.

    At least one round is made.
    """
    for item in bar(iterable, label):
        yield item
        if time_is_up():
            print(f"the budget of time is used up after {label} {item}", file=sys.stderr)
            return
