"""GPUs as NVIDIA's management library sees them: which there are, and what a run uses of them.

The library is asked through the package `nvidia-ml-py` (module `pynvml`) where it is installed. Without
it GPUs are counted by their device files, and memory is what the frameworks say of themselves.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SAMPLE_EVERY_S = 1.0


def _nvml() -> Any:
    """`pynvml`, initialised, or None."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # not installed, no driver, no right: there is nobody to ask
        return None
    return pynvml


def _wanted() -> list[str] | None:
    """The entries of ``CUDA_VISIBLE_DEVICES`` that CUDA heeds; None for all devices."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return None
    names = [name.strip() for name in given.split(",")]
    ends = [i for i, name in enumerate(names) if name in ("", "-1")]
    return names[: ends[0]] if ends else names


def _handles(nvml: Any) -> list[Any]:
    wanted = _wanted()
    if wanted is None:
        wanted = [str(index) for index in range(nvml.nvmlDeviceGetCount())]
    found = []
    for name in wanted:
        with contextlib.suppress(nvml.NVMLError):  # CUDA ignores names that it does not know, too
            found.append(
                nvml.nvmlDeviceGetHandleByIndex(int(name))
                if name.isdigit()
                else nvml.nvmlDeviceGetHandleByUUID(name)
            )
    return found


def visible(devices: Path = Path("/dev")) -> int:
    """How many GPUs a run could use here."""
    nvml = _nvml()
    if nvml is not None:
        try:
            return len(_handles(nvml))
        finally:
            nvml.nvmlShutdown()
    files = [file for file in devices.glob("nvidia*") if re.fullmatch(r"nvidia\d+", file.name)]
    wanted = _wanted()
    return len(files) if wanted is None else min(len(files), len(wanted))


class Sampler:
    """What the processes of a run use of the visible GPUs, sampled while it runs.

    Parameters
    ----------
    wanted
        How many GPUs the run may use; with 0 nothing is sampled.
    """

    def __init__(self, wanted: int) -> None:
        self._nvml: Any = _nvml() if wanted else None
        self._handles = _handles(self._nvml) if self._nvml else []
        self._before = [self._used(handle) for handle in self._handles]
        self._sampled = -1e9
        self._utilisation: list[float] = []
        self.peak_mb = 0.0
        self.device = ""

    def _used(self, handle: Any) -> float:
        try:
            return float(self._nvml.nvmlDeviceGetMemoryInfo(handle).used) / 1e6
        except self._nvml.NVMLError:
            return 0.0

    def _used_by(self, handle: Any, before: float, pids: set[int]) -> float:
        """MB of one device in the hands of `pids`."""
        try:
            holders = self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        except self._nvml.NVMLError:
            holders = []
        ours = [holder for holder in holders if holder.pid in pids]
        if any(holder.usedGpuMemory is not None for holder in ours):
            return sum(float(holder.usedGpuMemory or 0) for holder in ours) / 1e6
        # In a container the process ids are the host's: then it is what the device uses more.
        if ours or not any(_exists(holder.pid) for holder in holders):
            return max(0.0, self._used(handle) - before)
        return 0.0

    def sample(self, pids: Iterable[int]) -> None:
        """Look once; at most once a second, whatever the number of calls."""
        if not self._handles or time.monotonic() - self._sampled < SAMPLE_EVERY_S:
            return
        self._sampled = time.monotonic()
        used = [
            self._used_by(handle, before, set(pids))
            for handle, before in zip(self._handles, self._before, strict=True)
        ]
        self.peak_mb = max(self.peak_mb, sum(used))
        held = [handle for handle, mb in zip(self._handles, used, strict=True) if mb > 0]
        for handle in held:
            with contextlib.suppress(self._nvml.NVMLError):
                name = self._nvml.nvmlDeviceGetName(handle)
                self.device = name.decode() if isinstance(name, bytes) else str(name)
                self._utilisation.append(
                    float(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
                )

    @property
    def utilisation(self) -> float | None:
        """Mean utilisation in per cent of the GPUs while the run held memory there, if it did."""
        seen = self._utilisation
        return sum(seen) / len(seen) if seen else None

    def close(self) -> None:
        """Let the library go."""
        if self._nvml is not None:
            with contextlib.suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
