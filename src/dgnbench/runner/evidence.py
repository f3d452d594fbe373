"""What became of a run, read from what can be known: exit code, signal, the kernel's count, exceptions."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dgnbench.contract import Status

EXIT_NO_RESULT = 74  # of a worker that could not write its result (EX_IOERR)
NEAR_LIMIT = 0.8  # killed above this share of its memory limit, a run was killed for memory
CRASHES = ("SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT", "SIGTRAP", "SIGSYS")
FROM_OUTSIDE = ("SIGKILL", "SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2")
KILLED_WORDS = ("signal: killed", "sigkill", "exit code 137", "exit code -9", "oom-kill")

# What the frameworks raise instead of MemoryError, by class, and by the words of a plain RuntimeError.
MEMORY_CLASSES = ("OutOfMemoryError", "ResourceExhaustedError")
MEMORY_WORDS = (
    "resource_exhausted",  # XLA: jax, and TensorFlow with jit_compile
    "out of memory",  # CUDA error: out of memory
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "defaultcpuallocator: ",  # torch on the CPU
    "cannot allocate memory",
)
NO_GPU_WORDS = (
    "no cuda gpus are available",
    "found no nvidia driver",
    "not compiled with cuda enabled",
    "no supported gpu backend found",  # Lightning
    "unknown backend: 'gpu'",  # jax
    "unknown backend cuda",
    "unable to initialize backend 'cuda'",
    "no visible gpu",
)


@dataclass(frozen=True)
class Evidence:
    """What is known of a child that left no result.

    Parameters
    ----------
    exit_code
        As Python counts: the negative number of a signal.
    kernel_kills
        How many processes the kernel ended meanwhile for want of memory, in our cgroup.
    peak_mb, limit_mb
        Resident memory of the tree, and what it might have had.
    """

    exit_code: int
    kernel_kills: int
    peak_mb: float
    limit_mb: float


def kernel_kills(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """How often the kernel has killed for want of memory: in our cgroup, else on the machine."""
    for file in (*_counters(proc / "self" / "cgroup", cgroups), proc / "vmstat"):
        try:
            lines = file.read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _counters(told: Path, cgroups: Path) -> Iterator[Path]:
    """The files that may hold our cgroup's count; inside a container its path is the mount's root."""
    try:
        lines = told.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            for place in (path.strip("/"), ""):
                yield cgroups / "memory" / place / "memory.oom_control"
        elif controllers == "":
            for place in (path.strip("/"), ""):
                yield cgroups / place / "memory.events"


def judge(evidence: Evidence) -> tuple[Status, str]:
    """Status and reason of a child that left no result."""
    code, peak = evidence.exit_code, evidence.peak_mb
    if code == EXIT_NO_RESULT:
        return "failed", "its result could not be written; is the disk of TMPDIR full?"
    if code >= 0:
        return "failed", f"the process ended with exit code {code} and left no result"
    known = -code in {number.value for number in signal.Signals}
    name = signal.Signals(-code).name if known else f"number {-code}"
    if name == "SIGKILL" and evidence.kernel_kills:
        return "out_of_memory", (
            f"ended by the kernel, which had no memory left, at {peak:.0f} MB (SIGKILL)"
        )
    if name == "SIGKILL" and peak > NEAR_LIMIT * evidence.limit_mb:
        return "out_of_memory", (
            f"killed by signal SIGKILL at {peak:.0f} MB of memory, near its limit of "
            f"{evidence.limit_mb:.0f} MB"
        )
    if name in CRASHES:
        return "failed", f"killed by signal {name}: a crash in native code"
    if name in FROM_OUTSIDE:
        return "lost", f"killed by signal {name}, which came from outside"
    return "failed", f"killed by signal {name}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and those that it was raised from."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__


def _says(error: BaseException, words: tuple[str, ...]) -> bool:
    text = str(error).lower()
    return isinstance(error, Exception) and any(word in text for word in words)


def status_of(error: BaseException) -> Status:
    """What an exception of a method means: memory, a GPU that is not there, or a fault of its own."""
    for one in _chain(error):
        names = {kind.__name__ for kind in type(one).__mro__}
        if isinstance(one, MemoryError) or names & set(MEMORY_CLASSES) or _says(one, MEMORY_WORDS):
            return "out_of_memory"
        if _says(one, NO_GPU_WORDS):
            return "no_gpu"
    return "failed"


def a_part_was_killed(reason: str) -> bool:
    """Whether a method that lived on says that one of its processes was killed: a data loader, say."""
    return any(word in reason.lower() for word in KILLED_WORDS)
