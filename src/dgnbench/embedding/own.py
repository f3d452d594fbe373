"""The integration metrics of scIB by the functions of this package.

Each function takes arrays and returns numbers by the names of the metrics; `scib` has the same ones by
scib-metrics. Cells x dimensions is `x`; `labels` and `batch` are (cells,), integers from 0 without gaps;
`graph` has the nearest cells, itself included.
"""

from __future__ import annotations

from typing import Any

from dgnbench.embedding import clusters, graph, mixing, silhouettes, variance
from dgnbench.embedding.neighbours import Neighbours


def of_labels(x: Any, labels: Any, batch: Any) -> dict[str, float]:
    """`silhouette_label` and `isolated_labels`, from one pass over the pairs of cells."""
    found = silhouettes.by_label(x, labels)
    return {
        "silhouette_label": silhouettes.label_score(found, labels),
        "isolated_labels": silhouettes.isolated_score(found, labels, batch),
    }


def of_clusters(x: Any, labels: Any) -> dict[str, float]:
    """`nmi_kmeans` and `ari_kmeans`, of as many clusters as there are labels."""
    found = clusters.agreement(labels, clusters.kmeans(x, int(labels.max()) + 1))
    return {"nmi_kmeans": found["nmi"], "ari_kmeans": found["ari"]}


def of_neighbours(nearest: Neighbours, labels: Any, batch: Any) -> dict[str, float]:
    """`clisi` and `ilisi`, of 90 neighbours in scIB."""
    return mixing.lisi(nearest, labels, batch)


def bras(x: Any, labels: Any, batch: Any) -> float:
    """Batch-removal-adapted silhouette."""
    return silhouettes.bras(x, labels, batch)


def kbet(nearest: Neighbours, labels: Any, batch: Any) -> float:
    """kBET by label, of 50 neighbours in scIB."""
    return mixing.kbet(nearest, batch, labels)


def graph_connectivity(nearest: Neighbours, labels: Any) -> float:
    """Connectivity of every label, of 15 neighbours in scIB."""
    return graph.connectivity(nearest, labels)


def pcr_comparison(before: Any, after: Any, batch: Any) -> float:
    """How much less of the variance a batch explains than before."""
    return variance.pcr_comparison(before, after, batch)
