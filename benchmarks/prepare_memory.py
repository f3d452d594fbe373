"""Memory and time to bring a large sparse data set to its standard form, beside the plain way.

    python benchmarks/prepare_memory.py --cells 500000

Writes a synthetic .h5ad in a temporary folder, prepares it by ``dgnbench prepare`` in a process of its
own, does the same with anndata alone (read, check for integers, drop empty genes, write), and prints the
peak resident memory and the wall time of both, as multiples of the bytes of the counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

PLAIN = """
import sys, anndata, numpy as np
data = anndata.read_h5ad(sys.argv[1])
assert (data.X.data == np.round(data.X.data)).all() and data.X.data.min() >= 0
data = data[:, np.asarray((data.X > 0).sum(axis=0)).ravel() > 0].copy()
data.obs["batch"] = data.obs["batch"].astype("category")
data.write_h5ad(sys.argv[2])
"""


def write_counts(path: Path, cells: int, genes: int, per_cell: int) -> int:
    """An .h5ad with `per_cell` values in every cell, a block of cells at a time; its bytes of counts."""
    import anndata
    import pandas as pd
    from anndata.io import write_elem

    rng = np.random.default_rng(0)
    block = 5000
    obs = pd.DataFrame(
        {"batch": pd.Categorical([f"b{i % 8}" for i in range(cells)])},
        index=[f"cell_{i}" for i in range(cells)],
    )
    var = pd.DataFrame(index=[f"gene_{i}" for i in range(genes)])
    anndata.AnnData(obs=obs, var=var).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        if "X" in file:
            del file["X"]
        group = file.create_group("X")
        group.attrs.update(
            {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": (cells, genes)}
        )
        n = cells * per_cell
        values = group.create_dataset("data", (n,), "f4", chunks=(min(n, 1 << 20),))
        columns = group.create_dataset("indices", (n,), "i4", chunks=(min(n, 1 << 20),))
        write_elem(group, "indptr", np.arange(0, n + 1, per_cell, dtype=np.int64))
        step = genes // per_cell
        for start in range(0, cells, block):
            size = min(block, cells - start)
            span = slice(start * per_cell, (start + size) * per_cell)
            offsets = rng.integers(0, step, (size, per_cell))
            columns[span] = (np.arange(per_cell) * step + offsets).ravel()
            values[span] = rng.geometric(0.6, size * per_cell)
    return n * 8


def measured(command: list[str]) -> tuple[float, float]:
    """Seconds, and the peak resident bytes of a command."""
    start = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command[:4])} … ended with status {status}")
    return time.perf_counter() - start, usage.ru_maxrss * 1024


def main() -> None:
    """Print one line a way of preparing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=500_000)
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--per-cell", type=int, default=1000, help="stored values a cell")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dgnbench-") as name:
        folder = Path(name)
        path = folder / "large.h5ad"
        size = write_counts(path, given.cells, given.genes, given.per_cell)
        own = json.dumps({"path": str(path), "batch": "batch"})
        ways = {
            "dgnbench": [
                sys.executable, "-m", "dgnbench", "prepare", "large", "--own", own,
                "--output", str(folder / "a.h5ad"),
            ],
            "anndata": [sys.executable, "-c", PLAIN, str(path), str(folder / "b.h5ad")],
        }  # fmt: skip
        print(f"counts: {given.cells} x {given.genes}, {size / 2**30:.2f} GiB")
        for way, command in ways.items():
            seconds, peak = measured(command)
            print(
                f"{way:<9} peak {peak / 2**30:5.2f} GiB = {peak / size:.2f} x counts, "
                f"{seconds:6.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
