"""The same numbers as `own`, by scib-metrics: the reference, chosen by ``engine: scib_metrics``.

On the same exact neighbours, also inside kBET, whose own search would be compiled for 40 CPU-seconds in
every process.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from dgnbench.embedding.neighbours import Neighbours, nearest


def of_labels(x: Any, labels: Any, batch: Any) -> dict[str, float]:
    """As `own.of_labels`."""
    import scib_metrics

    return {
        "silhouette_label": float(scib_metrics.silhouette_label(x, labels)),
        "isolated_labels": float(scib_metrics.isolated_labels(x, labels, batch)),
    }


def of_clusters(x: Any, labels: Any) -> dict[str, float]:
    """As `own.of_clusters`."""
    import scib_metrics

    found = scib_metrics.nmi_ari_cluster_labels_kmeans(x, labels)
    return {"nmi_kmeans": float(found["nmi"]), "ari_kmeans": float(found["ari"])}


def of_neighbours(graph: Neighbours, labels: Any, batch: Any) -> dict[str, float]:
    """As `own.of_neighbours`."""
    import scib_metrics

    theirs = _results(graph)
    return {
        "clisi": float(scib_metrics.clisi_knn(theirs, labels)),
        "ilisi": float(scib_metrics.ilisi_knn(theirs, batch)),
    }


def bras(x: Any, labels: Any, batch: Any) -> float:
    """As `own.bras`."""
    import scib_metrics

    return float(scib_metrics.bras(x, labels, batch))


def kbet(graph: Neighbours, labels: Any, batch: Any) -> float:
    """As `own.kbet`."""
    import scib_metrics

    with _exact_neighbours_inside():
        return float(scib_metrics.kbet_per_label(_results(graph), batch, labels))


def graph_connectivity(graph: Neighbours, labels: Any) -> float:
    """As `own.graph_connectivity`."""
    import scib_metrics

    return float(scib_metrics.graph_connectivity(_results(graph), labels))


def pcr_comparison(before: Any, after: Any, batch: Any) -> float:
    """As `own.pcr_comparison`."""
    import scib_metrics

    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="PCR comparison score is negative"
        )  # see the card
        return float(scib_metrics.pcr_comparison(before, after, batch, categorical=True))


def _results(graph: Neighbours) -> Any:
    from scib_metrics.nearest_neighbors import NeighborsResults

    return NeighborsResults(indices=graph.indices, distances=graph.distances.astype(np.float32))


@contextmanager
def _exact_neighbours_inside() -> Iterator[None]:
    from scib_metrics import nearest_neighbors as module

    def search(x: Any, n_neighbors: int, random_state: int = 0, n_jobs: int = 1) -> Any:
        return _results(nearest(x, n_neighbors))

    theirs = module.pynndescent
    module.pynndescent = search
    try:
        yield
    finally:
        module.pynndescent = theirs
