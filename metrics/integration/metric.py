"""Integration: the metrics of scIB on one neighbour graph, by `dgnbench.embedding` or by scib-metrics."""

import numpy as np

from dgnbench.embedding import codes, coordinates, own, scib
from dgnbench.embedding.neighbours import nearest
from dgnbench.transforms import log1p_cp10k, principal_components

N_NEIGHBORS = 90  # of the graph; 15 and 50 are its subsets, as in scib-metrics' Benchmarker
ENGINES = {"own": own, "scib_metrics": scib}
BIO = ("isolated_labels", "nmi_kmeans", "ari_kmeans", "silhouette_label", "clisi")
BATCH = ("bras", "ilisi", "kbet", "graph_connectivity", "pcr_comparison")


def _x(output, shared):
    return shared.per_run("embedding", lambda: coordinates(output))


def _codes(solution, shared, key):
    return shared.per_solution(key, lambda: codes(solution["truth"].obs[key], key))


def _labels(solution, shared):
    return _codes(solution, shared, "cell_type"), _codes(solution, shared, "batch")


def _graph(output, shared, k):
    x = _x(output, shared)
    return shared.per_run("graph", lambda: nearest(x, N_NEIGHBORS)).first(k)


def _of_labels(solution, output, shared):
    x, both = _x(output, shared), _labels(solution, shared)
    return shared.per_run("of labels", lambda: ENGINES[shared.engine].of_labels(x, *both))


def _of_clusters(solution, output, shared):
    x, (cell_type, _) = _x(output, shared), _labels(solution, shared)
    return shared.per_run("of clusters", lambda: ENGINES[shared.engine].of_clusters(x, cell_type))


def _of_neighbours(solution, output, shared):
    graph, both = _graph(output, shared, 90), _labels(solution, shared)
    return shared.per_run("lisi", lambda: ENGINES[shared.engine].of_neighbours(graph, *both))


def isolated_labels(solution, output, shared):
    return _of_labels(solution, output, shared)["isolated_labels"]


def silhouette_label(solution, output, shared):
    return _of_labels(solution, output, shared)["silhouette_label"]


def nmi_kmeans(solution, output, shared):
    return _of_clusters(solution, output, shared)["nmi_kmeans"]


def ari_kmeans(solution, output, shared):
    return _of_clusters(solution, output, shared)["ari_kmeans"]


def clisi(solution, output, shared):
    return _of_neighbours(solution, output, shared)["clisi"]


def ilisi(solution, output, shared):
    return _of_neighbours(solution, output, shared)["ilisi"]


def bras(solution, output, shared):
    return ENGINES[shared.engine].bras(_x(output, shared), *_labels(solution, shared))


def kbet(solution, output, shared):
    graph = _graph(output, shared, 50)
    return ENGINES[shared.engine].kbet(graph, *_labels(solution, shared))


def graph_connectivity(solution, output, shared):
    graph, (cell_type, _) = _graph(output, shared, 15), _labels(solution, shared)
    return ENGINES[shared.engine].graph_connectivity(graph, cell_type)


def pcr_comparison(solution, output, shared):
    def before():
        x = log1p_cp10k(solution["truth"].X)
        return principal_components(x, 50, seed=0).transform(x).astype(np.float32)

    pca, (_, batch) = shared.per_solution("pca before", before), _labels(solution, shared)
    return ENGINES[shared.engine].pcr_comparison(pca, _x(output, shared), batch)


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
