"""The parent of a run: limits, timing, memory, and a status decided from evidence."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Any

import psutil

from dgnbench import __version__, progress
from dgnbench.cards import MethodCard, Resources, root
from dgnbench.contract import DgnbenchError, Status
from dgnbench.environments import interpreter_of
from dgnbench.plan import granted
from dgnbench.runner import attempts, boundary, checkpoint, evidence, gpu
from dgnbench.runner.family import MARK, Family, adopting, mark_of
from dgnbench.storage import sha256_of_digests, sha256_of_folder, write_json
from dgnbench.surroundings import code_sha256, machine, place_of

POLL_S = 0.1
LOG_HEAD_BYTES = 1_000_000  # a method may print megabytes; a log keeps the first and last part
LOG_TAIL_BYTES = 64_000
TAIL_LINES = 30
REASON_LETTERS = 2000  # an exception may carry a whole matrix


class _Log:
    """Copy a pipe to a file, keeping its head and its tail, so that no output is ever too much.

    A file that cannot be written, on a full disk say, does not stop the copying: a method that finds
    nobody at the other end of its pipe would wait until its time is up.
    """

    def __init__(self, pipe: IO[bytes], path: Path) -> None:
        self._pipe, self._path = pipe, path
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._left_out = 0
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self._thread.start()

    def _copy(self) -> None:
        file: IO[bytes] | None = None
        with contextlib.suppress(OSError):
            file = self._path.open("wb", buffering=0)
        written = 0
        while chunk := os.read(self._pipe.fileno(), 65536):
            self._tail.append(chunk)
            self._tail_size += len(chunk)
            while self._tail_size - len(self._tail[0]) > LOG_TAIL_BYTES:
                self._tail_size -= len(self._tail.popleft())
            if written < LOG_HEAD_BYTES:
                written += len(chunk)
                file = self._write(file, chunk)
            else:
                self._left_out += len(chunk)
        if self._left_out:
            file = self._write(file, f"\n… {self._left_out} bytes left out; the end:\n".encode())
            file = self._write(file, b"".join(self._tail)[-LOG_TAIL_BYTES:])
        if file is not None:
            file.close()

    @staticmethod
    def _write(file: IO[bytes] | None, chunk: bytes) -> IO[bytes] | None:
        try:
            if file is not None:
                file.write(chunk)
        except OSError:
            return None
        return file

    def tail(self) -> str:
        """The last lines, once the pipe is closed (or after five seconds of a stray holder)."""
        self._thread.join(timeout=5)
        lines = readable(b"".join(self._tail)).splitlines()
        return "\n".join(line[:500] for line in lines[-TAIL_LINES:])


def readable(said: bytes | str) -> str:
    """Text that every file and page can hold: no broken UTF-8, no control characters."""
    text = said.encode(errors="replace") if isinstance(said, str) else said
    return "".join(
        letter
        for letter in text.decode(errors="replace")
        if letter.isprintable() or letter in "\n\r\t"
    )


def _orphaned() -> bool:
    """Whether the workflow that started us was killed: its next start will do this run again."""
    workflow = os.environ.get("DGNBENCH_WORKFLOW_PID")
    return workflow is not None and not psutil.pid_exists(int(workflow))


@contextmanager
def _handling(
    numbers: Sequence[signal.Signals], handle: Callable[[int, FrameType | None], Any]
) -> Iterator[None]:
    """Handle signals so meanwhile; only the main thread can, and any other leaves them as they are."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ended_by_signals() -> AbstractContextManager[None]:
    """Make of a scheduler's TERM an exception, so that the method is ended before its supervisor."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(
            f"ended by {signal.Signals(number).name}: cancelled, preempted, or the scheduler's time is up"
        )

    return _handling((signal.SIGTERM, signal.SIGHUP), end)


@contextmanager
def _signals_held() -> Iterator[Callable[[], None]]:
    """Hold signals back until the yielded function is called, or the block is left.

    One that ended us inside of `subprocess.Popen` would leave a child behind that nobody knows.
    """
    came: list[int] = []

    def deliver() -> None:
        if came:
            signal.raise_signal(came[0])

    with ExitStack() as held:
        held.callback(deliver)  # after what is entered below has put the handlers back
        numbers = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
        held.enter_context(_handling(numbers, lambda number, _: came.append(number)))
        yield held.close


@dataclass
class _Watched:
    """What the parent saw of a child."""

    broke: Status | None = None
    reason: str = ""
    peak_mb: float = 0.0


def _watch(
    child: subprocess.Popen[bytes], family: Family, limits: Resources, gpus: gpu.Sampler
) -> _Watched:
    """Wait for the child, or end it at a limit."""
    begin, seen = time.monotonic(), _Watched()
    while child.poll() is None:
        seen.peak_mb = max(seen.peak_mb, family.memory_mb(limits.mem_mb))
        elapsed = time.monotonic() - begin
        gpus.sample(process.pid for process in family.members())
        if seen.peak_mb > limits.mem_mb:
            seen.broke = "out_of_memory"
            seen.reason = (
                f"used {seen.peak_mb:.0f} MB of memory, "
                f"the limit is {limits.mem_mb:.0f} MB (`mem_mb`)"
            )
        elif elapsed > limits.runtime * 60:
            seen.broke = "timeout"
            seen.reason = (
                f"still running after {elapsed:.0f} s, the limit is {limits.runtime * 60:.0f} s "
                "(`runtime`)"
            )
        if seen.broke:
            break
        if _orphaned():
            raise SystemExit("the workflow that started this run is gone; nothing was recorded")
        time.sleep(POLL_S)
    return seen


def _environment(limits: Resources, mark: str, scratch: Path, saved: Path) -> dict[str, str]:
    one = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS",
         "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
        str(limits.threads),
    )  # fmt: skip
    return {
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # or jax takes three quarters of a GPU at once
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # count GPUs as NVML does
        **os.environ,
        **one,
        MARK: mark,
        checkpoint.VARIABLE: str(saved.resolve()),
        "TMPDIR": str(scratch),
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TF_ENABLE_ONEDNN_OPTS": "0",  # oneDNN's blocked sums change with the machine's load
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # deterministic matrix products on a GPU
        **({} if limits.gpu else {"CUDA_VISIBLE_DEVICES": ""}),
        progress.TRAIN_SECONDS: ""
        if limits.train_minutes is None
        else str(limits.train_minutes * 60),
    }


def git_commit(folder: Path) -> str:
    """The commit of a checkout, ``+dirty`` when it was changed since, or ``unknown``."""
    try:
        asked = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty=+dirty"]
        done = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


@dataclass(frozen=True)
class _Order:
    """What `fit` was asked to do."""

    card: MethodCard
    task: str
    problem: Path
    solution: Path
    target: Path
    seed: int
    params: Mapping[str, Any]
    limits: Resources
    require_gpu: bool
    conda: bool
    log: Path
    checkpoint: Path


@dataclass
class _Outcome:
    """What is recorded of a run beside what it was asked to do."""

    status: Status
    reason: str
    tail: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    rounds: int = 0
    parameters: int | None = None
    device: str = ""
    peak_rss_mb: float = 0.0
    peak_gpu_mb: float = 0.0
    gpu_utilisation: float | None = None
    output_sha256: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    changed_meanwhile: list[str] = field(default_factory=list)


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
    attempt: int = 1,
    retries: Mapping[str, int] | None = None,
    require_gpu: bool = False,
    conda: bool = False,
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
        What a first try may use; the run is ended where it uses more.
    log
        Where the method's stdout and stderr go (default ``target/log.txt``).
    attempt
        Which try this is, counted from 1: a later one may use more, see `granted`.
    retries
        How often a status is tried again.
    require_gpu
        Whether a run that wants a GPU is not made without one.
    conda
        Whether Snakemake has activated the conda file of the method's environment.

    Returns
    -------
    What was written to ``run.json``.

    Raises
    ------
    TryAgain
        Instead of a record, where the status is one that `retries` has tries left for.
    DgnbenchError
        Where nothing can be written to `target`.
    """
    retries, card = retries or {}, card.at(params)
    limits = granted(resources, attempt, retries)
    begin, started = time.monotonic(), attempts.stamp()
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name in ("run.json", "output.h5ad", "history.csv", "scores.csv"):
            (target / name).unlink(missing_ok=True)
        log = (log or target / "log.txt").resolve()
        log.parent.mkdir(parents=True, exist_ok=True)
        earlier = attempts.begin(target, attempt)
    except OSError as error:
        raise DgnbenchError(
            f"{target}: a run is recorded there, but it cannot be written to: {error.strerror}; "
            "make it writable or free some space, and start again"
        ) from None
    problem_sha256 = sha256_of_folder(problem, "*.h5ad")
    saved = checkpoint.file_of(
        target, card.folder, problem_sha256, {"task": task, "seed": seed, "params": dict(params)}
    )
    order = _Order(
        card, task, problem, solution, target, seed, params, limits, require_gpu, conda, log, saved
    )
    try:
        with _ended_by_signals():
            outcome = _refused(order, problem_sha256) or _run(order)
    except BaseException as ended:  # Ctrl-C, a scheduler's TERM, a workflow that is gone
        with contextlib.suppress(OSError):
            attempts.end(target, reason=str(ended) or type(ended).__name__)
        raise
    seconds_total = round(time.monotonic() - begin, 3)
    brief = {
        "status": outcome.status,
        "reason": outcome.reason,
        "seconds_total": seconds_total,
        "peak_rss_mb": round(outcome.peak_rss_mb, 1),
        "limits": asdict(limits),
    }
    if attempt <= retries.get(outcome.status, 0):
        attempts.end(target, **brief)
        following = granted(resources, attempt + 1, retries)
        raise attempts.TryAgain(
            f"{outcome.status}: {outcome.reason}; this was try {attempt}, and Snakemake makes another one "
            f"with {following.mem_mb:.0f} MB and {following.runtime:g} min (what it calls an error here "
            "is none yet)"
        )
    record = {
        "task": task,
        "method": method,
        "label": card.label,
        "role": card.role,
        "uses_labels": card.uses_labels,
        "status": outcome.status,
        "reason": outcome.reason,
        "stderr_tail": outcome.tail if outcome.status != "ok" else "",
        "seconds_import": round(outcome.seconds.get("import", 0.0), 3),
        "seconds_fit": round(outcome.seconds.get("fit", 0.0), 3),
        "seconds_predict": round(outcome.seconds.get("predict", 0.0), 3),
        "seconds_total": seconds_total,
        "peak_rss_mb": brief["peak_rss_mb"],
        "peak_gpu_mb": round(outcome.peak_gpu_mb, 1),
        "gpu_utilisation": outcome.gpu_utilisation,
        "rounds": outcome.rounds,
        "parameters": outcome.parameters,
        "device": outcome.device,
        "wanted_gpu": limits.gpu > 0,
        "attempts": len(earlier) + 1,
        "earlier_attempts": earlier,
        "evidence": dict(outcome.evidence),
        "changed_meanwhile": outcome.changed_meanwhile,
        "seed": seed,
        "params": dict(params),
        "limits": {
            "seconds": limits.runtime * 60, "mem_mb": limits.mem_mb, "threads": limits.threads
        },
        # What `dgnbench rerun` needs beside seed and params, and what may be different there.
        "resources": asdict(limits),
        "component": place_of(card.folder),
        "component_sha256": code_sha256(card.folder),
        "env": card.env,
        "machine": machine(),
        "problem_sha256": problem_sha256,
        "output_sha256": outcome.output_sha256,
        "versions": {
            "dgnbench": __version__,
            "python": platform.python_version(),
            **outcome.versions,
        },
        "git_commit": git_commit(root()),
        "started": started,
    }  # fmt: skip
    try:
        write_json(target / "run.json", record)
        attempts.forget(target)
        if outcome.status not in checkpoint.KEPT:
            saved.unlink(missing_ok=True)
    except OSError as error:
        raise DgnbenchError(
            f"{target / 'run.json'}: {outcome.status} ({outcome.reason or 'no reason'}), but the record "
            f"cannot be written: {error.strerror}; free some space, and start again"
        ) from None
    return record


