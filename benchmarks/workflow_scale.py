"""How planning, an idle restart, the tables and the check of them grow with the number of runs.

    python benchmarks/workflow_scale.py --runs 100 1000 10000

Makes a benchmark of stub methods (that sleep 0 s) and stub datasets in a temporary folder and measures,
each in a process of its own, wall time, CPU time and peak resident memory of:

plan      ``snakemake --dry-run`` before anything is there: every job is to be done
one job   ``snakemake --dry-run`` for one run: what a cluster's job does again before its work
restart   ``snakemake`` when everything is done: it finds that out and says the summary
verify    ``dgnbench verify``: every file is read, its checksum compared
collect   ``dgnbench collect``: the tables, and the manifest with every file's checksum

The finished results are not made by 10,000 processes. Their files are written here, as `fit` and `score`
write them, and ``snakemake --touch`` then books every job as done, with the parameters, inputs and code
that Snakemake compares at the next start. What the jobs themselves cost is no part of the figures.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dgnbench.cards import read_house
from dgnbench.contract import CONTROLS
from dgnbench.plan import Plan, make_plan
from dgnbench.provenance import folder_of, seal
from dgnbench.scoring import COLUMNS, described
from dgnbench.storage import sha256, write_json
from dgnbench.tasks import all_tasks

ROOT = Path(__file__).resolve().parents[1]
TASK = "denoising"
METHODS = 50  # of which are controls what the task has; these are scored together
SHAPES = {100: (1, 2), 1_000: (10, 2), 10_000: (20, 10)}  # datasets, replicates
SNAKEMAKE = [
    sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2",
    "--workflow-profile", str(ROOT / "profiles" / "default"), "--configfile", "config.yaml",
]  # fmt: skip
DGNBENCH = [sys.executable, "-m", "dgnbench"]
COLLECT = [*DGNBENCH, "collect", "results/stubs/config.json"]
LIMITS = {
    "plan": 60.0,
    "restart": 60.0,
}  # seconds of CPU at 10,000 runs: others may use the machine
MEMORY_GIB = 2.0


@dataclass(frozen=True)
class Cost:
    """What a command took, with all processes that it started; memory is that of the largest."""

    wall: float
    cpu: float
    peak_gib: float


def measured(command: list[str], folder: Path) -> Cost:
    """Run a command to its end; a failure shows what it printed."""
    with (folder / "said.txt").open("w+") as said:
        begin = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        said.seek(0)
        if status:
            raise SystemExit(f"{' '.join(command)}\nended with status {status}:\n{said.read()}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20)


def stubs(folder: Path, datasets: int, replicates: int) -> dict[str, Any]:
    """Cards and code of the stubs, and the config that asks for all of them."""
    house = read_house()
    controls = sum(
        card.role in CONTROLS and TASK in card.tasks for card in house.methods.cards.values()
    )
    card = {
        "label": "Stub", "summary": "Does nothing.", "reference": "none: a stub", "role": "method",
        "uses_labels": False, "tasks": [TASK], "env": "core", "params": {"rate": 0.1}, "smoke": {},
        "resources": {"gpu": 0, "mem_mb": 500, "runtime": 1},
    }  # fmt: skip
    code = f"def {TASK}(counts, *, seed, rate):\n    return counts.X\n"
    methods = [f"stub_{i:03}" for i in range(METHODS - controls)]
    for name in methods:
        (folder / "methods" / name).mkdir(parents=True)
        (folder / "methods" / name / "method.yaml").write_text(yaml.safe_dump(card))
        (folder / "methods" / name / "method.py").write_text(code)
    card = {
        "label": "Stub", "summary": "Stands for a dataset.", "kind": "simulated", "organism": "none",
        "source": "made here", "licence": "MIT", "reference": "none: a stub", "has": ["rna"],
        "modalities": ["rna"], "params": {"part": 0}, "expected": {},
    }  # fmt: skip
    (folder / "datasets" / "nothing").mkdir(parents=True)
    (folder / "datasets" / "nothing" / "dataset.yaml").write_text(yaml.safe_dump(card))
    (folder / "datasets" / "nothing" / "dataset.py").write_text("def load(files, *, part): ...\n")
    config = {
        "benchmark": "stubs",
        "component_paths": [str(folder)],
        "tasks": [TASK],
        "datasets": {f"nothing@part={i}": None for i in range(datasets)},
        "methods": methods,
        "replicates": replicates,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return config


def finish(folder: Path, plan: Plan) -> None:
    """Write what a finished benchmark has, and have Snakemake book it."""
    results = folder / "results" / plan.benchmark
    metrics = [
        described(metric, all_tasks()[TASK].primary)
        for family in plan.house.metrics_of(TASK).values()
        for metric in family.metrics.values()
    ]
    for dataset in plan.datasets:
        path = folder / plan.prepared_of(dataset)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"counts" * 1000)
    for group in plan.groups:
        place = folder_of(results, group)
        digests = {}
        for name in ("problem", "solution"):
            (place / name).mkdir(parents=True)
            (place / name / "counts.h5ad").write_bytes(b"counts" * 1000)
            digests[f"{name}/counts.h5ad"] = sha256(place / name / "counts.h5ad")
        write_json(place / "split.json", {"task": TASK, "seed": group[2], "files": digests})
        rows = [
            _finish_run(plan, place, group, run.method, metrics) for run in plan.runs_of(*group)
        ]
        (place / "scores.csv").write_text(_table([row for own in rows for row in own]))
    write_json(results / "config.json", plan.config)
    measured(COLLECT, folder)
    (results / "report.html").write_text("<html></html>")
    seal(results / "report.html", results / "manifest.json")
    measured([*SNAKEMAKE, "--touch"], folder)


def _finish_run(
    plan: Plan, place: Path, group: tuple[str, str, int], method: str, metrics: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The files of a run that is ok, and its scores."""
    (place / method).mkdir()
    output = place / method / "output.h5ad"
    output.write_bytes(b"output" * 100)
    card = plan.method(method)
    record = {
        "task": TASK, "method": method, "label": card.label, "role": card.role, "uses_labels": False,
        "status": "ok", "reason": "", "stderr_tail": "", "seconds_import": 0.0, "seconds_fit": 0.0,
        "seconds_predict": 0.0, "seconds_total": 0.0, "peak_rss_mb": 1.0, "peak_gpu_mb": 0.0,
        "device": "cpu", "seed": group[2], "params": plan.params(method),
        "output_sha256": sha256(output), "versions": {}, "git_commit": "",
    }  # fmt: skip
    write_json(place / method / "run.json", record)
    task, dataset, replicate = group
    rows = [
        {
            **{"task": task, "dataset": dataset, "replicate": replicate, "method": method},
            **{"role": card.role, "uses_labels": False, **metric, "value": 0.5, "status": "ok"},
            **{"reason": "", "seconds": 0.0, "score_key": "0123456789abcdef"},
        }
        for metric in metrics
    ]
    (place / method / "scores.csv").write_text(_table(rows))
    return rows


