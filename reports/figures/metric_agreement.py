"""Which metrics rank methods alike: rank correlations of every two metrics of a task."""

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from dgnbench.pictures import Drawn, short
from dgnbench.stats import metric_correlations


def draw(results):
    table = metric_correlations(results.scores)
    for task in results.tasks:
        own = table[table["task"] == task]
        names = [m for m in results.metrics[task] if m in {*own["metric"], *own["other"]}]
        if len(names) < 3:
            continue
        matrix = np.full((len(names), len(names)), np.nan)  # blank where nothing is known
        np.fill_diagonal(matrix, 1)
        for row in own.itertuples():
            a, b = names.index(row.metric), names.index(row.other)
            matrix[a, b] = matrix[b, a] = row.correlation
        labels = [short(results.metrics[task][name]["label"], 28) for name in names]
        side, room = 0.42 * len(names), 0.25 + 0.075 * max(len(label) for label in labels)
        whole = side + room + 0.1
        figure = Figure(figsize=(whole, whole))
        axis = figure.add_axes((room / whole, room / whole, side / whole, side / whole))
        sns.heatmap(
            matrix, ax=axis, vmin=-1, vmax=1, cmap="PuOr_r", annot=True, fmt=".2f",
            annot_kws={"fontsize": 7.5}, xticklabels=labels, yticklabels=labels, cbar=False,
            linewidths=0.5,
        )  # fmt: skip
        axis.tick_params(axis="x", rotation=90, length=0)
        axis.tick_params(axis="y", rotation=0, length=0)
        title = (
            "Rank correlation of metrics over methods, mean over datasets; 1 is the same ranking"
        )
        yield Drawn(task, "", title, title, figure)