def _refused(order: _Order, problem_sha256: str) -> _Outcome | None:
    """Why a run is not even begun, if so."""
    split = order.problem.parent / "split.json"
    with contextlib.suppress(OSError, ValueError):
        files = json.loads(split.read_text()).get("files", {})
        told = {Path(f).name: digest for f, digest in files.items() if f.startswith("problem/")}
        if told and sha256_of_digests(told) != problem_sha256:
            return _Outcome(
                "failed",
                f"{order.problem} is not what the split wrote: somebody changed it since; remove "
                f"{split} and start again",
            )
    if order.require_gpu and order.limits.gpu and not gpu.visible():
        return _Outcome(
            "no_gpu",
            f"it asks for {order.limits.gpu} GPU and the config says `require_gpu`, but none is "
            f"visible on {platform.node()}",
        )
    return None


def _request(order: _Order, scratch: Path) -> dict[str, Any]:
    """What the child is told; only a ceiling is told where the solution lies."""
    card = order.card
    forbidden = [Path.cwd(), order.problem.parent, root(), card.folder]
    return {
        "task": order.task,
        "method_folder": str(card.folder.resolve()),
        "command": card.command,
        "problem": str(order.problem.resolve()),
        "solution": str(order.solution.resolve()) if card.role == "ceiling" else None,
        "uses_labels": card.uses_labels,
        "second_modality": card.second_modality,
        "seed": order.seed,
        "params": dict(order.params),
        "supervisor": os.getpid(),
        "forbidden": [os.path.realpath(folder) for folder in forbidden],
        "allowed": boundary.allowed(scratch, order.target),
    }


