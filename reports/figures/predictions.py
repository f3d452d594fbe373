"""Predicted against measured values of the second modality, all features of all test cells."""

import numpy as np
from matplotlib import pyplot as plt
from scipy import sparse

from dgnbench.contract import CONTROLS

SHOWN_CONTROL = "mean"


def _flat(matrix):
    return np.asarray(matrix.toarray() if sparse.issparse(matrix) else matrix).ravel()


def draw(results):
    task = "modality_prediction"
    if task not in results.tasks:
        return
    for dataset in results.datasets(task):
        methods = [
            method
            for method in results.ok_methods(task, dataset)
            if results.role(method) not in CONTROLS or method == SHOWN_CONTROL
        ]
        if not methods:
            continue
        truth = _flat(results.solution(task, dataset)["truth"].X)
        low, high = truth.min(), truth.max()
        columns = min(5, len(methods))
        rows = -(-len(methods) // columns)
        figure, axes = plt.subplots(
            rows, columns, figsize=(2.6 * columns, 2.6 * rows), squeeze=False,
            sharex=True, sharey=True,
        )  # fmt: skip
        for axis in axes.flat[len(methods) :]:
            axis.axis("off")
        for axis, method in zip(axes.flat, methods, strict=False):
            predicted = _flat(results.output(task, dataset, method))
            axis.hexbin(truth, predicted, gridsize=45, bins="log", cmap="Blues", mincnt=1)
            axis.plot([low, high], [low, high], color="#c4500b", linewidth=1)
            axis.set_title(results.label(method), fontsize=9)
        figure.supxlabel("measured, normalised", fontsize=9)
        figure.supylabel("predicted", fontsize=9)
        figure.tight_layout()
        label = results.dataset_label(dataset)
        title = f"Predicted against measured values of {label}; on the line they are equal"
        yield task, title, title, figure
