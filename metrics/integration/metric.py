"""Integration: the metrics of scib-metrics on one shared neighbour graph.

Values are those of its `Benchmarker` (a reference test compares them); what differs is only that the
neighbours are exact and computed once, and that no numba compilation is paid.
"""

import warnings
from contextlib import contextmanager

import numpy as np
from scipy import sparse

from dgnbench.contract import RANK_TOLERANCE
from dgnbench.shared import nearest_neighbors
from dgnbench.transforms import log1p_cp10k, principal_components

N_NEIGHBORS = 90  # of the graph; 15 and 50 are its subsets, as in the Benchmarker
BIO = ("isolated_labels", "nmi_kmeans", "ari_kmeans", "silhouette_label", "clisi")
BATCH = ("bras", "ilisi", "kbet", "graph_connectivity", "pcr_comparison")


def _embedding(output, shared):
    """Dense float32; what scib-metrics would score without a word is an error, here and below."""

    def checked():
        dense = output.toarray() if sparse.issparse(output) else np.asarray(output)
        if not np.isfinite(dense).all():  # scib-metrics scores NaN as 0.5
            raise ValueError("degenerate embedding: values that are not finite")
        centred = dense - dense.mean(axis=0, dtype=np.float64)
        if np.linalg.matrix_rank(centred, tol=RANK_TOLERANCE * np.linalg.norm(dense)) < 2:
            raise ValueError("degenerate embedding: all cells at one point or on one line")
        return np.ascontiguousarray(dense, dtype=np.float32)

    return shared.per_run("embedding", checked)


def _labels(solution):
    """Cell types and batches as arrays."""
    obs = solution["truth"].obs
    for key in ("cell_type", "batch"):
        if obs[key].isna().any():
            raise ValueError(f"{int(obs[key].isna().sum())} cells have no {key}")
        if obs[key].nunique() < 2:
            raise ValueError(f"one {key} only; wanted at least two")
    return np.asarray(obs["cell_type"].astype(str)), np.asarray(obs["batch"].astype(str))


def _exact(x, n_neighbors, random_state=0, n_jobs=1):
    """In the place, and with the signature, of `scib_metrics.nearest_neighbors.pynndescent`."""
    from scib_metrics.nearest_neighbors import NeighborsResults

    indices, distances = nearest_neighbors(x, n_neighbors)
    return NeighborsResults(indices=indices, distances=distances.astype(np.float32))


def _neighbors(output, shared, n):
    graph = shared.per_run("graph", lambda: _exact(_embedding(output, shared), N_NEIGHBORS))
    # As the Benchmarker does, but with fewer cells than neighbours the whole graph serves.
    return graph.subset_neighbors(n=min(n, graph.n_neighbors))


@contextmanager
def _exact_neighbors_inside_kbet():
    """kBET's diffusion step calls pynndescent, whose compilation costs 40 CPU-seconds a process."""
    from scib_metrics import nearest_neighbors as module

    theirs = module.pynndescent
    module.pynndescent = _exact
    try:
        yield
    finally:
        module.pynndescent = theirs


def isolated_labels(solution, output, shared):
    import scib_metrics

    cell_type, batch = _labels(solution)
    return scib_metrics.isolated_labels(_embedding(output, shared), cell_type, batch)


def _kmeans(solution, output, shared):
    import scib_metrics

    def compute():
        cell_type, _ = _labels(solution)
        return scib_metrics.nmi_ari_cluster_labels_kmeans(_embedding(output, shared), cell_type)

    return shared.per_run("kmeans", compute)


def nmi_kmeans(solution, output, shared):
    return _kmeans(solution, output, shared)["nmi"]


def ari_kmeans(solution, output, shared):
    return _kmeans(solution, output, shared)["ari"]


def silhouette_label(solution, output, shared):
    import scib_metrics

    return scib_metrics.silhouette_label(_embedding(output, shared), _labels(solution)[0])


def clisi(solution, output, shared):
    import scib_metrics

    return scib_metrics.clisi_knn(_neighbors(output, shared, 90), _labels(solution)[0])


def bras(solution, output, shared):
    import scib_metrics

    return scib_metrics.bras(_embedding(output, shared), *_labels(solution))


def ilisi(solution, output, shared):
    import scib_metrics

    return scib_metrics.ilisi_knn(_neighbors(output, shared, 90), _labels(solution)[1])


def kbet(solution, output, shared):
    import scib_metrics

    cell_type, batch = _labels(solution)
    with _exact_neighbors_inside_kbet():
        return scib_metrics.kbet_per_label(_neighbors(output, shared, 50), batch, cell_type)


def graph_connectivity(solution, output, shared):
    import scib_metrics

    graph = _neighbors(output, shared, 15)
    return scib_metrics.graph_connectivity(graph, _labels(solution)[0])


def pcr_comparison(solution, output, shared):
    import scib_metrics

    def before():
        x = log1p_cp10k(solution["truth"].X)
        return principal_components(x, 50, seed=0).transform(x).astype(np.float32)

    pca = shared.per_solution("pca before", before)
    _, batch = _labels(solution)
    warnings.filterwarnings("ignore", message="PCR comparison score is negative")  # see the card
    return scib_metrics.pcr_comparison(pca, _embedding(output, shared), batch, categorical=True)


def _mean(names, solution, output, shared):
    """The mean of metrics by name, each computed once a run."""
    functions = globals()
    return np.mean(
        [
            shared.per_run(name, lambda name=name: functions[name](solution, output, shared))
            for name in names
        ]
    )


def bio_conservation(solution, output, shared):
    return _mean(BIO, solution, output, shared)


def batch_correction(solution, output, shared):
    return _mean(BATCH, solution, output, shared)


def total(solution, output, shared):
    bio = bio_conservation(solution, output, shared)
    return 0.6 * bio + 0.4 * batch_correction(solution, output, shared)
