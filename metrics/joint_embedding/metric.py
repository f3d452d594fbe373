"""Joint embedding: the metrics of the NeurIPS 2021 challenge, on cells whose labels nobody saw."""

import numpy as np

from dgnbench.contract import NotApplicable
from dgnbench.embedding import clusters, codes, coordinates, graph, silhouettes
from dgnbench.embedding.neighbours import nearest

N_NEIGHBORS = 15  # scanpy's default, as in scIB
BIO = ("nmi", "asw_label", "graph_connectivity")
BATCH = ("asw_batch",)


def _scored(solution):
    return solution["truth"].obs["scored"].to_numpy(dtype=bool)


def _x(solution, output, shared):
    """The scored cells' coordinates; an embedding that collapsed is refused, it would score well."""
    return shared.per_run("embedding", lambda: coordinates(output[_scored(solution)]))


def _codes(solution, shared, key):
    truth = solution["truth"]
    if key not in truth.obs:
        raise NotApplicable(f"the dataset has no {key}")
    scored = _scored(solution)

    def numbered():
        column = truth.obs[key][scored].cat.remove_unused_categories()
        if len(column.cat.categories) < 2:
            raise NotApplicable(f"all scored cells have the same {key}")
        return codes(column, key)

    return shared.per_solution(key, numbered)


def nmi(solution, output, shared):
    cell_type = _codes(solution, shared, "cell_type")
    found = clusters.kmeans(_x(solution, output, shared), int(cell_type.max()) + 1)
    return clusters.agreement(cell_type, found)["nmi"]


def asw_label(solution, output, shared):
    cell_type = _codes(solution, shared, "cell_type")
    found = silhouettes.by_label(_x(solution, output, shared), cell_type)
    return silhouettes.label_score(found, cell_type)[0]


def asw_batch(solution, output, shared):
    x, batch = _x(solution, output, shared), _codes(solution, shared, "batch")
    cell_type = _codes(solution, shared, "cell_type")
    scores = []
    for label in np.unique(cell_type):
        cells = cell_type == label
        _, own = np.unique(batch[cells], return_inverse=True)
        n_batches = own.max() + 1
        if 1 < n_batches < cells.sum():  # as in scIB
            values = silhouettes.by_label(x[cells], own).values
            scores.append(np.mean(1 - np.abs(values)))
    if not scores:
        raise NotApplicable("no cell type has scored cells in two batches")
    return np.mean(scores)


def graph_connectivity(solution, output, shared):
    cell_type = _codes(solution, shared, "cell_type")
    x = _x(solution, output, shared)
    return graph.connectivity(nearest(x, min(N_NEIGHBORS, len(x))), cell_type)


def _applicable(names, solution, output, shared):
    """The values of metrics by name, each computed once a run, of those that have a meaning here."""
    functions, values = globals(), {}
    for name in names:
        try:
            values[name] = shared.per_run(
                name, lambda name=name: functions[name](solution, output, shared)
            )
        except NotApplicable:
            continue
    return values


def arithmetic_mean(solution, output, shared):
    values = _applicable((*BIO, *BATCH), solution, output, shared)
    if not values:
        raise NotApplicable("none of the metrics has a meaning on this dataset")
    return np.mean(list(values.values()))
