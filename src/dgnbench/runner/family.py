"""The processes of a run: the child and all that descend from it, until the last one has ended.

A child in a session of its own can be ended as a group, but its own children may open sessions of
theirs, or outlive their parent. They are found all the same: by descent, because orphans come to the
supervisor (Linux), and by a mark in their environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

MARK = "DGNBENCH_RUN"  # in the environment of every process of a run: who supervises it, and its folder
SCAN_EVERY_S = 1.0  # looking for new processes reads the whole process table
SHARE_EVERY_S = 2.0  # so does memory that is shared the page tables
END_S = 15.0  # a process that cannot be killed for so long hangs in the kernel

_SET_SUBREAPER, _GET_SUBREAPER = 36, 37  # of prctl(2)
_GONE = (psutil.NoSuchProcess, psutil.AccessDenied)


def mark_of(target: Path) -> str:
    """The mark of this process's run in the folder `target`."""
    return f"{os.getpid()}:{target.resolve()}"


@contextmanager
def adopting() -> Iterator[None]:
    """Become the parent of orphans meanwhile, so that none leaves the tree (Linux only)."""
    if sys.platform != "linux":
        yield
        return
    prctl = ctypes.CDLL(None).prctl
    before = ctypes.c_int()
    prctl(_GET_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    prctl(_SET_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_SET_SUBREAPER, before.value, 0, 0, 0)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except _GONE:
        return False


def _mark(process: psutil.Process) -> str:
    try:
        return process.environ().get(MARK, "")
    except (*_GONE, OSError):
        return ""


def _with_descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except _GONE:
        return [process]


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(*_GONE):
            process.kill()


class Family:
    """A child and its descendants.

    Parameters
    ----------
    pid
        The child, leader of its own session.
    mark
        What stands in the environment of them all.
    """

    def __init__(self, pid: int, mark: str) -> None:
        self._child, self._mark_text = psutil.Process(pid), mark
        self._seen: set[psutil.Process] = set()  # alive
        self._known: set[psutil.Process] = set()  # of all times
        self._scanned = self._shared = -1e9
        self._last_mb = 0.0

    def members(self, *, now: bool = False) -> list[psutil.Process]:
        """Who is alive; new ones are looked for every second, or `now`."""
        if now or time.monotonic() - self._scanned > SCAN_EVERY_S:
            found = _with_descendants(self._child)
            for one in psutil.Process().children():
                if one != self._child and (one in self._seen or _mark(one) == self._mark_text):
                    found += _with_descendants(one)
            self._seen |= set(found)
            self._known |= self._seen
            self._scanned = time.monotonic()
        self._seen = {process for process in self._seen if _alive(process)}
        return list(self._seen)

    def memory_mb(self, limit_mb: float) -> float:
        """Resident memory in MB; what forked processes share counts once."""
        members = self.members()
        sizes = []
        for process in members:
            with contextlib.suppress(*_GONE):
                sizes.append(process.memory_info().rss / 1e6)
        if len(sizes) < 2:
            self._last_mb = sum(sizes)
        elif time.monotonic() - self._shared > (0.5 if sum(sizes) > limit_mb else SHARE_EVERY_S):
            self._last_mb = max(max(sizes), self._proportional_mb(members))
            self._shared = time.monotonic()
        return max(self._last_mb, *sizes, 0.0)

    @staticmethod
    def _proportional_mb(members: list[psutil.Process]) -> float:
        total = 0.0
        for process in members:
            with contextlib.suppress(*_GONE):
                info = process.memory_full_info()
                total += float(getattr(info, "pss", info.rss)) / 1e6
        return total

    def end(self) -> None:
        """End them all: stopped first, so that none can fork while the others are killed."""
        give_up = time.monotonic() + END_S
        stopped: set[psutil.Process] = set()
        while time.monotonic() < give_up:
            new = [process for process in self.members(now=True) if process not in stopped]
            if not new:
                break
            for process in new:
                with contextlib.suppress(*_GONE):
                    process.suspend()
                stopped.add(process)
        while (alive := self.members(now=True)) and time.monotonic() < give_up:
            _kill(alive)
            time.sleep(0.01)
        self._bury()

    def _bury(self) -> None:
        """Let adopted ones go that have ended; other children of this process are none of ours."""
        for one in psutil.Process().children():
            with contextlib.suppress(*_GONE, OSError, psutil.TimeoutExpired):
                ours = one in self._known or os.getsid(one.pid) == self._child.pid
                if one != self._child and ours and one.status() == psutil.STATUS_ZOMBIE:
                    one.wait(timeout=0.1)


def end_leftovers(target: Path) -> None:
    """End what a killed supervisor left behind of an earlier try of the run in `target`."""
    for process in psutil.process_iter():
        supervisor, _, folder = _mark(process).partition(":")
        if folder == str(target.resolve()) and not psutil.pid_exists(int(supervisor)):
            _kill([process])
