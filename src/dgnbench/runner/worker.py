"""The child process of a run: load the problem, import the method, call it, check, write.

Reads ``request.json`` from the folder it is given and writes ``output.h5ad``, ``history.csv`` and
``result.json`` there. A child that leaves no result was killed, and its parent says by what.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from dgnbench import progress
from dgnbench.contract import ContractError, Declined, Problem, Task, check_output
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
    begin = time.perf_counter()
    try:
        return getattr(module, task.id)(
            *(problem[part].copy() for part in task.parts), seed=request["seed"], **keywords
        )
    finally:
        seconds["predict"] = progress.seconds("predict")
        seconds["fit"] = time.perf_counter() - begin - seconds["predict"]


def _seen(request: dict[str, Any], task: Task) -> Problem:
    parts = read_parts(Path(request["problem"]))
    return {name: part for name, part in parts.items() if name not in task.restricted or
            request["uses_labels"]}  # fmt: skip


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
    begin = time.perf_counter()
    done = subprocess.run(command, shell=True, check=False)
    seconds["fit"] = time.perf_counter() - begin
    if done.returncode != 0:
        raise RuntimeError(f"the command ended with exit code {done.returncode}: {command}")
    if not output.is_file():
        raise ContractError(f"the command wrote no {output.name}: {command}")
    written = read_h5ad(output)
    rows = task.output.rows.split(".")[0]
    names = read_parts(problem)[rows].obs_names
    if not written.obs_names.equals(names):
        raise ContractError("the command's output does not have the problem's cells in their order")
    return written.X


def _reason(error: BaseException) -> str:
    name = type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    place = next((f for f in reversed(frames) if f.filename.endswith("method.py")), None)
    where = f" (method.py line {place.lineno})" if place else ""
    return f"{name}: {error}{where}"


def _is_out_of_memory(error: BaseException) -> bool:
    """MemoryError, or what torch, jax and TensorFlow raise instead of it."""
    return isinstance(error, MemoryError) or any(
        kind.__name__ in ("OutOfMemoryError", "ResourceExhaustedError")
        for kind in type(error).__mro__
    )


def _device_and_gpu_peak() -> tuple[str, float]:
    """The device really used and the peak of its memory in MB, asked of whoever was imported."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.max_memory_allocated() > 0:
        return torch.cuda.get_device_name(), torch.cuda.max_memory_allocated() / 1e6
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and tensorflow.config.list_physical_devices("GPU"):
        peak = tensorflow.config.experimental.get_memory_info("GPU:0")["peak"]
        if peak > 0:
            return "GPU:0", peak / 1e6
    return "cpu", 0.0


def die_with_parent() -> None:
    """Ask Linux to end this process with its supervisor: without one it would run without limits."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def work(folder: Path) -> None:
    """Do the run that ``folder/request.json`` asks for; every outcome but a kill leaves a result."""
    request = json.loads((folder / "request.json").read_text())
    os.chdir(folder)
    task = all_tasks()[request["task"]]
    progress.start(folder / "history.csv")
    seconds = {"import": 0.0, "fit": 0.0, "predict": 0.0}
    result: dict[str, Any] = {"status": "ok", "reason": ""}
    try:
        call = _call_function if request["command"] is None else _call_command
        problem = read_parts(Path(request["problem"]))
        output = check_output(task, problem, call(request, task, seconds))
        rows, columns = task.output.rows.split(".")[0], (task.output.columns or "").split(".")[0]
        write_matrix(
            folder / "output.h5ad",
            output,
            problem[rows].obs[[]],
            problem[columns].var[[]] if columns else None,
        )
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
        elif _is_out_of_memory(error):
            result.update(status="out_of_memory", reason=_reason(error))
        else:
            result.update(status="failed", reason=_reason(error))
    progress.finish()
    device, gpu_mb = _device_and_gpu_peak()
    result.update(seconds=seconds, device=device, peak_gpu_mb=gpu_mb, versions=_versions())
    write_json(folder / "result.json", result)


def _versions() -> dict[str, str]:
    """Versions of the packages that this run really imported."""
    from importlib.metadata import packages_distributions, version

    heads = {name.split(".")[0] for name in sys.modules}
    names = {d for head, d_s in packages_distributions().items() if head in heads for d in d_s}
    wanted = ("anndata", "harmonypy", "jax", "keras", "numpy", "scanpy", "scikit-learn", "scipy",
              "scvi-tools", "tensorflow", "tensorflow_cpu", "tensorflow-cpu", "torch")  # fmt: skip
    return {name: version(name) for name in sorted(names) if name in wanted}


if __name__ == "__main__":
    die_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    work(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    # Frameworks' threads and atexit hooks may hang or crash here; the result is written.
    os._exit(0)
