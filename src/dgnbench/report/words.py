"""What the numbers say, in sentences, and what they cannot say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dgnbench.report.facts import Facts
from dgnbench.stats.pairs import ALPHA

SURE = 0.95  # a winner is named alone where it is best with at least this probability
NEGLIGIBLE = 0.01  # who is best with less than this probability is not named beside the first
MOST_NAMES = 6


def number(value: Any, digits: int = 2) -> str:
    """A number for people; a dash where there is none."""
    if value is None or not math.isfinite(float(value)):
        return "–"
    text = f"{float(value):z.{digits}f}"  # z: no minus before what is rounded to zero
    return text.replace("-", "−")


def significant(value: Any) -> str:
    """A raw value: three decimals, and more where they would all be zeros."""
    if value is None or not math.isfinite(float(value)):
        return "–"
    small = 0 < abs(float(value)) < 0.0005
    return f"{float(value):.1e}".replace("-", "−") if small else number(value, 3)


def interval(lo: Any, hi: Any, digits: int = 2) -> str:
    """``[lo, hi]``, or nothing where there is none."""
    if lo is None or not math.isfinite(float(lo)):
        return ""
    return f"[{number(lo, digits)}, {number(hi, digits)}]"


def probability(p: Any) -> str:
    """A probability from so many draws: never quite 0 or 1."""
    if p is None or not math.isfinite(float(p)):
        return "–"
    return "> 0.99" if p > 0.99 else "< 0.01" if p < 0.01 else number(p)


def listed(names: Sequence[str]) -> str:
    """``a, b and c``; of many only the first are named."""
    shown = list(names)
    if len(shown) > MOST_NAMES:
        shown = [*shown[: MOST_NAMES - 1], f"{len(shown) - MOST_NAMES + 1} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def answers(facts: Facts, task: str) -> list[str]:
    """Who is best, how the deep methods stand beside simple ones, and how sure that is."""
    rows = [row for row in facts.of_task(facts.standings, task) if row["coverage"] > 0]
    if not rows:
        return [f"No method has a score on {facts.results.task_label(task).lower()}."]
    said = []
    for labels in (False, True):
        league = [row for row in rows if row["uses_labels"] == labels]
        if league:
            said.append(_best(facts, league, labels))
    said += _beside_baselines(facts, rows)
    said.append(_how_sure(facts, task, rows))
    said += _policies(facts, rows)
    return said


def _name(facts: Facts, row: dict[str, Any]) -> str:
    return facts.results.label(row["method"])


def _best(facts: Facts, league: list[dict[str, Any]], labels: bool) -> str:
    metric = facts.results.metric_label(league[0]["task"])
    among = ", of those that are given cell types" if labels else ""
    first = league[0]
    begin = (
        f"Best by scaled {metric}{among}: {_name(facts, first)}, a {first['role']} "
        f"({number(first['mean'])}{' ' if math.isfinite(first['lo']) else ''}"
        f"{interval(first['lo'], first['hi'])})"
    )
    if len(league) == 1:
        return f"{begin}; nobody else is in this league."
    if not math.isfinite(first["p_best"]):
        return f"{begin}; without replicates or more datasets nobody can say how surely."
    where = "" if first["over"] == "datasets" else " on these datasets"
    if first["p_best"] >= SURE:
        return f"{begin}, best{where} with probability {probability(first['p_best'])}."
    others = [_name(facts, row) for row in league[1:] if row["p_best"] >= NEGLIGIBLE]
    chance = f"{begin}, but the best{where} only with probability {probability(first['p_best'])}"
    return f"{chance}: {listed(others)} may be as good." if others else f"{chance}."


def _beside_baselines(facts: Facts, rows: list[dict[str, Any]]) -> list[str]:
    """How methods stand beside floors and beside the best non-deep baseline they may be held to."""
    said = []
    methods = [row for row in rows if row["role"] == "method"]
    below = [_name(facts, row) for row in methods if row["below_floor"]]
    if below:
        said.append(f"Not above the best floor: {listed(below)}.")
    rivals = list(
        dict.fromkeys(row["baseline"] for row in methods if isinstance(row["baseline"], str))
    )
    for rival in rivals:
        own = [row for row in methods if row["baseline"] == rival]
        name = facts.results.label(rival)
        shown = {verdict: [_name(facts, row) for row in own if row["verdict"] == verdict]
                 for verdict in ("better", "worse")}  # fmt: skip
        above = [_name(facts, row) for row in own
                 if not row["below_baseline"] and row["verdict"] != "better"]  # fmt: skip
        behind = [_name(facts, row) for row in own
                  if row["below_baseline"] and row["verdict"] != "worse"]  # fmt: skip
        parts = [
            f"{what}: {listed(names)}"
            for what, names in (
                ("shown to be better", shown["better"]),
                ("above it, which may be chance", above),
                ("not above it", behind),
                ("shown to be worse", shown["worse"]),
            )
            if names
        ]
        said.append(f"Beside the best non-deep baseline, {name}: {'; '.join(parts)}.")
    return said


def _how_sure(facts: Facts, task: str, rows: list[dict[str, Any]]) -> str:
    datasets = len(facts.results.datasets(task))
    runs = facts.results.runs
    replicates = runs.loc[runs["task"] == task, "replicate"].nunique()
    seen = (
        f"{datasets} dataset{'s' if datasets > 1 else ''} and {replicates} "
        f"replicate{'s' if replicates > 1 else ''}"
    )
    diagram = facts.diagrams.get(task)
    if all(row["over"] != "datasets" for row in rows):
        return (
            f"With {seen} nothing can be concluded about other datasets: this is an observation, "
            "not evidence of a general difference."
        )
    if diagram is None or not diagram.enough:
        return f"Seen on {seen}; intervals are over datasets."
    among = (
        f"Of {len(diagram.ranks)} methods with a score on each of {diagram.n_datasets} datasets, "
    )
    if len(diagram.groups) == 1 and diagram.p > ALPHA:
        return f"{among}none is shown to differ (Friedman p {_p(diagram.p)})."
    return (
        f"{among}some differ (Friedman p {_p(diagram.p)}); mean ranks less than "
        f"{number(diagram.critical_difference, 1)} apart are not told apart (Nemenyi)."
    )


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _policies(facts: Facts, rows: list[dict[str, Any]]) -> list[str]:
    moved = [_name(facts, row) for row in rows if row["depends_on_policy"]]
    if not moved:
        return []
    return [
        f"The order of {listed(moved)} depends on how missing scores are counted: see both columns."
    ]


def verdict(row: dict[str, Any], first: str, second: str, pairs: int) -> str:
    """A paired comparison in words, alone and as one of all `pairs` of a task."""
    alone, among = row["p"] <= ALPHA, row["verdict"] in ("better", "worse")
    which = f"{first} is {'better' if row['difference'] > 0 else 'worse'}"
    if among:
        said = f"{which}."
    elif alone and pairs > 1:
        said = f"{which}, if this is the only pair that you ask about; among all {pairs} it may be chance."
    elif row["verdict"] == "too little data" and row["least_p"] > ALPHA:
        said = "Too little data to tell."
    else:
        said = "No difference is shown."
    gap = f"{number(row['difference'])} {interval(row['lo'], row['hi'])}".strip()
    counted = f"{row['n']} {'datasets' if row['unit'] == 'datasets' else 'paired runs'}"
    p = f", p {_p(row['p'])} alone and p {_p(row['p_holm'])} among all (Holm)" if row["n"] else ""
    about = "; about these datasets only" if row["unit"] != "datasets" and row["n"] else ""
    return (
        f"{said} {first} − {second}: mean difference of scaled scores {gap}, effect size "
        f"{number(row['effect'])}, over {counted}, a missing score counted as 0{p}{about}."
    )
