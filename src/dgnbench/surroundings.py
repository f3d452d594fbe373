"""What a result was made with: the machine, the packages, the commit, the code."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from dgnbench.cards import component_files, root
from dgnbench.storage import sha256, sha256_of_digests


@functools.cache
def machine() -> dict[str, Any]:
    """Processor, cores, memory, platform and GPU of this machine."""
    import psutil

    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines()
                 if line.startswith("model name")]  # fmt: skip
        cpu = names[0] if names else cpu
    nvidia = Path("/proc/driver/nvidia/gpus")
    gpus = [
        line.split(":", 1)[1].strip()
        for gpu in (sorted(nvidia.glob("*/information")) if nvidia.is_dir() else [])
        for line in gpu.read_text().splitlines()
        if line.startswith("Model")
    ]
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "gpu": ", ".join(gpus) or "none",
        "platform": platform.platform(),
    }


def installed() -> dict[str, str]:
    """Every package of this environment with its version."""
    found = {
        str(name).lower(): distribution.version
        for distribution in distributions()
        if (name := distribution.metadata["Name"])
    }
    return dict(sorted(found.items()))


def checkout(folder: Path) -> dict[str, Any]:
    """The commit of a checkout, whether its tree was clean, and which files were changed or new.

    Outside a checkout nobody can tell: the commit is ``unknown`` and `clean` is None.
    """
    try:
        commit = _git(folder, "rev-parse", "HEAD").strip()
        changed = _git(folder, "status", "--porcelain", "-z").split("\0")
    except (OSError, subprocess.SubprocessError):
        return {"commit": "unknown", "clean": None, "changed": []}
    files = [line for line in changed if line]
    return {"commit": commit, "clean": not files, "changed": files}


def _git(folder: Path, *words: str) -> str:
    asked = ["git", "-C", str(folder), *words]
    return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60).stdout


def place_of(folder: Path) -> str:
    """A component's folder: below the repository where it lies there, else in full."""
    folder = folder.resolve()
    return str(folder.relative_to(root()) if folder.is_relative_to(root()) else folder)


def code_sha256(folder: Path) -> str:
    """One checksum over the names and contents of a component's files."""
    files = component_files(folder)
    return sha256_of_digests({str(file.relative_to(folder)): sha256(file) for file in files})
