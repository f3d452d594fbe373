"""Generated beside real cells: where they lie, and how genes' variances follow their means."""

import numpy as np
from matplotlib import pyplot as plt
from scipy import sparse

from dgnbench.transforms import log1p_cp10k, principal_components

REAL, MADE = "#8a94a0", "#c4500b"


def _dense(matrix):
    return np.asarray(matrix.toarray() if sparse.issparse(matrix) else matrix, dtype=np.float64)


def _grid(methods):
    columns = min(5, len(methods))
    rows = -(-len(methods) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(2.5 * columns, 2.4 * rows), squeeze=False, sharex=True, sharey=True
    )
    for axis in axes.flat[len(methods) :]:
        axis.axis("off")
    return figure, axes.flat


def draw(results):
    if "generation" not in results.tasks:
        return
    for dataset in results.datasets("generation"):
        methods = results.ok_methods("generation", dataset)
        if not methods:
            continue
        real = results.solution("generation", dataset)["truth"].X
        made = {method: results.output("generation", dataset, method) for method in methods}
        label = results.dataset_label(dataset)

        pca = principal_components(_dense(log1p_cp10k(real)), 2, seed=0)
        figure, axes = _grid(methods)
        for axis, method in zip(axes, methods, strict=False):
            for cells, colour in ((real, REAL), (made[method], MADE)):
                x, y = pca.transform(_dense(log1p_cp10k(cells))).T
                axis.scatter(x, y, s=4, linewidth=0, alpha=0.6, color=colour, rasterized=True)
            axis.set_title(results.label(method), fontsize=9)
            axis.set(xticks=[], yticks=[])
        figure.tight_layout()
        title = f"Generated (orange) on held-out real cells (grey) of {label}, principal components"
        yield "generation", title, title, figure

        figure, axes = _grid(methods)
        for axis, method in zip(axes, methods, strict=False):
            for cells, colour in ((real, REAL), (made[method], MADE)):
                values = _dense(cells)
                mean, variance = values.mean(axis=0), values.var(axis=0)
                shown = (mean > 0) & (variance > 0)
                axis.scatter(
                    mean[shown], variance[shown], s=4, linewidth=0, alpha=0.6, color=colour,
                    rasterized=True,
                )  # fmt: skip
            axis.set(xscale="log", yscale="log")
            axis.set_title(results.label(method), fontsize=9)
        figure.supxlabel("mean count of a gene", fontsize=9)
        figure.supylabel("variance", fontsize=9)
        figure.tight_layout()
        title = f"Mean and variance of genes, generated (orange) on real (grey), {label}"
        yield "generation", title, title, figure