def _table(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def main() -> None:
    """Print one line a number of runs and stage; end with 1 where 10,000 runs break a limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, nargs="+", choices=list(SHAPES), default=list(SHAPES))
    given = parser.parse_args()
    os.environ["DGNBENCH_ROOT"] = str(ROOT)
    broken = []
    print(
        f"{'runs':>6} {'stage':<8} {'wall s':>7} {'CPU s':>7} {'ms CPU a run':>13} {'peak GiB':>9}"
    )
    for runs in given.runs:
        with tempfile.TemporaryDirectory(prefix="dgnbench-scale-") as name:
            folder = Path(name)
            plan = make_plan(stubs(folder, *SHAPES[runs]))
            assert len(plan.runs) == runs
            costs = {"plan": measured([*SNAKEMAKE, "--dry-run"], folder)}
            run = f"results/stubs/{TASK}/{plan.datasets[0]}/r0/stub_000/run.json"
            costs["one job"] = measured([*SNAKEMAKE, "--dry-run", "--", run], folder)
            finish(folder, plan)
            before = times(folder)
            costs["restart"] = measured(SNAKEMAKE, folder)
            if times(folder) != before:
                raise SystemExit("the second start did something; wanted nothing to be done")
            costs["verify"] = measured([*DGNBENCH, "verify", "results/stubs"], folder)
            costs["collect"] = measured(COLLECT, folder)
        for stage, cost in costs.items():
            print(
                f"{runs:6} {stage:<8} {cost.wall:7.1f} {cost.cpu:7.1f} "
                f"{1000 * cost.cpu / runs:13.2f} {cost.peak_gib:9.2f}",
                flush=True,
            )
            if runs == 10_000 and stage in LIMITS:
                broken += [f"{stage} took {cost.cpu:.0f} s"] * (cost.cpu > LIMITS[stage])
                broken += [f"{stage} took {cost.peak_gib:.1f} GiB"] * (cost.peak_gib > MEMORY_GIB)
    if broken:
        raise SystemExit("too much: " + ", ".join(broken))


def times(folder: Path) -> dict[str, int]:
    """When each result was last written."""
    files = (folder / "results").rglob("*")
    return {str(file): file.stat().st_mtime_ns for file in files if file.is_file()}


if __name__ == "__main__":
    main()
