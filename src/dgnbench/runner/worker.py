"""The child process of a run: load the problem, import the method, call it, check, write.

Reads ``request.json`` from the folder it is given and writes ``output.h5ad``, ``history.csv`` and
``result.json`` there. A child that leaves no result was killed, and its parent says by what.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import importlib.util
import json
import logging
import os
import platform
import shlex
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from dgnbench import progress
from dgnbench.contract import ContractError, Declined, Problem, Task, check_output
from dgnbench.runner.boundary import watch_writes
from dgnbench.runner.evidence import EXIT_NO_RESULT, status_of
from dgnbench.storage import read_parts, sha256, write_json, write_matrix
from dgnbench.tasks import all_tasks


def _call_function(request: dict[str, Any], task: Task, seconds: dict[str, float]) -> Any:
    folder = Path(request["method_folder"])
    problem = _seen(request, task)
    begin = time.perf_counter()
    sys.path.insert(0, str(folder))  # a method may keep its network in net.py beside it
    spec = importlib.util.spec_from_file_location("method", folder / "method.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(folder / "method.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["method"] = module
    spec.loader.exec_module(module)
    seconds["import"] = time.perf_counter() - begin
    keywords: dict[str, Any] = dict(request["params"])
    if request["solution"] is not None:
        keywords["solution"] = read_parts(Path(request["solution"]))
    if request["uses_labels"] and "labels" in task.restricted:
        keywords["labels"] = problem["labels"]
    _say_that_fit_begins(seconds)
    begin = time.perf_counter()
    try:
        return getattr(module, task.id)(
            *(problem[part].copy() for part in task.parts), seed=request["seed"], **keywords
        )
    finally:
        seconds["predict"] = progress.seconds("predict")
        seconds["fit"] = time.perf_counter() - begin - seconds["predict"]


def _say_that_fit_begins(seconds: dict[str, float]) -> None:
    """For the budget of time, and for the parent, should this run be ended: what was import, what fit."""
    progress.start_clock()
    with contextlib.suppress(OSError):
        began = {"import": seconds["import"], "fit": time.monotonic()}
        Path("began.json").write_text(json.dumps(began))


def _seen(request: dict[str, Any], task: Task) -> Problem:
    parts = read_parts(Path(request["problem"]))
    return {name: part for name, part in parts.items() if name not in task.restricted or
            request["uses_labels"]}  # fmt: skip


def _decline_another_modality(wanted: str | None, problem: Problem) -> None:
    """Before the method's imports, which take ten seconds where it wraps a large package."""
    given = {part.uns.get("modality", "rna") for part in problem.values()} - {"rna"}
    if wanted is not None and given - {wanted}:
        names = ", ".join(given)
        raise Declined(f"it is of RNA and {wanted} (its card's second_modality); this is {names}")


def _call_command(request: dict[str, Any], task: Task, seconds: dict[str, float]) -> Any:
    """Run the card's command over files, in a folder that holds only what the method may see."""
    from anndata import read_h5ad

    problem = Path("problem")
    problem.mkdir()
    for name, part in _seen(request, task).items():
        part.write_h5ad(problem / f"{name}.h5ad")
    Path("params.json").write_text(json.dumps({"seed": request["seed"], **request["params"]}))
    output = Path("command_output.h5ad").resolve()
    command = request["command"].format(
        folder=shlex.quote(request["method_folder"]),
        problem=shlex.quote(str(problem.resolve())),
        output=shlex.quote(str(output)),
        params=shlex.quote(str(Path("params.json").resolve())),
        task=shlex.quote(task.id),
    )
    _say_that_fit_begins(seconds)
    begin = time.perf_counter()
    code, last_words = _shell(command)
    seconds["fit"] = time.perf_counter() - begin
    if code != 0:
        raise RuntimeError(f"the command ended with exit code {code}: {last_words or command}")
    if not output.is_file():
        raise ContractError(f"the command wrote no {output.name}: {command}")
    written = read_h5ad(output)
    rows = task.output.rows.split(".")[0]
    names = read_parts(problem)[rows].obs_names
    if not written.obs_names.equals(names):
        raise ContractError("the command's output does not have the problem's cells in their order")
    return written.X


def _shell(command: str) -> tuple[int, str]:
    """Run a command, pass on what it says on stderr, and keep its last lines: why it failed."""
    said = b""

    def pass_on(pipe: int) -> None:
        nonlocal said
        while chunk := os.read(pipe, 65536):
            sys.stderr.buffer.write(chunk)
            sys.stderr.flush()
            said = (said + chunk)[-4000:]

    process = subprocess.Popen(command, shell=True, stderr=subprocess.PIPE)
    assert process.stderr is not None
    reader = threading.Thread(target=pass_on, args=[process.stderr.fileno()], daemon=True)
    reader.start()
    code = process.wait()
    reader.join(timeout=5)  # a stray process may hold the pipe open
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    return code, " | ".join(lines[-3:])[-500:]


