"""From the runs' own files to the benchmark's three: runs.csv, scores.csv, manifest.json."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from dgnbench import __version__
from dgnbench.plan import Plan, as_json, variant_of
from dgnbench.runner.supervise import git_commit
from dgnbench.stats import scaled
from dgnbench.storage import sha256, whole, write_json
from dgnbench.tasks import all_tasks

RUN_COLUMNS = (
    "task", "dataset", "replicate", "method", "role", "status", "reason", "seconds_import",
    "seconds_fit", "seconds_predict", "seconds_total", "peak_rss_mb", "peak_gpu_mb", "device",
    "seed", "output_sha256", "uses_labels", "label", "params", "stderr_tail",
)  # fmt: skip
SCORE_COLUMNS = (
    "task", "dataset", "replicate", "method", "role", "metric", "group", "value", "scaled",
    "status", "reason", "direction", "primary", "uses_labels", "seconds",
)  # fmt: skip
PACKAGES = (
    "anndata", "harmonypy", "jax", "keras", "numpy", "pandas", "scanpy", "scib-metrics",
    "scikit-learn", "scipy", "scvi-tools", "snakemake", "tensorflow-cpu", "torch", "umap-learn",
)  # fmt: skip


def collect(plan: Plan, groups: Sequence[Path], prepared: Path, results: Path) -> None:
    """Write ``runs.csv``, ``scores.csv`` (with scaled values) and ``manifest.json``.

    Parameters
    ----------
    plan
        The benchmark; every run of it must have its ``run.json``.
    groups
        The folders of the (task, dataset, replicate) groups, in the plan's order.
    prepared
        The folder of prepared datasets, for their checksums.
    results
        ``results/<benchmark>``.
    """
    runs: list[dict[str, Any]] = []
    for (task, dataset, replicate), folder in zip(plan.groups, groups, strict=True):
        for run in plan.runs_of(task, dataset, replicate):
            record = json.loads((folder / run.method / "run.json").read_text())
            runs.append(
                {
                    **{column: record.get(column, "") for column in RUN_COLUMNS},
                    **{"task": task, "dataset": dataset, "replicate": replicate},
                    "params": json.dumps(record["params"], sort_keys=True),
                }
            )
    scores = pd.concat([pd.read_csv(folder / "scores.csv") for folder in groups])
    scores["scaled"] = scaled(scores)
    scores["reason"] = scores["reason"].fillna("")
    results.mkdir(parents=True, exist_ok=True)
    with whole(results / "runs.csv") as partial:
        pd.DataFrame(runs, columns=list(RUN_COLUMNS)).to_csv(partial, index=False)
    with whole(results / "scores.csv") as partial:
        scores[list(SCORE_COLUMNS)].to_csv(partial, index=False)
    write_json(results / "manifest.json", manifest(plan, prepared))


def manifest(plan: Plan, prepared: Path) -> dict[str, Any]:
    """Provenance: versions, machine, resolved config, checksums and the cards of what took part."""
    house = plan.house
    datasets = {name: plan.dataset(name) for name in plan.datasets}
    files = {name: prepared / f"{name}.{card.suffix}" for name, card in datasets.items()}
    return {
        "benchmark": plan.benchmark,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "dgnbench": __version__,
        "git_commit": git_commit(Path(__file__).resolve().parents[2]),
        "python": platform.python_version(),
        "versions": {name: v for name in PACKAGES if (v := _version(name))},
        "machine": machine(),
        "config": json.loads(as_json(plan)),
        "seeds": [plan.seed + r for r in range(plan.replicates)],
        "checksums": {name: sha256(file) for name, file in files.items()},
        "cards": {
            "tasks": {
                task: {
                    "label": all_tasks()[task].label,
                    "summary": all_tasks()[task].summary,
                    "primary": all_tasks()[task].primary,
                }
                for task in plan.tasks
            },
            "methods": {
                name: {
                    **_public(plan.method(name)),
                    "label": plan.method(name).label
                    + "".join(f" ({k}={v})" for k, v in variant_of(name).items()),
                }
                for name in plan.methods
            },
            "datasets": {
                name: {**_public(card), "params": {**card.params, **variant_of(name)}}
                for name, card in datasets.items()
            },
            "metrics": {
                family: _public(house.metrics[family])
                for family in house.metrics
                if house.metrics[family].task in plan.tasks
            },
        },
    }


def _public(card: Any) -> dict[str, Any]:
    """A card without its places on this machine."""
    hidden = ("folder", "path")
    return {key: value for key, value in asdict(card).items() if key not in hidden}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def machine() -> dict[str, Any]:
    """Processor, cores, memory, platform and GPU of the machine that collects."""
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
