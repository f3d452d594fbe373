"""What a run costs beside its method: supervisor, reading, checks, writing. The method does nothing.

    python benchmarks/run_overhead.py [--cells 5000] [--genes 2000] [--repeats 5]

Makes a denoising problem of that size (7 % non-zeros) and runs `no_denoising`, which returns what it gets,
through `dgnbench fit`. Beside it: a Python that imports the packages with which every run reads and writes
its matrices, and does nothing. A, B, A, B.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from anndata import AnnData
from scipy import sparse

from dgnbench.storage import write_parts
from dgnbench.tasks import all_tasks

IMPORTS = "import anndata, scipy.sparse, h5py"


def _seconds(*command: str) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=5000)
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    counts = sparse.random(options.cells, options.genes, 0.07, "csr", np.float32, rng)
    counts.data = np.ceil(counts.data * 5)
    data = AnnData(counts)
    data.obs_names = [f"cell_{i}" for i in range(options.cells)]
    data.var_names = [f"gene_{i}" for i in range(options.genes)]
    problem, solution = all_tasks()["denoising"].split(data, seed=0)
    with tempfile.TemporaryDirectory(prefix="dgnbench-overhead-") as name:
        group = Path(name) / "denoising" / "made" / "r0"
        write_parts(group / "problem", problem)
        write_parts(group / "solution", solution)
        runs, imports, told = [], [], []
        for _ in range(options.repeats):
            runs.append(_seconds(
                sys.executable, "-m", "dgnbench", "fit", "denoising", "no_denoising", "--group",
                str(group), "--output", str(group / "no_denoising"), "--seed", "0",
            ))  # fmt: skip
            told.append(json.loads((group / "no_denoising" / "run.json").read_text()))
            imports.append(_seconds(sys.executable, "-c", IMPORTS))
    assert {record["status"] for record in told} == {"ok"}
    beyond = [run - alone for run, alone in zip(runs, imports, strict=True)]
    print(
        f"{options.cells} cells x {options.genes} genes, {options.repeats} repeats; seconds of wall time"
    )
    for what, values in (("whole run", runs), ("imports", imports), ("beyond imports", beyond)):
        print(
            f"{what:<16} median {statistics.median(values):.2f}, "
            f"min {min(values):.2f}, max {max(values):.2f}"
        )


if __name__ == "__main__":
    main()
