"""The report: one HTML file that opens offline, made from a finished benchmark."""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dgnbench.pictures import Picture, pictures
from dgnbench.report import tables, words
from dgnbench.report.facts import Facts
from dgnbench.results import Results
from dgnbench.stats.bootstrap import MIN_DATASETS
from dgnbench.stats.noise import REDUNDANT

MANY_DATASETS = 3  # of a task: with more, their tables are folded


def render(results_dir: Path, target: Path, reports_dir: Path) -> None:
    """Write the report of a finished benchmark.

    Parameters
    ----------
    results_dir
        ``results/<benchmark>`` with runs.csv, scores.csv, manifest.json and the run folders; figures
        go to its ``figures``.
    target
        The HTML file to write.
    reports_dir
        The folder with ``templates/`` and ``figures/``.
    """
    results = Results.read(results_dir)
    facts = Facts(results)
    drawn, broken = pictures(results, reports_dir / "figures", results_dir / "figures")
    templates = reports_dir / "templates"
    page = _environment(templates).get_template("report.html.j2")
    target.write_text(
        page.render(
            **_page(facts, drawn),
            broken_figures=broken,
            css=(templates / "style.css").read_text(),
            js=(templates / "page.js").read_text(),
        )
    )


def _environment(templates: Path) -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(templates), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "number": words.number,
        "probability": words.probability,
        "significant": words.significant,
        "interval": words.interval,
        "heat": heat,
        "sortable": sortable,
        "reference": reference,
        "pair": lambda one, *names: tuple(one[name] for name in names),
    }
    return environment


def heat(scaled: Any) -> str:
    """A cell's colour: from orange (worst control) over white to blue (best control)."""
    if sortable(scaled) == "":
        return ""
    share = min(max(float(scaled), 0.0), 1.0)
    hue, strength = (24, (0.5 - share) * 2) if share < 0.5 else (212, (share - 0.5) * 2)
    return f"background:hsl({hue} 75% 50% / {0.08 + 0.42 * strength:.2f})"


def sortable(value: Any) -> Any:
    """A number, or nothing where there is none: what a column is sorted by."""
    if value is None or not math.isfinite(float(value)):
        return ""
    return float(f"{float(value):.6g}")


def reference(text: str) -> Any:
    """A DOI or arXiv id as a link."""
    from markupsafe import Markup

    if text.startswith("10."):
        return Markup('<a href="https://doi.org/{0}">{0}</a>').format(text)
    if text.startswith("arXiv:"):
        return Markup('<a href="https://arxiv.org/abs/{0}">{1}</a>').format(text[6:], text)
    return text


def _page(facts: Facts, drawn: Sequence[Picture]) -> dict[str, Any]:
    """What the template is given."""
    results = facts.results
    manifest, runs = results.manifest, results.runs
    status = runs["status"].value_counts()
    failed = [s for s in status.index if s not in ("ok", "declined")]
    covered, why = tables.coverage(facts), {}
    for i, row in enumerate(covered["rows"]):
        for j, cell in enumerate(row["cells"]):
            if cell is not None and cell["what"]:
                cell["key"] = f"{i}-{j}"
                why[cell["key"]] = cell.pop("what")
    board = tables.board(facts)
    tasks = [_task(facts, task, drawn) for task in results.tasks]
    return {
        "manifest": manifest,
        "config": json.dumps(manifest["config"], indent=1),
        "budget": manifest["config"]["budget"],
        "datasets": {d: results.dataset_label(d) for d in dict.fromkeys(runs["dataset"])},
        "counts": {
            "ok": int(status.get("ok", 0)),
            "declined": int(status.get("declined", 0)),
            "failed": int(status[failed].sum()),
            "all": len(runs),
        },
        "board": board,
        "leaders": _leaders(tasks),
        "tasks": tasks,
        "coverage": covered,
        "failed_metrics": tables.failed_metrics(facts),
        "sampled_metrics": tables.sampled_metrics(facts),
        "left_out": [
            {
                "label": results.metrics[m["task"]][m["metric"]]["label"],
                "task": results.task_label(m["task"]),
                "dataset": results.dataset_label(m["dataset"]),
                "reason": m["reason"],
            }
            for m in facts.left_out.to_dict("records")
        ],
        "general": _of(drawn, "", ""),
        "has_gpu": bool((runs["peak_gpu_mb"] > 0).any()),
        "has_parameters": bool(runs["parameters"].notna().any()),
        "open_datasets": all(len(task["datasets"]) <= MANY_DATASETS for task in tasks),
        "min_datasets": MIN_DATASETS,
        "redundant_from": REDUNDANT,
        "facts": _embedded(
            {
                "board": board,
                "tasks": {
                    task["id"]: {
                        "datasets": [table["id"] for table in task["datasets"]],
                        "direction": task["primary_card"]["direction"],
                    }
                    for task in tasks
                },
                "datasets": {d: results.dataset_label(d) for d in dict.fromkeys(runs["dataset"])},
                "methods": {
                    row["method"]: {
                        "label": row["label"],
                        "control": row["control"],
                        "labels": row["uses_labels"],
                    }
                    for row in _leaders(tasks)
                },
                "pairs": {task: tables.pairs(facts, task) for task in results.tasks},
                "replicates": {task: tables.replicates(facts, task) for task in results.tasks},
                "why": why,
                "packed": {
                    name: base64.b64encode(
                        gzip.compress((results.folder / f"{name}.csv").read_bytes(), mtime=0)
                    ).decode()
                    for name in ("scores", "runs")
                },
            }
        ),
    }


def _of(drawn: Sequence[Picture], task: str, dataset: str) -> list[Picture]:
    return [picture for picture in drawn if (picture.task, picture.dataset) == (task, dataset)]


def _embedded(data: Mapping[str, Any]) -> str:
    """JSON for a script element, which must not end early."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _leaders(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every method once, in the order of the first task that it takes part in."""
    found: dict[str, dict[str, Any]] = {}
    for task in tasks:
        for row in task["rows"]:
            found.setdefault(row["method"], row)
    return sorted(found.values(), key=lambda row: row["control"])


def _task(facts: Facts, task: str, drawn: Sequence[Picture]) -> dict[str, Any]:
    """What the template is given of one task."""
    results = facts.results
    redundant = facts.correlations[facts.correlations["redundant"].astype(bool)]
    rows = tables.ranking(facts, task)
    label = {metric: card["label"] for metric, card in results.metrics[task].items()}
    return {
        "id": task,
        **results.manifest["cards"]["tasks"][task],
        "primary_card": results.metrics[task][results.primary(task)],
        "metrics": results.metrics[task],
        "rows": rows,
        "some_missing": any(row["coverage"] != 1 for row in rows if not row["control"]),
        "answers": words.answers(facts, task),
        "figures": _of(drawn, task, ""),
        "datasets": [
            {**tables.scores_of(facts, task, dataset), "figures": _of(drawn, task, dataset)}
            for dataset in results.datasets(task)
        ],
        "noise": [
            {**row, "label": results.dataset_label(row["dataset"])}
            for row in facts.of_task(facts.noise, task)
        ],
        "halves": facts.of_task(facts.halves, task),
        "variance": facts.of_task(facts.variance, task),
        "redundant": [
            {**row, "metric": label[row["metric"]], "other": label[row["other"]]}
            for row in facts.of_task(redundant, task)
        ],
        "tuning": [
            {**row, "label": results.manifest["cards"]["methods"].get(row["method"], {}).get("label",
             row["method"])}
            for row in facts.of_task(facts.tuning, task)
        ],
    }  # fmt: skip