def _reason(error: BaseException) -> str:
    name = type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    place = next((f for f in reversed(frames) if f.filename.endswith("method.py")), None)
    where = f" (method.py line {place.lineno})" if place else ""
    return f"{name}: {error}{where}"


def _device_and_gpu_peak() -> tuple[str, float]:
    """The device really used and the peak of its memory in MB, asked of whoever was imported."""
    for ask in (_torch_gpu, _tensorflow_gpu, _jax_gpu):
        with contextlib.suppress(Exception):  # a framework in a bad state must not cost the result
            name, peak = ask()
            if peak > 0:
                return name, peak
    return "cpu", 0.0


def _torch_gpu() -> tuple[str, float]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return "", 0.0
    return torch.cuda.get_device_name(), torch.cuda.max_memory_allocated() / 1e6


def _tensorflow_gpu() -> tuple[str, float]:
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None or not tensorflow.config.list_physical_devices("GPU"):
        return "", 0.0
    return "GPU:0", tensorflow.config.experimental.get_memory_info("GPU:0")["peak"] / 1e6


def _jax_gpu() -> tuple[str, float]:
    jax = sys.modules.get("jax")
    bridge = sys.modules.get("jax._src.xla_bridge")
    if jax is None or bridge is None or not bridge.backends_are_initialized():
        return "", 0.0  # imported, but never asked for a device: do not make it take one now
    device = jax.local_devices()[0]
    return device.device_kind, (device.memory_stats() or {}).get("peak_bytes_in_use", 0) / 1e6


def _peak_rss_mb() -> float:
    """The most memory that this process ever held, also between two looks of its parent (Linux)."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def die_first_and_with(supervisor: int) -> None:
    """Tie this process to its supervisor, without whom it would run without limits (Linux).

    And when memory runs out the kernel takes the method, not the workflow.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    if not Path(f"/proc/{supervisor}").exists():  # it ended before we asked
        os._exit(1)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def work(folder: Path) -> None:
    """Do the run that ``folder/request.json`` asks for; every outcome but a kill leaves a result."""
    request = json.loads((folder / "request.json").read_text())
    die_first_and_with(request["supervisor"])
    os.chdir(folder)
    watch_writes(request["forbidden"], request["allowed"], folder / "outside.txt")
    task = all_tasks()[request["task"]]
    progress.start(folder / "history.csv")
    seconds = {"import": 0.0, "fit": 0.0, "predict": 0.0}
    result: dict[str, Any] = {"status": "ok", "reason": ""}
    try:
        call = _call_function if request["command"] is None else _call_command
        problem = read_parts(Path(request["problem"]))
        _decline_another_modality(request["second_modality"], problem)
        output = check_output(task, problem, call(request, task, seconds))
        names = [
            getattr(problem[place.split(".")[0]], place.split(".")[1])[[]] if place else None
            for place in (task.output.rows, task.output.columns)
        ]
        write_matrix(folder / "output.h5ad", output, *names)
        result["output_sha256"] = sha256(folder / "output.h5ad")
    except Declined as reason:
        result.update(status="declined", reason=str(reason) or "no reason given")
    except ContractError as error:
        result.update(status="invalid_output", reason=str(error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        traceback.print_exc()
        if isinstance(error, SystemExit):
            result.update(status="failed", reason=f"the method called sys.exit({error.code!r})")
        else:
            result.update(status=status_of(error), reason=_reason(error))
    device, gpu_mb = _device_and_gpu_peak()
    result.update(seconds=seconds, device=device, peak_gpu_mb=gpu_mb, versions=_versions())
    result.update(rounds=progress.rounds(), parameters=progress.told_parameters())
    result["peak_rss_mb"] = _peak_rss_mb()
    try:
        write_json(folder / "result.json", result)
        progress.finish()
    except OSError as error:
        print(f"dgnbench: the scratch folder cannot be written to: {error}", file=sys.stderr)
        if not (folder / "result.json").is_file():
            os._exit(EXIT_NO_RESULT)


def _versions() -> dict[str, str]:
    """Versions of all packages that this run really imported."""
    from importlib.metadata import packages_distributions, version

    heads = {name.split(".")[0] for name in sys.modules}
    names = {d for head, d_s in packages_distributions().items() if head in heads for d in d_s}
    found = {name.lower(): version(name) for name in sorted(names)}
    with contextlib.suppress(OSError, ValueError):  # what a command of another language tells
        found |= {str(k): str(v) for k, v in json.loads(Path("versions.json").read_text()).items()}
    return {"python": platform.python_version(), **found}


if __name__ == "__main__":
    faulthandler.enable()  # a crash in native code names the line of Python
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    work(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    # Frameworks' threads and atexit hooks may hang or crash here; the result is written.
    os._exit(0)
