"""The report: one HTML file that opens offline, made from a finished benchmark."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from dgnbench.contract import CONTROLS
from dgnbench.results import Results
from dgnbench.stats import aggregate, not_separated

FIGURE_DPI = 110
MEANINGLESS = ("not_applicable", "declined")  # a column of nothing else is not shown


def _number(value: Any, digits: int = 3) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    return f"{value:.{digits}f}"


def _figures(results: Results, folder: Path) -> Iterator[dict[str, str]]:
    """Every ``reports/figures/<name>.py``: ``draw(results)`` yields (task, title, alt, Figure)."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"font.size": 9, "figure.facecolor": "white", "savefig.bbox": "tight"})
    for file in sorted(folder.glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"dgnbench_figure_{file.stem}", file)
        if spec is None or spec.loader is None:
            raise FileNotFoundError(file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for task, title, alt, figure in module.draw(results):
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", dpi=FIGURE_DPI)
            plt.close(figure)
            image = base64.b64encode(buffer.getvalue()).decode()
            yield {
                "task": task,
                "title": title,
                "alt": alt,
                "src": f"data:image/png;base64,{image}",
            }


def _heat(scaled: float) -> str:
    """A cell's colour: from orange (worst control) over white to blue (best control)."""
    if not math.isfinite(scaled):
        return ""
    share = min(max(scaled, 0.0), 1.0)
    hue, strength = (24, (0.5 - share) * 2) if share < 0.5 else (212, (share - 0.5) * 2)
    return f"background:hsl({hue} 75% 50% / {0.08 + 0.42 * strength:.2f})"


def _rank_word(role: str, uses_labels: bool) -> str:
    return f"{role}, uses labels" if uses_labels else role


def _task_table(results: Results, task: str) -> list[dict[str, Any]]:
    """One row a method: means over datasets and replicates, both policies, cost and coverage."""
    runs = results.runs[results.runs["task"] == task]
    skip = aggregate(results.scores, "skip").set_index(["task", "method"])
    floor = aggregate(results.scores, "floor").set_index(["task", "method"])
    rows = []
    for method in dict.fromkeys(runs["method"]):
        own = runs[runs["method"] == method]
        ok = own[own["status"] == "ok"]
        counts = own["status"].value_counts()
        key = (task, method)
        rows.append(
            {
                "method": method,
                "label": results.label(method),
                "role": own["role"].iloc[0],
                "kind": _rank_word(own["role"].iloc[0], _true(own["uses_labels"].iloc[0])),
                "uses_labels": _true(own["uses_labels"].iloc[0]),
                "control": own["role"].iloc[0] in CONTROLS,
                "status": ", ".join(f"{n} {status}" for status, n in counts.items()),
                "coverage": float(skip["coverage"].get(key, 0.0)),
                "skip": float(skip["mean"].get(key, math.nan)),
                "floor": float(floor["mean"].get(key, math.nan)),
                "seconds": float(ok["seconds_fit"].median()) if len(ok) else math.nan,
                "budget_used": float(ok["budget_used"].max()),
                "memory": float(ok["peak_rss_mb"].max()) if len(ok) else math.nan,
            }
        )
    return sorted(rows, key=lambda row: (row["control"], -_or_worst(row["floor"])))


def _true(value: Any) -> bool:
    return str(value).lower() == "true"


def _or_worst(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


def _dataset_table(results: Results, task: str, dataset: str) -> dict[str, Any]:
    """Every metric of every method on one dataset, raw and scaled, mean over replicates."""
    scores = results.scores
    here = scores[(scores["task"] == task) & (scores["dataset"] == dataset)]
    cards = results.metrics[task]
    applicable = [
        metric
        for metric in cards
        if not here.loc[here["metric"] == metric, "status"].isin(MEANINGLESS).all()
    ]
    rows = []
    for method, own in here.groupby("method", sort=False):
        cells = []
        for metric in applicable:
            one = own[own["metric"] == metric]
            value, scaled = one["value"].mean(), one["scaled"].mean()
            spread = one["value"].std() if len(one) > 1 else math.nan
            missing = one[one["status"] != "ok"]
            cells.append(
                {
                    "raw": _number(value),
                    "spread": _number(spread) if math.isfinite(spread) else "",
                    "scaled": _number(scaled, 2),
                    "sort": value if math.isfinite(value) else "",
                    "style": _heat(scaled),
                    "missing": "; ".join(
                        f"{status}: {reason}"
                        for status, reason in zip(missing["status"], missing["reason"], strict=True)
                    ),
                }
            )
        rows.append(
            {
                "label": results.label(str(method)),
                "role": own["role"].iloc[0],
                "kind": _rank_word(own["role"].iloc[0], _true(own["uses_labels"].iloc[0])),
                "control": own["role"].iloc[0] in CONTROLS,
                "cells": cells,
                "primary": float(own.loc[own["metric"] == results.primary(task), "scaled"].mean()),
            }
        )
    rows.sort(key=lambda row: (row["control"], -_or_worst(row["primary"])))
    return {
        "dataset": dataset,
        "label": results.dataset_label(dataset),
        "metrics": [{"id": metric, **cards[metric]} for metric in applicable],
        "rows": rows,
    }


def _in_words(results: Results, task: str, rows: list[dict[str, Any]]) -> list[str]:
    """What the numbers say about a task, and what they cannot say."""
    card = results.manifest["cards"]["tasks"][task]
    scored = [row for row in rows if not row["control"] and math.isfinite(row["floor"])]
    if not scored:
        return [f"No method has a score on {card['label'].lower()}."]
    said = []
    metric = results.metrics[task][results.primary(task)]["label"]
    for uses_labels, condition in ((False, ""), (True, ", of those that are given cell types")):
        ranked = [row for row in scored if row["uses_labels"] == uses_labels]
        if not ranked:
            continue
        best = max(ranked, key=lambda row: row["floor"])
        said.append(
            f"Highest mean scaled {metric}{condition}: "
            f"{best['label']} ({best['floor']:.2f}, a {best['role']})."
        )
        methods = [row for row in ranked if row["role"] == "method"]
        # Who is given cell types must beat every baseline, also those that are not.
        rivals = [row for row in scored if row["uses_labels"] <= uses_labels]
        said += _not_better(methods, [r for r in rows if r["role"] == "floor"], "floor")
        baselines = [row for row in rivals if row["role"] == "baseline"]
        said += _not_better(methods, baselines, "best non-deep baseline")
    datasets = len(results.datasets(task))
    replicates = results.runs["replicate"].nunique()
    if datasets < 5:
        said.append(
            f"With {datasets} dataset{'s' if datasets > 1 else ''} and {replicates} "
            f"replicate{'s' if replicates > 1 else ''} this is an observation, "
            "not evidence of a general difference."
        )
    by_skip = sorted(scored, key=lambda row: -_or_worst(row["skip"]))
    by_floor = sorted(scored, key=lambda row: -row["floor"])
    if [row["method"] for row in by_skip] != [row["method"] for row in by_floor]:
        said.append("The order depends on how missing scores are counted: see both columns.")
    return said


def _not_better(
    methods: list[dict[str, Any]], rivals: list[dict[str, Any]], what: str
) -> list[str]:
    """A sentence that names the methods that do not beat the best of their rivals."""
    rivals = [row for row in rivals if math.isfinite(row["floor"])]
    if not rivals:
        return []
    top = max(rivals, key=lambda row: row["floor"])
    behind = [row["label"] for row in methods if row["floor"] <= top["floor"]]
    if not behind:
        return []
    return [
        f"Not better than the {what}, {top['label']} ({top['floor']:.2f}): {', '.join(behind)}."
    ]


def _failures(results: Results) -> list[dict[str, Any]]:
    bad = results.runs[results.runs["status"] != "ok"]
    return [
        {
            "place": f"{row['task']} / {row['dataset']} / r{row['replicate']}",
            "label": results.label(row["method"]),
            **{key: row[key] for key in ("status", "reason", "stderr_tail")},
        }
        for row in bad.to_dict("records")
    ]


def render(results_dir: Path, target: Path, reports_dir: Path) -> None:
    """Write the report of a finished benchmark.

    Parameters
    ----------
    results_dir
        ``results/<benchmark>`` with runs.csv, scores.csv, manifest.json and the run folders.
    target
        The HTML file to write.
    reports_dir
        The folder with ``templates/`` and ``figures/``.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    results = Results.read(results_dir)
    templates = reports_dir / "templates"
    environment = Environment(
        loader=FileSystemLoader(templates), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["number"] = _number
    figures = list(_figures(results, reports_dir / "figures"))
    status = results.runs["status"].value_counts()
    tasks = []
    for task in results.tasks:
        rows = _task_table(results, task)
        tasks.append(
            {
                "id": task,
                **results.manifest["cards"]["tasks"][task],
                "primary_card": results.metrics[task][results.primary(task)],
                "rows": rows,
                "words": _in_words(results, task, rows),
                "datasets": [_dataset_table(results, task, d) for d in results.datasets(task)],
                "figures": [figure for figure in figures if figure["task"] == task],
                "metrics": results.metrics[task],
            }
        )
    failed = [s for s in status.index if s not in ("ok", "declined")]
    page = environment.get_template("report.html.j2").render(
        manifest=results.manifest,
        budget=results.manifest["config"]["budget"],
        config=json.dumps(results.manifest["config"], indent=1),
        tasks=tasks,
        counts={
            "ok": int(status.get("ok", 0)),
            "declined": int(status.get("declined", 0)),
            "failed": int(status[failed].sum()),
            "all": len(results.runs),
        },
        failures=_failures(results),
        failed_metrics=_failed_metrics(results.scores),
        not_separated=not_separated(results.scores),
        general=[figure for figure in figures if figure["task"] == ""],
        css=(templates / "style.css").read_text(),
        js=(templates / "sort.js").read_text(),
    )
    target.write_text(page)


def _failed_metrics(scores: pd.DataFrame) -> list[dict[str, str]]:
    bad = scores[(scores["status"] == "failed") & scores["reason"].str.startswith("metric ")]
    columns = ["task", "dataset", "method", "metric", "reason"]
    return [{name: str(row[name]) for name in columns} for row in bad.to_dict("records")]
