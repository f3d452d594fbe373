"""What a training that was cut off has saved, for the next try of the same run to go on from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dgnbench
from dgnbench.contract import Status
from dgnbench.surroundings import code_sha256

VARIABLE = "DGNBENCH_CHECKPOINT"  # of a run's environment: the file to save to and go on from
KEPT: tuple[Status, ...] = ("timeout", "lost")  # ends after which a later start may go on


def file_of(target: Path, component: Path, problem_sha256: str, order: Mapping[str, Any]) -> Path:
    """Where a run saves its state, and finds that of an earlier try of the same run.

    The name says what it belongs to: the problem, the method's files, the torch core, task, seed
    and parameters. What an older version of any of them left there is removed.
    """
    parts = [
        problem_sha256,
        code_sha256(component),
        code_sha256(Path(dgnbench.__file__).parent / "nn"),
        json.dumps(order, sort_keys=True),
    ]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
    file = target / f"checkpoint-{key}.pt"
    for stale in target.glob("checkpoint-*"):
        if stale != file:
            stale.unlink(missing_ok=True)
    return file
