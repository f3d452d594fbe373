"""From the runs' own files to the benchmark's three: runs.csv, scores.csv, manifest.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dgnbench.plan import Plan, Run, epochs_of
from dgnbench.provenance import MANIFEST, Group, folder_of, manifest
from dgnbench.runner import attempts
from dgnbench.scoring import described
from dgnbench.stats import scaled
from dgnbench.storage import whole, write_json
from dgnbench.tasks import all_tasks

RUN_COLUMNS = (
    "task", "dataset", "replicate", "method", "role", "status", "reason", "seconds_import",
    "seconds_fit", "seconds_predict", "seconds_total", "peak_rss_mb", "peak_gpu_mb", "device",
    "wanted_gpu", "gpu_utilisation", "attempts", "rounds", "budget_used", "parameters",
    "seed", "output_sha256", "uses_labels", "label", "params", "stderr_tail",
)  # fmt: skip
SCORE_COLUMNS = (
    "task", "dataset", "replicate", "method", "role", "metric", "group", "value", "scaled",
    "status", "reason", "direction", "primary", "uses_labels", "seconds",
    "note",
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
    records: list[dict[str, Any]] = []
    scores: list[pd.DataFrame] = []
    for group in plan.groups:
        task, dataset, replicate = group
        folder = folder_of(results, group)
        reason = (why_unfinished or {}).get(group)
        if reason is None:
            scores.append(pd.read_csv(folder / "scores.csv"))
        else:
            scores += _scores_there_are(plan, group, folder)
            scores.append(_missing_scores(plan, group, folder, reason))
        for run in plan.runs_of(task, dataset, replicate):
            file = folder / run.method / "run.json"
            if reason is not None and not file.is_file():
                record = _missing_run(plan, run, reason, attempts.read(folder / run.method))
            else:
                record = json.loads(file.read_text())
                records.append({**record, "dataset": dataset, "replicate": replicate})
            runs.append(
                {
                    **{column: record.get(column, "") for column in RUN_COLUMNS},
                    **{"task": task, "dataset": dataset, "replicate": replicate},
                    "params": json.dumps(record["params"], sort_keys=True),
                    "budget_used": _budget_used(plan, record),
                }
            )
    table = pd.concat(scores, ignore_index=True)
    table["scaled"] = scaled(table)
    for column in ("reason", "note"):
        table[column] = table[column].fillna("")
    results.mkdir(parents=True, exist_ok=True)
    with whole(results / "runs.csv") as partial:
        pd.DataFrame(runs, columns=list(RUN_COLUMNS)).to_csv(partial, index=False)
    with whole(results / "scores.csv") as partial:
        table[list(SCORE_COLUMNS)].to_csv(partial, index=False)
    told = manifest(plan, results, prepared, records, why_unfinished or {})
    write_json(results / MANIFEST, told)


def _budget_used(plan: Plan, record: Mapping[str, Any]) -> float | str:
    """The share of its budget that a run used, empty where there is none or it does not tell.

    Of a budget of epochs only methods that have one of its parameters and log their training tell.
    """
    if record["status"] != "ok" or not plan.budget:
        return ""
    if "minutes" in plan.budget:
        used = float(record["seconds_fit"] + record["seconds_predict"])
        return round(used / (60 * plan.budget["minutes"]), 4)
    told = record["rounds"] and epochs_of(plan.method(record["method"]))
    return round(int(record["rounds"]) / plan.budget["epochs"], 4) if told else ""


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
        untold = [run.method for run in plan.runs_of(*group)
                  if not (folder / run.method / "run.json").is_file()]  # fmt: skip
        if stage == "score" and untold:
            last = f"no record of {', '.join(untold)}; the next start makes them"
        found[group] = f"no {stage}: {last}"
    return found


def _missing_run(
    plan: Plan, run: Run, reason: str, tries: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The row of a run without a record: one that was begun is lost, with its last word."""
    card = plan.method(run.method)
    return {
        "method": run.method,
        "label": card.label,
        "role": card.role,
        "uses_labels": card.uses_labels,
        "status": "lost" if tries else "failed",
        "reason": tries[-1]["reason"] if tries else reason,
        "attempts": len(tries),
        "params": plan.params(run.method),
        "seed": plan.seed + run.replicate,
    }


def _scored(folder: Path, run: Run) -> bool:
    """Whether a run has a record and the scores that belong to it."""
    own = folder / run.method
    return (own / "run.json").is_file() and (own / "scores.csv").is_file()


def _scores_there_are(plan: Plan, group: Group, folder: Path) -> list[pd.DataFrame]:
    runs = [run for run in plan.runs_of(*group) if _scored(folder, run)]
    return [pd.read_csv(folder / run.method / "scores.csv") for run in runs]


def _missing_scores(plan: Plan, group: Group, folder: Path, reason: str) -> pd.DataFrame:
    task, dataset, replicate = group
    return pd.DataFrame(
        [
            {
                **{"task": task, "dataset": dataset, "replicate": replicate},
                **{"method": run.method, "role": plan.method(run.method).role},
                **{"uses_labels": plan.method(run.method).uses_labels},
                **described(metric, all_tasks()[task].primary),
                **{
                    "value": float("nan"),
                    "status": "failed",
                    "reason": reason,
                    "note": "",
                    "seconds": 0.0,
                },
            }
            for run in plan.runs_of(*group)
            if not _scored(folder, run)
            for family in plan.house.metrics_of(task).values()
            for metric in family.metrics.values()
        ]
    )
