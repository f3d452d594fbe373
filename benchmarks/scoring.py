"""Integration metrics beside scib-metrics: CPU seconds, wall time, peak memory, growth with cells.

    python benchmarks/scoring.py fresh --cells 5000 20000 50000
    python benchmarks/scoring.py warm --cells 20000
    python benchmarks/scoring.py memory --cells 20000
    python benchmarks/scoring.py growth --cells 10000 25000 50000 100000 200000

`fresh`: every number of an embedding in a new process, imports and compilations included; scib-metrics by
its `Benchmarker` on its own neighbours, A B A B. numba's compilations of ours lie on the disk, as after a
first use; JAX keeps none unless it is told to. `warm`: function against function in one process after a
first call at the same size, on one neighbour graph. `memory`: peak of a new process beyond what it had
after imports and data. `growth`: ours alone, a new process a size, the exponent between the first and the
last. TensorFlow is kept out of both. Embeddings are made up: 20 dimensions, 8 types, 3 batches.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from dgnbench.scoring import without_tensorflow

ROUNDS = 3


def made_up(cells: int) -> tuple[Any, Any, Any, Any]:
    """An embedding, what it was before integration, labels and batches."""
    rng = np.random.default_rng(0)
    labels = rng.choice(8, cells, p=[0.3, 0.2, 0.15, 0.1, 0.1, 0.08, 0.05, 0.02])
    batch = rng.integers(3, size=cells)
    place, shift = rng.normal(0, 1, (8, 20)), rng.normal(0, 0.3, (3, 20))
    x = place[labels] + shift[batch] + rng.normal(size=(cells, 20))
    before = np.hstack([x + 3 * shift[batch], rng.normal(size=(cells, 30))])
    return x.astype(np.float32), before.astype(np.float32), labels, batch


def by_functions(engine: Any, graph: Any, case: Any) -> dict[str, tuple[float, Any]]:
    """CPU seconds and value of each function of an engine, on one neighbour graph."""
    x, before, labels, batch = case
    calls = {
        "silhouettes": lambda: engine.of_labels(x, labels, batch),
        "k-means": lambda: engine.of_clusters(x, labels),
        "LISI": lambda: engine.of_neighbours(graph, labels, batch),
        "BRAS": lambda: engine.bras(x, labels, batch),
        "kBET": lambda: engine.kbet(graph.first(50), labels, batch),
        "graph connectivity": lambda: engine.graph_connectivity(graph.first(15), labels),
        "PCR": lambda: engine.pcr_comparison(before, x, batch),
    }
    made = {}
    for name, call in calls.items():
        begin = time.process_time()
        made[name] = (call(), time.process_time() - begin)
    return {name: (seconds, value) for name, (value, seconds) in made.items()}


def score_own(case: Any) -> dict[str, float]:
    """All numbers by `dgnbench.embedding`, its neighbour search included."""
    from dgnbench.embedding import coordinates, own
    from dgnbench.embedding.neighbours import nearest

    x = coordinates(case[0])
    values: dict[str, float] = {}
    for name, (_, value) in by_functions(own, nearest(x, 90), (x, *case[1:])).items():
        values |= value if isinstance(value, dict) else {name: value}
    return values


def score_scib(case: Any) -> dict[str, float]:
    """All numbers by scib-metrics' Benchmarker, its neighbour search included."""
    import pandas as pd
    from anndata import AnnData
    from scib_metrics.benchmark import BatchCorrection, Benchmarker, BioConservation

    x, before, labels, batch = case
    obs = pd.DataFrame({"label": labels.astype(str), "batch": batch.astype(str)}).astype("category")
    obs.index = obs.index.astype(str)
    data = AnnData(before, obs=obs, obsm={"X": x, "before": before})
    made = Benchmarker(
        data, batch_key="batch", label_key="label", embedding_obsm_keys=["X"],
        bio_conservation_metrics=BioConservation(nmi_ari_cluster_labels_leiden=False),
        batch_correction_metrics=BatchCorrection(), pre_integrated_embedding_obsm_key="before",
        progress_bar=False,
    )  # fmt: skip
    made.prepare()
    made.benchmark()
    found = made.get_results(min_max_scale=False).loc["X"]
    names = {
        "Silhouette label": "silhouette_label", "Isolated labels": "isolated_labels",
        "KMeans NMI": "nmi_kmeans", "KMeans ARI": "ari_kmeans", "cLISI": "clisi", "iLISI": "ilisi",
        "BRAS": "BRAS", "KBET": "kBET", "Graph connectivity": "graph connectivity",
        "PCR comparison": "PCR",
    }  # fmt: skip
    return {ours: float(found[theirs]) for theirs, ours in names.items()}


SIDES = {"own": score_own, "scib": score_scib}


