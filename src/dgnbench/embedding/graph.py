"""The graph of nearest cells: components, connectivities, diffusion."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from dgnbench.embedding.neighbours import Neighbours

COMPONENTS = 100  # of the diffusion map


def connectivity(
    graph: Neighbours, labels: Any, connection: Literal["strong", "weak"] = "strong"
) -> float:
    """Mean over labels (cells,) of the share of a label's cells in its largest component.

    Strong components, of edges from a cell to its neighbours, are scib-metrics', weak ones scIB's.
    """
    n, k = graph.indices.shape
    rows, columns = np.repeat(np.arange(n), k), graph.indices.ravel()
    within = labels[rows] == labels[columns]
    edges = sparse.csr_matrix(
        (np.ones(within.sum()), (rows[within], columns[within])), shape=(n, n)
    )
    _, component = connected_components(edges, connection=connection)
    sizes = np.bincount(component)
    largest = np.zeros(labels.max() + 1)
    np.maximum.at(largest, labels, sizes[component])  # components do not cross labels
    n_cells = np.bincount(labels)
    return float(np.mean(largest[n_cells > 0] / n_cells[n_cells > 0]))


def connectivities(graph: Neighbours) -> Any:
    """umap's fuzzy union of the memberships of a cell in another's neighbourhood, CSR (cells, cells)."""
    from dgnbench.embedding import compiled

    n, k = graph.indices.shape
    values = compiled.memberships(graph.indices, graph.distances.astype(np.float32))
    rows = np.repeat(np.arange(n), k)
    one_way = sparse.csr_matrix((values.ravel(), (rows, graph.indices.ravel())), shape=(n, n))
    one_way.eliminate_zeros()
    other_way = one_way.T.tocsr()
    return one_way + other_way - one_way.multiply(other_way)


def diffusion(weights: Any, n_components: int) -> Any:
    """Coordinates (cells, n_components) in which Euclidean is diffusion distance over all times.

    Of a connected graph `weights`, CSR (cells, cells), normalised by density as in scanpy's diffusion map;
    eigenvectors are scaled by λ / (1 - λ), in float32 as in scib-metrics, the first, of λ = 1, by 1.
    """
    from scipy.sparse.linalg import eigsh

    weights = weights.astype(np.float64)
    density = np.asarray(weights.sum(axis=0)).ravel()
    scale = sparse.diags(1 / density)
    kernel = scale @ weights @ scale
    scale = sparse.diags(1 / np.sqrt(np.asarray(kernel.sum(axis=0)).ravel()))
    transitions = scale @ kernel @ scale
    begin = np.random.default_rng(0).uniform(-1, 1, len(density))
    values, vectors = eigsh(transitions, k=n_components, which="LM", v0=begin)
    values, vectors = values[::-1].astype(np.float32), vectors[:, ::-1].astype(np.float32)
    values += np.float32(1e-8)
    with np.errstate(divide="ignore"):
        times = np.where(values == 1, 1, values / (1 - values))
    return vectors * times
