"""The page of all components, made from their cards so that it cannot rot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dgnbench.cards import House
from dgnbench.tasks import all_tasks

HEAD = """\
# Tasks, methods, datasets and metrics

Made from the cards by `dgnbench docs`; do not edit.
"""


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines
    )


def _reference(reference: str) -> str:
    if reference.startswith("10."):
        return f"[{reference}](https://doi.org/{reference})"
    if reference.startswith("arXiv:"):
        return f"[{reference}](https://arxiv.org/abs/{reference.removeprefix('arXiv:')})"
    return reference.removeprefix("none: ")


def components_page(house: House) -> str:
    """``docs/components.md``: a table of tasks, methods, datasets, and metrics by task."""
    parts = [HEAD, "## Tasks\n"]
    parts.append(
        _table(
            ("id", "question", "needs", "ranked by"),
            [
                (f"`{t.id}`", t.summary, ", ".join(t.needs), f"`{t.primary}`")
                for t in all_tasks().values()
            ],
        )
    )
    parts.append("\n## Methods\n")
    parts.append(
        _table(
            ("id", "role", "tasks", "what it is", "reference"),
            [
                (
                    f"`{m.id}`",
                    m.role + (", uses labels" if m.uses_labels else ""),
                    ", ".join(m.tasks),
                    m.summary,
                    _reference(m.reference),
                )
                for m in house.methods.cards.values()
            ],
        )
    )
    parts.append("\n## Datasets\n")
    parts.append(
        _table(
            ("id", "has", "what it is", "licence", "reference"),
            [
                (f"`{d.id}`", ", ".join(d.has), d.summary, d.licence, _reference(d.reference))
                for d in house.datasets.cards.values()
            ],
        )
    )
    parts.append("\n## Metrics\n")
    for family in house.metrics.cards.values():
        parts.append(f"### {family.label}\n\n{family.summary}\n")
        parts.append(
            _table(
                ("id", "what it is", "best", "bounds", "reference"),
                [
                    (
                        f"`{m.id}`",
                        m.summary,
                        m.direction,
                        " to ".join("–" if b is None else f"{b:g}" for b in m.bounds),
                        _reference(m.reference),
                    )
                    for m in family.metrics.values()
                ],
            )
        )
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"