def memory_mb(line: str) -> float:
    """A line of /proc/self/status in MB: VmRSS, what is resident; VmHWM, its peak."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{line}:")[1].split()[0]) / 1024


def one(side: str, cells: int, imported: bool) -> None:
    """In a process of its own: score once, print what it took."""
    wall = time.perf_counter()
    case = made_up(cells)
    if imported:  # peaks and growth are compared beyond the libraries and their compilation
        SIDES[side](made_up(300))
        if side == "own":
            from dgnbench.embedding.neighbours import EXACT_UP_TO, nearest

            if cells > EXACT_UP_TO:
                nearest(made_up(2000)[0], 90, exact_up_to=0)
    base = memory_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    begun, cpu = (time.perf_counter(), time.process_time()) if imported else (wall, 0.0)
    values = SIDES[side](case)
    peak = memory_mb("VmHWM")
    told = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - begun, "values": values}
    print(json.dumps({**told, "peak_mb": peak, "beyond_mb": peak - base}))


def in_a_process(side: str, cells: int, imported: bool = False) -> dict[str, Any]:
    """`one`, in a new process on one thread."""
    command = [sys.executable, __file__, "one", "--side", side, "--cells", str(cells)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    threads["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    done = subprocess.run(
        [*command, *(["--imported"] if imported else [])], env={**os.environ, **threads},
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    made: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return made


def ratio(theirs: list[float], ours: list[float]) -> str:
    """Median, least and largest ratio of the pairs."""
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}, {max(ratios):.2f})"


def pairs(cells: int, rounds: int, imported: bool, keys: tuple[str, ...]) -> None:
    """A B A B, and the ratios of `keys`."""
    found: dict[str, list[dict[str, Any]]] = {"scib": [], "own": []}
    for _ in range(rounds):
        for side, runs in found.items():
            runs.append(in_a_process(side, cells, imported))
    for key in keys:
        theirs, ours = ([run[key] for run in found[side]] for side in ("scib", "own"))
        told = "; ".join(" ".join(f"{v:.1f}" for v in values) for values in (theirs, ours))
        print(f"{cells} cells, {key}: scib / own {ratio(theirs, ours)}   ({told})", flush=True)
    theirs, ours = (found[side][-1]["values"] for side in ("scib", "own"))
    off = {name: round(abs(theirs[name] - ours[name]), 6) for name in ours}
    print(f"{cells} cells, largest differences: {sorted(off.items(), key=lambda o: -o[1])[:3]}")


def warm(cells: int, rounds: int) -> None:
    """Function against function, on one graph, after a first call of everything."""
    from dgnbench.embedding import own, scib
    from dgnbench.embedding.neighbours import nearest

    case = made_up(cells)
    graph = nearest(case[0], 90)
    by_functions(own, graph, case), by_functions(scib, graph, case)
    found: dict[str, list[dict[str, tuple[float, Any]]]] = {"scib": [], "own": []}
    for _ in range(rounds):
        found["scib"].append(by_functions(scib, graph, case))
        found["own"].append(by_functions(own, graph, case))
    for name in [*found["own"][0], "all"]:
        theirs, ours = (
            [sum(s for n, (s, _) in run.items() if name in (n, "all")) for run in found[side]]
            for side in ("scib", "own")
        )
        medians = f"{statistics.median(theirs):.2f} : {statistics.median(ours):.2f} s"
        print(f"{cells} cells, {name}: scib / own {ratio(theirs, ours)}   {medians}")


def growth(sizes: list[int], rounds: int) -> None:
    """CPU seconds by number of cells, ours, least of the rounds; and the exponent."""
    least = {}
    for cells in sizes:
        runs = [in_a_process("own", cells, imported=True) for _ in range(rounds)]
        least[cells] = min(run["cpu"] for run in runs)
        peak = max(run["peak_mb"] for run in runs)
        print(f"{cells} cells: {least[cells]:.1f} CPU seconds, {peak:.0f} MB", flush=True)
    exponent = np.log(least[sizes[-1]] / least[sizes[0]]) / np.log(sizes[-1] / sizes[0])
    print(f"exponent from {sizes[0]} to {sizes[-1]} cells: {exponent:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["fresh", "warm", "memory", "growth", "one"])
    parser.add_argument("--cells", type=int, nargs="+", required=True)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--imported", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    with without_tensorflow():
        if given.what == "one":
            one(given.side, given.cells[0], given.imported)
        elif given.what == "growth":
            growth(sorted(given.cells), given.rounds)
        for cells in given.cells:
            if given.what == "fresh":
                pairs(cells, given.rounds, imported=False, keys=("cpu", "wall"))
            elif given.what == "memory":
                pairs(cells, given.rounds, imported=True, keys=("beyond_mb", "peak_mb"))
            elif given.what == "warm":
                warm(cells, given.rounds)


if __name__ == "__main__":
    main()
