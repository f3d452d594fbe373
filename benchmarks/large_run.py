"""Half a million cells from a file to a score: time and peak memory of every stage.

    python benchmarks/large_run.py --cells 500000
    python benchmarks/large_run.py --cells 10000 200000

Writes a synthetic .h5ad (2,000 genes, 5 % non-zeros), then in a process each: `dgnbench prepare`, `split`
of the integration task, `fit` of own_scvi for one epoch, and all integration metrics of its output. With
several sizes it prints by which exponent every stage grows from the first to the last, imports included.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from prepare_memory import measured, write_counts

SCORE = """
import sys
from pathlib import Path
from dgnbench.cards import read_house
from dgnbench.scoring import score
families = list(read_house().metrics_of("integration").values())
rows = score("integration", "large", 0, "total", families, Path(sys.argv[1]), ["own_scvi"])
bad = [(row["metric"], row["reason"]) for row in rows if row["status"] != "ok"]
print(f"{len(rows) - len(bad)} of {len(rows)} scores", *bad, sep="; ")
"""


def main() -> None:
    """Print a line a stage, and how stages grow."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[500_000])
    sizes = sorted(parser.parse_args().cells)
    seconds = [run(cells) for cells in sizes]
    if len(sizes) > 1:
        for stage, first in seconds[0].items():
            exponent = math.log(seconds[-1][stage] / first) / math.log(sizes[-1] / sizes[0])
            print(f"{stage:<15} exponent {exponent:.2f} from {sizes[0]} to {sizes[-1]} cells")


def run(cells: int) -> dict[str, float]:
    """Wall seconds of every stage."""
    taken = {}
    with tempfile.TemporaryDirectory(prefix="dgnbench-") as name:
        folder = Path(name)
        path, prepared, group = folder / "large.h5ad", folder / "prepared.h5ad", folder / "r0"
        size = write_counts(path, cells, 2000, 100)
        with_types = anndata.read_h5ad(path, backed="r+")
        types = np.random.default_rng(1).integers(0, 10, cells)
        with_types.obs["cell_type"] = pd.Categorical([f"type_{i}" for i in types])
        with_types.write()
        with_types.file.close()
        own = {"path": str(path), "batch": "batch", "cell_type": "cell_type"}
        dgnbench = [sys.executable, "-m", "dgnbench"]
        stages = {
            "prepare": [*dgnbench, "prepare", "large", "--own", json.dumps(own), "--output", prepared],
            "split": [*dgnbench, "split", "integration", prepared, "--seed", "0", "--output", group],
            "fit, one epoch": [
                *dgnbench, "fit", "integration", "own_scvi", "--group", group, "--output",
                group / "own_scvi", "--seed", "0", "--params", '{"max_epochs": 1}', "--mem-mb", "20000",
                "--gpu", "0",
            ],
            "score": [sys.executable, "-c", SCORE, group],
        }  # fmt: skip
        print(f"counts: {cells} x 2000, {size / 2**30:.2f} GiB", flush=True)
        for stage, command in stages.items():
            seconds, peak = measured([str(word) for word in command])
            if stage.startswith("fit"):  # the supervisor's child, whose peak is in the record
                record = json.loads((group / "own_scvi" / "run.json").read_text())
                peak = record["peak_rss_mb"] * 1e6
                assert record["status"] == "ok", record["reason"]
            print(f"{stage:<15} {seconds:7.1f} s, peak {peak / 2**30:5.2f} GiB", flush=True)
            taken[stage] = seconds
    return taken


if __name__ == "__main__":
    main()
