"""The tables of the page, as plain values that the template writes down."""

from __future__ import annotations

import math
from typing import Any

from dgnbench.contract import CONTROLS, Estimate
from dgnbench.report.facts import Facts

MEANINGLESS = ("not_applicable", "declined")  # a column of nothing else is not shown
FINE = "ok"


def finite(value: Any) -> float | None:
    """A number, or None where there is none: JSON has no NaN."""
    if value is None or isinstance(value, str) or not math.isfinite(value):
        return None
    return round(float(value), 6)


def board(facts: Facts) -> dict[str, Any]:
    """Every method on every task, over all datasets and on each: what the leaderboard shows.

    Returns
    -------
    By task, then method: ``all`` with mean, lo, hi, skip, rank, rank_lo, rank_hi, p_best, coverage;
    ``datasets`` with, by dataset, raw, raw_lo, raw_hi, scaled, lo, hi of the primary metric.
    """
    results = facts.results
    found: dict[str, Any] = {}
    for task in results.tasks:
        rows = [*facts.of_task(facts.standings, task), *facts.of_task(facts.controls, task)]
        found[task] = {
            row["method"]: {
                "all": {
                    name: finite(row.get(name))
                    for name in ("mean", "lo", "hi", "skip", "rank", "rank_lo", "rank_hi", "p_best",
                                 "coverage")
                },
                "datasets": {
                    dataset: cell
                    for dataset in results.datasets(task)
                    if (cell := _on_dataset(facts, task, dataset, row["method"])) is not None
                },
            }
            for row in rows
        }  # fmt: skip
    return found


def _on_dataset(facts: Facts, task: str, dataset: str, method: str) -> dict[str, Any] | None:
    row = facts.by_dataset.get((task, dataset, facts.results.primary(task), method))
    if row is None:
        return None
    return {
        "raw": finite(row["value"]), "raw_lo": finite(row["value_lo"]),
        "raw_hi": finite(row["value_hi"]), "scaled": finite(row["scaled"]),
        "lo": finite(row["scaled_lo"]), "hi": finite(row["scaled_hi"]),
    }  # fmt: skip


def ranking(facts: Facts, task: str) -> list[dict[str, Any]]:
    """One row a method: means under both policies, standing, cost and coverage; controls last."""
    results = facts.results
    runs = results.runs[results.runs["task"] == task]
    standing = {row["method"]: row for row in facts.of_task(facts.standings, task)}
    controls = {row["method"]: row for row in facts.of_task(facts.controls, task)}
    rows = []
    for method in dict.fromkeys(runs["method"]):
        own = runs[runs["method"] == method]
        done = own[own["status"] == FINE]
        row = standing.get(method) or controls.get(method) or {}
        rows.append(
            {
                **{name: row.get(name) for name in
                   ("mean", "lo", "hi", "skip", "rank", "rank_lo", "rank_hi", "p_best", "coverage",
                    "verdict", "difference", "difference_lo", "difference_hi", "effect", "p_holm",
                    "depends_on_policy", "below_floor")},
                "method": method,
                "label": results.label(method),
                "kind": results.kind(method),
                "role": results.role(method),
                "uses_labels": results.uses_labels(method),
                "control": results.role(method) in CONTROLS,
                "baseline": results.label(row["baseline"])
                if isinstance(row.get("baseline"), str) else "",
                "seconds": done["seconds_fit"].add(done["seconds_predict"]).median(),
                "memory": done["peak_rss_mb"].max(),
                "gpu_memory": done["peak_gpu_mb"].max(),
                "parameters": done["parameters"].max(),
                "budget_used": done["budget_used"].max(),
            }
        )  # fmt: skip
    rows.sort(key=lambda row: (row["control"], row["uses_labels"], -_or_worst(row["mean"])))
    return rows


def _or_worst(value: Any) -> float:
    return value if value is not None and math.isfinite(value) else -math.inf


def scores_of(facts: Facts, task: str, dataset: str) -> dict[str, Any]:
    """Every metric of every method on one dataset: raw, scaled, spread over replicates."""
    results, cards = facts.results, facts.results.metrics[task]
    scores = results.scores
    here = scores[(scores["task"] == task) & (scores["dataset"] == dataset)]
    applicable = [
        metric
        for metric in cards
        if not here.loc[here["metric"] == metric, "status"].isin(MEANINGLESS).all()
    ]
    useless = facts.left_out
    useless = useless[(useless["task"] == task) & (useless["dataset"] == dataset)]
    reasons = dict(zip(useless["metric"], useless["reason"], strict=True))
    missing = here[here["status"] != FINE]
    why: dict[tuple[str, str], list[str]] = {}
    for row in missing.itertuples():
        why.setdefault((str(row.method), str(row.metric)), []).append(f"{row.status}: {row.reason}")
    rows = []
    for method in dict.fromkeys(here["method"]):
        cells = []
        for metric in applicable:
            found = facts.by_dataset[task, dataset, metric, method]
            cells.append(
                {
                    "raw": found["value"],
                    "sd": found["sd"],
                    "scaled": found["scaled"],
                    "missing": "; ".join(dict.fromkeys(why.get((method, metric), []))),
                }
            )
        primary = facts.by_dataset[task, dataset, results.primary(task), method]
        rows.append(
            {
                "label": results.label(method),
                "kind": results.kind(method),
                "control": results.role(method) in CONTROLS,
                "cells": cells,
                "primary": primary["scaled"],
            }
        )
    rows.sort(key=lambda row: (row["control"], -_or_worst(row["primary"])))
    return {
        "id": dataset,
        "label": results.dataset_label(dataset),
        "metrics": [{"id": m, **cards[m], "useless": reasons.get(m, "")} for m in applicable],
        "rows": rows,
    }


