"""Two score tables side by side, for a terminal or a pull request."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dgnbench import stats
from dgnbench.contract import DgnbenchError

NEEDED = ("task", "dataset", "replicate", "method", "role", "metric", "value", "status",
          "direction", "primary")  # fmt: skip
UNITS = {"datasets": "datasets", "replicates": "paired runs"}


def read_scores(path: Path) -> pd.DataFrame:
    """A ``scores.csv``, or the one in a folder ``results/<benchmark>``.

    Raises
    ------
    DgnbenchError
        Where there is none, or it lacks columns.
    """
    file = path / "scores.csv" if path.is_dir() else path
    if not file.is_file():
        raise DgnbenchError(f"{path}: no such file: wanted a scores.csv, or the folder of one")
    table = pd.read_csv(file)
    lacking = [name for name in NEEDED if name not in table]
    if lacking:
        raise DgnbenchError(
            f"{file}: not the scores of a benchmark: the columns {', '.join(lacking)} are missing"
        )
    return table


def compared(
    tables: Sequence[Path], methods: tuple[str, str] | None, *, tolerance: float, every_metric: bool
) -> pd.DataFrame:
    """The second against the first, a row a task, method and metric, as `dgnbench.stats.compare`.

    Parameters
    ----------
    tables
        Two score tables, or one and two `methods` of it.
    methods
        The method of the first table and that of the second; None: each method with itself.
    tolerance
        Differences within ± tolerance, in scaled units, count as none.
    every_metric
        Compare every metric, not only the primary one.

    Raises
    ------
    DgnbenchError
        Where the tables have nothing in common, or only one is given without methods.
    """
    if len(tables) > 2:
        raise DgnbenchError(f"{len(tables)} tables: wanted one before and one after")
    if len(tables) == 1 and methods is None:
        raise DgnbenchError("one table: which two methods of it? give --methods A B")
    both = [read_scores(path) for path in tables]
    before, after = both[0], both[-1]
    for name, table in zip(methods or (), (before, after), strict=False):
        if name not in set(table["method"]):
            raise DgnbenchError(
                f"no scores of '{name}'; there are {', '.join(sorted(set(table['method'])))}"
            )
    try:
        found = stats.compare(
            before, after, methods=methods, tolerance=tolerance, primary_only=not every_metric
        )
    except ValueError as error:
        raise DgnbenchError(str(error)) from None
    lost = found["missing_after"] > found["missing_before"]
    found["fails"] = (
        (found["verdict"] == "worse")
        | lost
        | ((found["verdict"] == "too little data") & (found["difference"] < -tolerance))
    )
    return found


def as_markdown(found: pd.DataFrame) -> str:
    """The comparison as a Markdown table, worst first, with what limits it below."""
    lines = [
        "| task | method | metric | difference (scaled) | 95 % | effect size | n | p (Holm) | verdict |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found.sort_values("difference").to_dict("records"):
        between = f"{row['lo']:+.3f} to {row['hi']:+.3f}" if math.isfinite(row["lo"]) else "–"
        gap = f"{row['difference']:+.3f}" if math.isfinite(row["difference"]) else "–"
        p = f"{row['p_holm']:.3f}" if math.isfinite(row["p_holm"]) else "–"
        effect = f"{row['effect']:+.2f}" if math.isfinite(row["effect"]) else "–"
        verdict = f"**{row['verdict']}**" if row["fails"] else row["verdict"]
        lines.append(
            f"| {row['task']} | {row['method']} | {row['metric']} | {gap} | {between} | {effect} | "
            f"{row['n']} {UNITS[row['unit']]} | {p} | {verdict} |"
        )
    notes = []
    for reason, rows in found[found["reason"] != ""].groupby("reason", sort=False):
        who = [f"{row.method} ({row.task})" for row in rows.itertuples()]
        notes.append(f"{', '.join(who) if len(who) < len(found) else 'all'}: {reason}")
    lost = [
        f"{row['method']} ({row['task']}): {row['missing_after']} scores are missing now, "
        f"{row['missing_before']} were before"
        for row in found.to_dict("records")
        if row["missing_after"] > row["missing_before"]
    ]
    moved = found["controls_moved"].max()
    if moved > 1e-6:
        notes.append(
            f"the controls lie elsewhere in the second table, by up to {moved:.3f} of their range: "
            "were both made from the same data and metrics?"
        )
    return "\n".join([*lines, "", *(f"- {note}" for note in dict.fromkeys([*lost, *notes]))]) + "\n"