def _run(order: _Order) -> _Outcome:
    """Start the child, watch it, and judge what it left."""
    card, limits = order.card, order.limits
    try:
        python, surroundings = interpreter_of(card, conda=order.conda)
    except DgnbenchError as error:
        return _Outcome("failed", str(error))
    with tempfile.TemporaryDirectory(prefix="dgnbench-run-", ignore_cleanup_errors=True) as name:
        scratch = Path(name).resolve()
        write_json(scratch / "request.json", _request(order, scratch))
        places = order.problem, order.solution, order.target
        before = boundary.listing(*places, attempts.under_way)
        kills, gpus = evidence.kernel_kills(), gpu.Sampler(limits.gpu)
        mark = mark_of(order.target)
        with adopting(), _signals_held() as release:
            child = subprocess.Popen(
                [python, "-m", "dgnbench.runner.worker", str(scratch)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=_environment(limits, mark, scratch, order.checkpoint) | surroundings,
                start_new_session=True,
            )
            assert child.stdout is not None
            family = Family(child.pid, mark)
            output = _Log(child.stdout, order.log)
            try:
                release()
                watched = _watch(child, family, limits, gpus)
            finally:  # at a limit, at Ctrl-C, and also strays that outlived the child
                family.end()
                child.wait()
                ended = time.monotonic()
                gpus.close()
        kills = evidence.kernel_kills() - kills
        outcome = _judged(scratch, watched, child.returncode, kills, limits, ended)
        outcome.tail = output.tail()
        outcome.peak_gpu_mb = max(outcome.peak_gpu_mb, gpus.peak_mb)
        outcome.gpu_utilisation = gpus.utilisation
        outcome.device = gpus.device or outcome.device
        sought = order.require_gpu and limits.gpu and card.command is None  # a command does not say
        if sought and outcome.status == "ok" and outcome.device == "cpu":
            outcome.status = "no_gpu"
            outcome.reason = (
                "it ran on the CPU although a GPU is visible and the config says `require_gpu`: is its "
                "framework built without CUDA?"
            )
        after = boundary.listing(*places, attempts.under_way)
        _mind_the_boundary(outcome, scratch, before, after)
        _keep(outcome, scratch, order.target)
        return outcome


def _judged(
    scratch: Path, watched: _Watched, code: int, kills: int, limits: Resources, ended: float
) -> _Outcome:
    """Status and figures from the limits, the worker's own word, or the way it ended."""
    told: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        told = json.loads((scratch / "result.json").read_text())
    peak = max(watched.peak_mb, told.get("peak_rss_mb", 0.0))
    if watched.broke is not None:
        status, reason, told = watched.broke, watched.reason, {}
    elif told:
        status, reason = told["status"], readable(told["reason"])[:REASON_LETTERS]
        if status == "failed" and kills and evidence.a_part_was_killed(reason):
            status, reason = "out_of_memory", f"the kernel ended one of its processes: {reason}"
    else:
        status, reason = evidence.judge(evidence.Evidence(code, kills, peak, limits.mem_mb))
    return _Outcome(
        status,
        reason,
        seconds=told.get("seconds") or _seconds_so_far(scratch, ended),
        versions=told.get("versions", {}),
        rounds=told.get("rounds", 0),
        parameters=told.get("parameters"),
        device=told.get("device", ""),
        peak_rss_mb=peak,
        peak_gpu_mb=told.get("peak_gpu_mb", 0.0),
        output_sha256=told.get("output_sha256", ""),
        evidence={
            "exit_code": code,
            "signal": signal.Signals(-code).name if -code in set(signal.Signals) else None,
            "kernel_kills": kills,
            "limit": watched.broke,
            "word_of_its_own": bool(told),
        },
    )


def _seconds_so_far(scratch: Path, ended: float) -> dict[str, float]:
    """Import and fit of a run that was ended; the clock is the machine's, alike in all processes."""
    with contextlib.suppress(OSError, ValueError):
        began = json.loads((scratch / "began.json").read_text())
        return {"import": began["import"], "fit": ended - began["fit"]}
    return {}


def _mind_the_boundary(
    outcome: _Outcome, scratch: Path, before: boundary.Listing, after: boundary.Listing
) -> None:
    """Fail a run that wrote outside its folder; where others ran as well, only note what changed."""
    noted: list[str] = []
    with contextlib.suppress(OSError):
        noted = os.fsdecode((scratch / "outside.txt").read_bytes()).splitlines()
    found = boundary.changes(before, after)
    others = sorted(before.others | after.others)
    spoilt = [what for what in found if what.rpartition(" (")[0] in {*before.kept, *after.kept}]
    if not noted and not spoilt and (others or not found):
        outcome.changed_meanwhile = found
        return
    names = [os.path.relpath(name) for name in noted]
    said = f"wrote outside its folder: {', '.join(names)}" if noted else ""
    if found and not noted:
        said = f"while it ran, files outside its folder changed: {', '.join(found)}"
        said += f"; running as well: {', '.join(others)}" if others else ""
    if outcome.status not in ("ok", "declined"):
        said += f"; besides, {outcome.status}: {outcome.reason}"
    outcome.status, outcome.reason, outcome.changed_meanwhile = "failed", readable(said), found


def _keep(outcome: _Outcome, scratch: Path, target: Path) -> None:
    """Bring history and output to their place, whole or not at all."""
    for name in ("history.csv", *(("output.h5ad",) if outcome.status == "ok" else ())):
        if not (scratch / name).is_file():
            continue
        size = (scratch / name).stat().st_size / 1e6
        partial = target / f".{name}.part"
        try:
            shutil.move(scratch / name, partial)
            os.replace(partial, target / name)
        except OSError as error:
            partial.unlink(missing_ok=True)
            outcome.status = "failed"
            outcome.reason = (
                f"{name} ({size:.1f} MB) could not be written: {error.strerror}; make room in {target}, "
                "then `dgnbench retry`"
            )
    if outcome.status != "ok":
        outcome.output_sha256 = ""
        with contextlib.suppress(OSError):
            (target / "output.h5ad").unlink(missing_ok=True)