def coverage(facts: Facts) -> dict[str, Any]:
    """Status of every run, a row a method and a column a task and dataset.

    Returns
    -------
    ``columns`` (task, dataset), ``rows`` with label and cells: None where nothing was asked, else ok,
    all, word, kind (ok, declined, failed), and what: the reasons, each with its stderr tail.
    """
    results = facts.results
    runs = results.runs
    columns = list(dict.fromkeys(zip(runs["task"], runs["dataset"], strict=True)))
    cells: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in runs.to_dict("records"):
        run = {str(name): value for name, value in row.items()}
        cells.setdefault((run["method"], run["task"], run["dataset"]), []).append(run)
    rows = [
        {
            "label": results.label(method),
            "cells": [_covered(cells.get((method, *column))) for column in columns],
        }
        for method in dict.fromkeys(runs["method"])
    ]
    return {
        "columns": [
            {"task": results.task_label(task), "dataset": results.dataset_label(dataset)}
            for task, dataset in columns
        ],
        "rows": rows,
    }


def _covered(runs: list[dict[str, Any]] | None) -> dict[str, Any] | None:
    if runs is None:
        return None
    bad = [run for run in runs if run["status"] != FINE]
    words = list(dict.fromkeys(run["status"].replace("_", " ") for run in bad))
    failed = any(run["status"] != "declined" for run in bad)
    return {
        "ok": len(runs) - len(bad),
        "all": len(runs),
        "kind": "failed" if failed else "declined" if bad else FINE,
        "word": ", ".join(words),
        "what": [
            {
                "replicate": int(run["replicate"]),
                **{key: str(run[key]) for key in ("status", "reason", "stderr_tail")},
            }
            for run in bad
        ],
    }


def pairs(facts: Facts, task: str) -> list[list[Any]]:
    """Every two methods: method, rival, and the words of `dgnbench.report.words.verdict`."""
    from dgnbench.report.words import verdict

    label, rows = facts.results.label, facts.of_task(facts.pairs, task)
    return [
        [row["method"], row["rival"],
         verdict(row, label(row["method"]), label(row["rival"]), len(rows))]
        for row in rows
    ]  # fmt: skip


def replicates(facts: Facts, task: str) -> dict[str, dict[str, list[float | None]]]:
    """Scaled primary scores by method and dataset, in the order of replicates."""
    scores = facts.results.scores
    own = scores[(scores["task"] == task) & scores["primary"]].sort_values("replicate")
    found: dict[str, dict[str, list[float | None]]] = {}
    for (method, dataset), part in own.groupby(["method", "dataset"], sort=False):
        found.setdefault(str(method), {})[str(dataset)] = [finite(v) for v in part["scaled"]]
    return found


def failed_metrics(facts: Facts) -> list[dict[str, Any]]:
    """Metrics that raised, whatever the run: a row a task, metric and reason, with how often and where."""
    results, scores = facts.results, facts.results.scores
    bad = scores[(scores["status"] == "failed") & scores["reason"].str.startswith("metric ")]
    return [
        {
            "task": results.task_label(str(task)),
            "metric": results.metrics[str(task)][str(metric)]["label"],
            "reason": str(reason),
            "count": len(rows),
            "methods": len(set(rows["method"])),
            "datasets": ", ".join(results.dataset_label(d) for d in dict.fromkeys(rows["dataset"])),
        }
        for (task, metric, reason), rows in bad.groupby(["task", "metric", "reason"], sort=False)
    ]


def sampled_metrics(facts: Facts) -> list[dict[str, Any]]:
    """Scores from a sample of the cells: a row a task, metric and dataset, with the largest error."""
    results, scores = facts.results, facts.results.scores
    noted = scores[scores["note"] != ""]
    rows = []
    for (task, metric, dataset), own in noted.groupby(["task", "metric", "dataset"], sort=False):
        cells, errors = zip(*(n.split(Estimate.WITH_ERROR) for n in own["note"]), strict=True)
        rows.append(
            {
                "task": results.task_label(str(task)),
                "metric": results.metrics[str(task)][str(metric)]["label"],
                "dataset": results.dataset_label(str(dataset)),
                "cells": ", ".join(dict.fromkeys(cells)),
                "error": max(errors, key=float),
            }
        )
    return rows
