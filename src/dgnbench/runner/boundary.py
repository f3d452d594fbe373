"""The folder of a run is a scratch folder: what it wrote elsewhere is found and named.

Two ways. Python code that opens, renames or removes a file below the workflow's folders is noted as it
does so, by the interpreter's audit events. And the files that nobody may change meanwhile (problem,
solution, finished outputs) are compared before and after, whatever language wrote to them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Stamp = tuple[int, int]  # size, time of change
MOST = 20  # names that are kept

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CACHES = (
    "XDG_CACHE_HOME", "HF_HOME", "TORCH_HOME", "KERAS_HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR",
    "JAX_COMPILATION_CACHE_DIR", "TRITON_CACHE_DIR", "CUDA_CACHE_PATH", "DGNBENCH_CACHE",
)  # fmt: skip


def allowed(scratch: Path, target: Path) -> list[str]:
    """Where a run may write although it lies below a folder of the workflow."""
    caches = [os.environ[name] for name in _CACHES if os.environ.get(name)]
    return [os.path.realpath(p) for p in (str(scratch), str(target), sys.prefix, *caches)]


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _is_outside(path: str, forbidden: Sequence[str], open_to_it: Sequence[str]) -> bool:
    """Whether a run may not write here; hidden folders and compiled Python are caches."""
    folder = next((folder for folder in forbidden if _below(path, folder)), None)
    if folder is None or any(_below(path, place) for place in open_to_it):
        return False
    steps = path[len(folder) :].split(os.sep)
    return not any(step.startswith(".") or step == "__pycache__" for step in steps)


def _written(event: str, given: tuple[Any, ...]) -> Sequence[Any]:
    """The paths that an audit event is about to change."""
    if event == "open":
        path, mode, flags = given
        writes = isinstance(flags, int) and flags & _WRITING
        return (path,) if writes or (isinstance(mode, str) and set(mode) & set("wax+")) else ()
    if event in ("os.remove", "os.rmdir", "os.truncate"):
        return given[:1]
    if event == "os.mkdir":
        return () if os.path.isdir(given[0]) else given[:1]
    return {"os.rename": given[:2], "os.link": given[1:2], "os.symlink": given[1:2]}.get(event, ())


def watch_writes(forbidden: Sequence[str], open_to_it: Sequence[str], record: Path) -> None:
    """From now on note in `record` what this process and its forks write below `forbidden`."""
    note = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    named: set[str] = set()

    def heard(event: str, given: tuple[Any, ...]) -> None:
        if event != "open" and not event.startswith("os."):
            return
        for path in _written(event, given):
            if isinstance(path, int):  # a descriptor, opened before
                continue
            try:
                real = os.path.realpath(os.fsdecode(path))
            except (TypeError, ValueError, OSError):
                continue
            if real not in named and len(named) < MOST and _is_outside(real, forbidden, open_to_it):
                named.add(real)
                os.write(note, os.fsencode(real) + b"\n")

    sys.addaudithook(heard)


@dataclass(frozen=True)
class Listing:
    """Files that nobody may change while a run is made, and who else was running in the group."""

    kept: Mapping[str, Stamp]  # problem, solution, and what records them
    finished: Mapping[str, Stamp]  # outputs and records of the other runs
    others: frozenset[str]


def _stamp(file: Path) -> Stamp | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _stamps(files: Sequence[Path]) -> dict[str, Stamp]:
    return {str(file): stamp for file in files if (stamp := _stamp(file)) is not None}


def listing(
    problem: Path, solution: Path, target: Path, running: Callable[[Path], bool]
) -> Listing:
    """List what lies beside a run: cheap, a `stat` a file.

    Parameters
    ----------
    problem, solution, target
        The folders of the run; the other runs of the group lie beside `problem`.
    running
        Whether the run in a folder is under way.
    """
    group = problem.parent
    kept = [group / "split.json", *problem.glob("*.h5ad"), *solution.glob("*.h5ad")]
    strangers = [f for f in (*problem.iterdir(), *(solution.iterdir() if solution.is_dir() else ()))
                 if not f.name.startswith(".") and f not in kept]  # fmt: skip
    own = {target.resolve(), problem.resolve(), solution.resolve()}
    siblings = [f for f in group.iterdir() if f.is_dir() and f.resolve() not in own]
    under_way = {folder for folder in siblings if running(folder)}
    finished = [
        f / name for f in siblings if f not in under_way for name in ("run.json", "output.h5ad")
    ]
    return Listing(
        _stamps([*kept, *strangers]),
        _stamps(finished),
        frozenset(folder.name for folder in under_way),
    )


def changes(before: Listing, after: Listing) -> list[str]:
    """In words, what is not as it was. A run that was made again meanwhile has a new record, too."""
    found = []
    for name in sorted({*before.kept, *after.kept}):
        if before.kept.get(name) != after.kept.get(name):
            found.append(f"{name} ({_what(before.kept.get(name), after.kept.get(name))})")
    for name, stamp in sorted(before.finished.items()):
        record = str(Path(name).with_name("run.json"))
        if after.finished.get(name) == stamp or name == record:
            continue
        if record in before.finished and before.finished[record] == after.finished.get(record):
            found.append(f"{name} ({_what(stamp, after.finished.get(name))})")
    return found


def _what(before: Stamp | None, after: Stamp | None) -> str:
    return "new" if before is None else "removed" if after is None else "changed"
