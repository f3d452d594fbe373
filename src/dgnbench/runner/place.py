"""Whether there is room for what a workflow makes, asked before it works for hours."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def why_not_writable(folder: Path) -> str | None:
    """Why nothing can be written to a folder, or to the one in which it would be made."""
    place = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"x" * 4096)
    except OSError as error:
        return error.strerror or str(error)
    return None


def check_writable(folders: Iterable[str], workflow: Any) -> None:
    """End with one message where results could not be written: Snakemake would end without one.

    Parameters
    ----------
    folders
        Where the workflow writes.
    workflow
        Snakemake's object: only the process that plans looks, and none that makes nothing.
    """
    if workflow.exec_mode.name != "DEFAULT" or workflow.dryrun:
        return
    for folder in folders:
        why = why_not_writable(Path(folder))
        if why is not None:
            print(
                f"dgnbench: {folder}: cannot be written to: {why}; make it writable or free some space, "
                "and start again",
                file=sys.stderr,
            )
            os._exit(2)
