"""The parent of a run: limits, timing, memory, and a status decided from evidence."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import psutil

from dgnbench import __version__
from dgnbench.cards import MethodCard, Resources, root
from dgnbench.contract import Status
from dgnbench.storage import sha256_of_folder, write_json

POLL_S = 0.1
LOG_HEAD_BYTES = 1_000_000  # a method may print megabytes; a log keeps the first and last part
LOG_TAIL_BYTES = 64_000
TAIL_LINES = 30
LIMIT_SHARE = 0.95  # our limits stay below the scheduler's: its kill cannot be recorded


def limits_of(resources: Resources) -> tuple[float, float]:
    """Seconds and MB at which a run is ended, a little below what it asked for."""
    return resources.runtime * 60 * LIMIT_SHARE, resources.mem_mb * LIMIT_SHARE


class _Log:
    """Copy a pipe to a file, keeping its head and its tail, so that no output is ever too much."""

    def __init__(self, pipe: IO[bytes], path: Path) -> None:
        self._pipe, self._path = pipe, path
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._left_out = 0
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self._thread.start()

    def _copy(self) -> None:
        written = 0
        with self._path.open("wb") as file:
            while chunk := os.read(self._pipe.fileno(), 65536):
                if written < LOG_HEAD_BYTES:
                    file.write(chunk)
                    file.flush()
                    written += len(chunk)
                else:
                    self._left_out += len(chunk)
                self._tail.append(chunk)
                self._tail_size += len(chunk)
                while self._tail_size - len(self._tail[0]) > LOG_TAIL_BYTES:
                    self._tail_size -= len(self._tail.popleft())
            if self._left_out:
                file.write(f"\n… {self._left_out} bytes left out; the end:\n".encode())
                file.write(b"".join(self._tail)[-LOG_TAIL_BYTES:])

    def tail(self) -> str:
        """The last lines, once the pipe is closed (or after five seconds of a stray holder)."""
        self._thread.join(timeout=5)
        lines = b"".join(self._tail).decode(errors="replace").splitlines()
        return "\n".join(line[:500] for line in lines[-TAIL_LINES:])


def _tree(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _rss_mb(processes: list[psutil.Process]) -> float:
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += process.memory_info().rss
    return total / 1e6


def _orphaned() -> bool:
    """Whether the workflow that started us was killed: its next start will do this run again."""
    workflow = os.environ.get("DGNBENCH_WORKFLOW_PID")
    return workflow is not None and not psutil.pid_exists(int(workflow))


def _end(processes: list[psutil.Process], pid: int) -> None:
    """End the whole tree: the child's session, and whoever left it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _watch(
    child: subprocess.Popen[bytes], seconds: float, mem_mb: float
) -> tuple[Status | None, str, float]:
    """Wait for the child; return the limit it broke, if any, in words, and its peak memory in MB."""
    begin, peak = time.monotonic(), 0.0
    broke: Status | None = None
    reason = ""
    handle = psutil.Process(child.pid)
    seen: dict[int, psutil.Process] = {}
    while child.poll() is None:
        processes = _tree(handle)
        seen.update({process.pid: process for process in processes})
        peak = max(peak, _rss_mb(processes))
        elapsed = time.monotonic() - begin
        if peak > mem_mb:
            broke = "out_of_memory"
            reason = f"used {peak:.0f} MB of memory, the limit is {mem_mb:.0f} MB (`mem_mb`)"
        elif elapsed > seconds:
            broke = "timeout"
            reason = (
                f"still running after {elapsed:.0f} s, the limit is {seconds:.0f} s (`runtime`)"
            )
        if broke:
            break
        if _orphaned():
            _end(list(seen.values()), child.pid)
            raise SystemExit("the workflow that started this run is gone; nothing was recorded")
        time.sleep(POLL_S)
    _end(list(seen.values()), child.pid)  # also strays that outlived the child
    child.wait()
    return broke, reason, peak


def _from_exit(code: int, peak: float, mem_mb: float) -> tuple[Status, str]:
    """The status of a child that left no result."""
    if code < 0:
        known = -code in {number.value for number in signal.Signals}
        name = signal.Signals(-code).name if known else f"number {-code}"
        if -code == signal.SIGKILL and peak > 0.8 * mem_mb:
            return "out_of_memory", f"killed by {name} at {peak:.0f} MB of memory"
        return "failed", f"killed by signal {name}"
    return "failed", f"the process ended with exit code {code} and left no result"


