"""CPU seconds by number of cells, ours and the peers': docs/cost.svg and docs/cost.csv.

    python benchmarks/cost.py --cells 2000 5000 10000 20000 50000

Left, the integration metrics of one embedding in a fresh process (`scoring.py`), ours and scib-metrics'
Benchmarker; right, one epoch of training with a negative binomial, 2,000 genes, batch 128 (`training.py`),
own_scvi and SCVI. One thread, one run each, in turn; the library imports are in the left clock only.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

import matplotlib
import scoring

matplotlib.use("svg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
PANELS = {
    "integration metrics, fresh process": {"own": "dgnbench", "scib": "scib-metrics Benchmarker"},
    "training, one epoch": {"own_scvi": "own_scvi", "scvi": "SCVI (scvi-tools)"},
}


def trained(which: str, cells: int) -> float:
    """CPU seconds of an epoch, after imports and compilation."""
    command = [sys.executable, str(HERE / "training.py"), "--cells", str(cells), "--epochs", "1"]
    done = subprocess.run(
        [*command, "--one", which, "nb", "0"], capture_output=True, text=True, check=True
    )
    return float(json.loads(done.stdout.splitlines()[-1])["cpu_s"])


def measured(sizes: list[int]) -> list[tuple[str, str, int, float]]:
    """What, by whom, cells and CPU seconds, a line each as it is known."""
    scored, trained_ = PANELS
    rows = []
    for cells in sorted(sizes):
        for side in ("scib", "own"):
            rows.append((scored, side, cells, scoring.in_a_process(side, cells)["cpu"]))
        for which in ("scvi", "own_scvi"):
            rows.append((trained_, which, cells, trained(which, cells)))
        for row in rows[-4:]:
            print(*row, sep="  ", flush=True)
    return rows


def draw(rows: list[tuple[str, str, int, float]]) -> None:
    """docs/cost.svg: a panel for scoring and one for training, both axes logarithmic."""
    plt.rcParams |= {"svg.hashsalt": "cost", "svg.fonttype": "none", "font.size": 9}
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for ax, (what, sides) in zip(axes, PANELS.items(), strict=True):
        for (by, label), look in zip(sides.items(), ("C0o-", "C1s--"), strict=True):
            points = [(cells, s) for w, b, cells, s in rows if (w, b) == (what, by)]
            ax.loglog(*zip(*points, strict=True), look, label=label)
        sizes = sorted({row[2] for row in rows})
        ax.set_xticks(sizes, labels=[f"{size:,}" for size in sizes])
        ax.yaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
        ax.set(title=what, xlabel="cells", ylabel="CPU seconds")
        ax.legend(frameon=False)
        ax.grid(alpha=0.3)
    figure.savefig(DOCS / "cost.svg", metadata={"Date": None})


def main() -> None:
    """Measure and write the table, or read it; draw it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--cells", type=int, nargs="+", default=[2000, 5000, 10_000, 20_000, 50_000]
    )
    parser.add_argument("--draw", action="store_true", help="only draw docs/cost.csv again")
    given = parser.parse_args()
    table = DOCS / "cost.csv"
    if given.draw:
        with table.open(newline="") as handle:
            read = list(csv.DictReader(handle))
        rows = [(r["what"], r["by"], int(r["cells"]), float(r["cpu_seconds"])) for r in read]
    else:
        rows = measured(given.cells)
        with table.open("w", newline="") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(("what", "by", "cells", "cpu_seconds"))
            writer.writerows((*row[:3], f"{row[3]:.2f}") for row in rows)
    draw(rows)


if __name__ == "__main__":
    main()
