"""From the runs' own files to the benchmark's three: runs.csv, scores.csv, manifest.json."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from dgnbench import __version__
from dgnbench.plan import Plan, Run, as_json, variant_of
from dgnbench.runner.supervise import git_commit
from dgnbench.scoring import described
from dgnbench.stats import scaled
from dgnbench.storage import sha256, whole, write_json
from dgnbench.tasks import all_tasks

Group = tuple[str, str, int]  # task, dataset, replicate

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


def collect(
    plan: Plan, prepared: Path, results: Path, *, why_unfinished: Mapping[Group, str] | None = None
) -> None:
    """Write ``runs.csv``, ``scores.csv`` (with scaled values) and ``manifest.json``.

    Parameters
    ----------
    plan
        The benchmark; every run of it must have its ``run.json``, every group its ``scores.csv``.
    prepared
        The folder of prepared datasets, for their checksums.
    results
        ``results/<benchmark>``.
    why_unfinished
        Groups that could not be finished, with the reason: their runs and scores are rows, too.
    """
    runs: list[dict[str, Any]] = []
    scores: list[pd.DataFrame] = []
    for group in plan.groups:
        task, dataset, replicate = group
        folder = folder_of(results, group)
        reason = (why_unfinished or {}).get(group)
        if reason is None:
            scores.append(pd.read_csv(folder / "scores.csv"))
        else:
            scores.append(_missing_scores(plan, group, reason))
        for run in plan.runs_of(task, dataset, replicate):
            file = folder / run.method / "run.json"
            if reason is not None and not file.is_file():
                record = _missing_run(plan, run, reason)
            else:
                record = json.loads(file.read_text())
            runs.append(
                {
                    **{column: record.get(column, "") for column in RUN_COLUMNS},
                    **{"task": task, "dataset": dataset, "replicate": replicate},
                    "params": json.dumps(record["params"], sort_keys=True),
                }
            )
    table = pd.concat(scores, ignore_index=True)
    table["scaled"] = scaled(table)
    table["reason"] = table["reason"].fillna("")
    results.mkdir(parents=True, exist_ok=True)
    with whole(results / "runs.csv") as partial:
        pd.DataFrame(runs, columns=list(RUN_COLUMNS)).to_csv(partial, index=False)
    with whole(results / "scores.csv") as partial:
        table[list(SCORE_COLUMNS)].to_csv(partial, index=False)
    write_json(results / "manifest.json", manifest(plan, prepared))


def folder_of(results: Path, group: Group) -> Path:
    """Where the runs of a (task, dataset, replicate) lie."""
    task, dataset, replicate = group
    return results / task / dataset / f"r{replicate}"


def unfinished(plan: Plan, results: Path, prepared: Path, logs: Path) -> dict[Group, str]:
    """The groups without scores, each with the stage that failed and the last line of its log."""
    found = {}
    for group in plan.groups:
        folder = folder_of(results, group)
        if (folder / "scores.csv").is_file():
            continue
        file = prepared / Path(plan.prepared_of(group[1])).name
        fetched = [Path(source) for source in plan.fetched_of(group[1])]
        own = logs / results.name / folder.relative_to(results)
        stages = {
            "fetch": (fetched, logs / "fetch" / f"{plan.dataset(group[1]).id}.log"),
            "prepare": ([file], logs / "prepare" / f"{file.name}.log"),
            "split": ([folder / "split.json"], own / "split.log"),
            "score": ([folder / "scores.csv"], own / "score.log"),
        }
        stage, log = next(
            (name, log)
            for name, (outputs, log) in stages.items()
            if not all(output.is_file() for output in outputs)
        )
        said = log.read_text(errors="replace").strip() if log.is_file() else ""
        last = said.splitlines()[-1] if said else "the workflow did not get here"
        found[group] = f"no {stage}: {last}"
    return found


def _missing_run(plan: Plan, run: Run, reason: str) -> dict[str, Any]:
    card = plan.method(run.method)
    return {
        "method": run.method,
        "label": card.label,
        "role": card.role,
        "uses_labels": card.uses_labels,
        "status": "failed",
        "reason": reason,
        "params": plan.params(run.method),
        "seed": plan.seed + run.replicate,
    }


def _missing_scores(plan: Plan, group: Group, reason: str) -> pd.DataFrame:
    task, dataset, replicate = group
    return pd.DataFrame(
        [
            {
                **{"task": task, "dataset": dataset, "replicate": replicate},
                **{"method": run.method, "role": plan.method(run.method).role},
                **{"uses_labels": plan.method(run.method).uses_labels},
                **described(metric, all_tasks()[task].primary),
                **{"value": float("nan"), "status": "failed", "reason": reason, "seconds": 0.0},
            }
            for run in plan.runs_of(*group)
            for family in plan.house.metrics_of(task).values()
            for metric in family.metrics.values()
        ]
    )


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
        "checksums": {name: sha256(file) for name, file in files.items() if file.is_file()},
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
