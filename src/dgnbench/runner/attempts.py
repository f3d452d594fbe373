"""The tries of a run, on disk beside its record: a try that was lost cannot speak for itself later."""

from __future__ import annotations

import json
import platform
import time
from pathlib import Path
from typing import Any

from dgnbench.runner.family import end_leftovers
from dgnbench.storage import write_json

FILE = "attempts.json"
UNTOLD = "its process or its machine was ended, and nobody was left to say why"


class TryAgain(Exception):
    """A try that is not recorded, because Snakemake makes another one."""


def stamp() -> str:
    """The time of day, for people. Durations come from a clock that cannot be set."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def read(target: Path) -> list[dict[str, Any]]:
    """The tries so far of a run that has no record yet."""
    try:
        return list(json.loads((target / FILE).read_text()))
    except (OSError, ValueError):
        return []


def under_way(target: Path) -> bool:
    """Whether a run has begun and not ended, as far as its folder tells."""
    tries = read(target)
    return bool(tries) and "ended" not in tries[-1]


def begin(target: Path, attempt: int) -> list[dict[str, Any]]:
    """Say that a try begins, as lost until it says otherwise; returns the earlier ones."""
    earlier = read(target)
    if earlier and "ended" not in earlier[-1] and earlier[-1]["host"] == platform.node():
        end_leftovers(target)
    now = {"attempt": attempt, "status": "lost", "reason": UNTOLD}
    write_json(target / FILE, [*earlier, {**now, "host": platform.node(), "started": stamp()}])
    return earlier


def end(target: Path, **facts: Any) -> None:
    """Say what became of the try that `begin` announced, which leaves no record of its own."""
    tries = read(target)
    write_json(target / FILE, [*tries[:-1], {**tries[-1], **facts, "ended": stamp()}])


def forget(target: Path) -> None:
    """The record is written and holds them."""
    (target / FILE).unlink(missing_ok=True)
