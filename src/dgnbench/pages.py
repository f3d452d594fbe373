"""The page of all components, made from their cards so that it cannot rot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dgnbench.cards import DatasetCard, House
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


def tasks_of(card: DatasetCard) -> list[str]:
    """The tasks that a dataset has everything for."""
    return [task.id for task in all_tasks().values() if set(task.needs) <= set(card.has)]


def checksums_of(card: DatasetCard) -> str:
    """How many of a dataset's files have a checksum, and on whose word."""
    from dgnbench.fetching import wanted_checksum

    if not card.files:
        return "made here"
    words = [wanted_checksum(card, file)[1] for file in card.files.values()]
    by_hand = sum(not file.urls for file in card.files.values())
    said = [f"{words.count(word)} {word}" for word in dict.fromkeys(words)]
    return ", ".join(said) + (f" ({by_hand} by hand)" if by_hand else "")


def _size(card: DatasetCard) -> str:
    if not card.files:
        return "–"
    return "unknown" if card.size is None else f"{card.size / 1e6:.1f} MB"


def _number(card: DatasetCard, key: str) -> str:
    number = card.expected.get(key, card.params.get(key))
    return "unknown" if number is None else str(number)


def dataset_row(card: DatasetCard) -> tuple[str, ...]:
    """id, kind, cells, genes, modalities, tasks, size, checksums, licence."""
    return (
        card.id,
        card.kind,
        _number(card, "n_cells"),
        _number(card, "n_genes"),
        "+".join(card.modalities),
        ", ".join(tasks_of(card)) or "none yet",
        _size(card),
        checksums_of(card),
        card.licence,
    )


DATASET_COLUMNS = (
    "id", "kind", "cells", "genes", "modalities", "tasks", "size", "checksums", "licence",
)  # fmt: skip


def dataset_lines(house: House) -> list[str]:
    """What ``dgnbench list datasets`` prints."""
    rows = [DATASET_COLUMNS, *(dataset_row(card) for card in house.datasets.cards.values())]
    widths = [max(len(row[i]) for row in rows) for i in range(len(DATASET_COLUMNS))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


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
            (*DATASET_COLUMNS, "what it is", "reference"),
            [
                (f"`{d.id}`", *dataset_row(d)[1:], d.summary, _reference(d.reference))
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
