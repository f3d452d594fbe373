"""UMAPs of the embeddings, coloured by batch and, below, by cell type."""

import numpy as np
from matplotlib import patheffects

from dgnbench.pictures import (
    OKABE_ITO,
    Drawn,
    Grid,
    colours,
    key,
    key_size,
    methods_shown,
    short_apart,
    some,
)  # fmt: skip
from dgnbench.scoring import without_tensorflow

TASK = "integration"
PER_ROW = 6
TITLE = 0.2  # inches of a key
KEYS = {"batch": "batch", "cell_type": "cell type"}
MOST_NUMBERS = 30  # beyond, numbers in a panel hide it


def _plane(embedding):
    """Two dimensions, in the unit square."""
    if embedding.shape[1] > 2 and len(embedding) > 3:
        with without_tensorflow():  # seconds, for a part of umap that is not used
            from umap import UMAP

        neighbours = min(15, len(embedding) - 1)
        embedding = UMAP(
            neighbours, random_state=0, n_jobs=1, init="pca", n_epochs=200
        ).fit_transform(embedding)
    low, high = embedding.min(axis=0), embedding.max(axis=0)
    centre, reach = (low + high) / 2, max(float((high - low).max()), 1e-9)
    return (embedding[:, :2] - centre[:2]) / reach + 0.5


def _numbers(axis, places, codes, n):
    """The number of each category where most of it lies."""
    for code in range(n):
        if (codes == code).any():
            x, y = np.median(places[codes == code], axis=0)
            axis.text(
                x, y, str(code + 1), fontsize=7, ha="center", va="center", weight="bold",
                path_effects=[patheffects.withStroke(linewidth=1.6, foreground="white")],
            )  # fmt: skip


def draw(results):
    if TASK not in results.tasks:
        return
    for dataset in results.datasets(TASK):
        methods = methods_shown(results, TASK, dataset, control="no_integration")
        if not methods:
            continue
        obs = results.solution(TASK, dataset)["truth"].obs
        cells = some(len(obs), len(methods))
        groups = {name: obs[name].astype("category").cat for name in KEYS if name in obs}
        if not groups:
            continue
        blocks = -(-len(methods) // PER_ROW)
        columns = -(-len(methods) // blocks)
        names = {
            name: [
                f"{i + 1}  {level}" if len(group.categories) > len(OKABE_ITO) else str(level)
                for i, level in enumerate(group.categories)
            ]
            for name, group in groups.items()
        }
        width = max(5.5, min(11.2, columns * 2.3))
        heights = {name: key_size(names[name], width)[1] + TITLE for name in groups}

        panels = Grid.of(
            blocks * len(groups) * columns, per_row=columns, gap=(0.08, 0.42), left=0.3,
            together=len(groups), top=sum(heights.values()) + 0.45,
        )  # fmt: skip
        letters = int(panels.panel * 72 / 5.6)
        titles = short_apart([results.label(m) for m in methods], letters, 2)
        for i, axis in enumerate(panels.axes):
            line, column = divmod(i, columns)
            block, part = divmod(line, len(groups))
            place = block * columns + column
            if place >= len(methods):
                axis.remove()
                continue
            if part == 0:
                axis.set_title(titles[place], pad=4, linespacing=1.0)
            axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xticks=[], yticks=[])
            axis.spines[:].set_visible(True)
            axis.spines[:].set_color("#d5dbe3")
            if column == 0:
                axis.set_ylabel(KEYS[list(groups)[part]])
        for place, method in enumerate(methods):
            embedding = np.asarray(results.output(TASK, dataset, method))[cells]
            places = _plane(embedding)
            block, column = divmod(place, columns)
            for part, group in enumerate(groups.values()):
                axis = panels.axes[(block * len(groups) + part) * columns + column]
                codes, n = group.codes.to_numpy()[cells], len(group.categories)
                axis.scatter(
                    *places.T, s=np.clip(2500 / len(places), 1.2, 8), linewidth=0,
                    c=np.array(colours(n), dtype=object)[codes].tolist(),
                )  # fmt: skip
                if len(OKABE_ITO) < n <= MOST_NUMBERS:
                    _numbers(axis, places, codes, n)
        down = 0.06
        for name, title in KEYS.items():
            if name in groups:
                paint = colours(len(names[name]))
                marks = [{"marker": "o", "linestyle": "", "color": c, "ms": 5} for c in paint]
                key(panels.figure, title, names[name], marks, down)
                down += heights[name]
        label = results.dataset_label(dataset)
        by = " and, below, by ".join(KEYS[name] for name in groups)
        yield Drawn(
            TASK,
            dataset,
            f"Embeddings of {label} in two dimensions (UMAP), by {by}",
            f"A UMAP of each of {len(methods)} embeddings of {len(cells)} cells of {label}, "
            f"coloured by {by}, each on the same unit square",
            panels.figure,
        )