def _environment(threads: int, gpu: int) -> dict[str, str]:
    one = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS",
         "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
        str(threads),
    )  # fmt: skip
    return {
        **os.environ,
        **one,
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TF_ENABLE_ONEDNN_OPTS": "0",  # oneDNN's blocked sums change with the machine's load
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # deterministic matrix products on a GPU
        **({} if gpu else {"CUDA_VISIBLE_DEVICES": ""}),
    }


def git_commit(folder: Path) -> str:
    """The commit of a checkout, ``+dirty`` when it was changed since, or ``unknown``."""
    try:
        asked = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty=+dirty"]
        done = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


def fit(
    card: MethodCard,
    method: str,
    task: str,
    problem: Path,
    solution: Path,
    target: Path,
    *,
    seed: int,
    params: Mapping[str, Any],
    resources: Resources,
    log: Path | None = None,
) -> dict[str, Any]:
    """Run one method on one problem and record what happened, whatever happened.

    Parameters
    ----------
    card
        The method's card.
    method
        Its name with the variant, as it stands in the tables.
    task
        Which of its functions to call.
    problem, solution
        Folders of the split; only a ceiling is given the solution.
    target
        Folder for ``output.h5ad``, ``history.csv`` and ``run.json``; an older run's are removed.
    seed, params
        The keywords of the call.
    resources
        Limits; the run is ended a little before it reaches them.
    log
        Where the method's stdout and stderr go (default ``target/log.txt``).

    Returns
    -------
    What was written to ``run.json``.
    """
    target.mkdir(parents=True, exist_ok=True)
    for name in ("run.json", "output.h5ad", "history.csv", "scores.csv"):
        (target / name).unlink(missing_ok=True)
    log = (log or target / "log.txt").resolve()
    log.parent.mkdir(parents=True, exist_ok=True)
    seconds_limit, mem_limit = limits_of(resources)
    begin = time.time()
    with tempfile.TemporaryDirectory(prefix="dgnbench-run-") as scratch_name:
        scratch = Path(scratch_name)
        write_json(
            scratch / "request.json",
            {
                "task": task,
                "method_folder": str(card.folder.resolve()),
                "command": card.command,
                "problem": str(problem.resolve()),
                "solution": str(solution.resolve()) if card.role == "ceiling" else None,
                "uses_labels": card.uses_labels,
                "seed": seed,
                "params": dict(params),
            },
        )
        child = subprocess.Popen(
            [sys.executable, "-m", "dgnbench.runner.worker", str(scratch)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(resources.threads, resources.gpu),
            start_new_session=True,
        )
        assert child.stdout is not None
        output = _Log(child.stdout, log)
        try:
            broke, reason, peak = _watch(child, seconds_limit, mem_limit)
        except BaseException:  # Ctrl-C or the scheduler's TERM: leave no orphan behind
            _end(_tree(psutil.Process(child.pid)), child.pid)
            raise
        tail = output.tail()
        result: dict[str, Any] = {"seconds": {}, "versions": {}, "device": "", "peak_gpu_mb": 0.0}
        if broke is not None:
            result.update(status=broke, reason=reason)
        elif (scratch / "result.json").is_file():
            result.update(json.loads((scratch / "result.json").read_text()))
        else:
            status, reason = _from_exit(child.returncode, peak, mem_limit)
            result.update(status=status, reason=reason)
        for name in ("history.csv", *(("output.h5ad",) if result["status"] == "ok" else ())):
            if (scratch / name).is_file():
                shutil.move(scratch / name, target / f".{name}.part")
                os.replace(target / f".{name}.part", target / name)
    record = {
        "task": task,
        "method": method,
        "label": card.label,
        "role": card.role,
        "uses_labels": card.uses_labels,
        "status": result["status"],
        "reason": result["reason"],
        "stderr_tail": tail if result["status"] != "ok" else "",
        "seconds_import": round(result["seconds"].get("import", 0.0), 3),
        "seconds_fit": round(result["seconds"].get("fit", 0.0), 3),
        "seconds_predict": round(result["seconds"].get("predict", 0.0), 3),
        "seconds_total": round(time.time() - begin, 3),
        "peak_rss_mb": round(peak, 1),
        "peak_gpu_mb": round(result["peak_gpu_mb"], 1),
        "device": result["device"],
        "seed": seed,
        "params": dict(params),
        "limits": {"seconds": seconds_limit, "mem_mb": mem_limit, "threads": resources.threads},
        "problem_sha256": sha256_of_folder(problem, "*.h5ad"),
        "output_sha256": result.get("output_sha256", ""),
        "versions": {
            "dgnbench": __version__,
            "python": platform.python_version(),
            **result["versions"],
        },
        "git_commit": git_commit(root()),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begin)),
    }
    write_json(target / "run.json", record)
    return record
