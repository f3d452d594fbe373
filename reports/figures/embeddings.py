"""UMAPs of the embeddings, once by batch and once by cell type."""

import numpy as np
import seaborn as sns
from matplotlib import pyplot as plt

from dgnbench.contract import CONTROLS

MOST_CELLS = 5000  # drawn at random beyond
SHOWN_CONTROL = "no_integration"  # what the data look like untouched


def _umap(embedding):
    from umap import UMAP

    return UMAP(random_state=0, n_jobs=1).fit_transform(embedding)


def draw(results):
    if "integration" not in results.tasks:
        return
    for dataset in results.datasets("integration"):
        methods = [
            method
            for method in results.ok_methods("integration", dataset)
            if results.role(method) not in CONTROLS or method == SHOWN_CONTROL
        ]
        if not methods:
            continue
        obs = results.solution("integration", dataset)["truth"].obs
        rng = np.random.default_rng(0)
        cells = rng.permutation(len(obs))[:MOST_CELLS]
        columns = len(methods)
        figure, axes = plt.subplots(2, columns, figsize=(2.3 * columns, 5), squeeze=False)
        for column, method in enumerate(methods):
            embedding = np.asarray(results.output("integration", dataset, method))[cells]
            x, y = _umap(embedding).T
            for axis, key in zip(axes[:, column], ("batch", "cell_type"), strict=True):
                levels = obs[key].cat.categories
                colours = sns.color_palette("husl" if len(levels) > 10 else "tab10", len(levels))
                axis.scatter(
                    x, y, s=max(0.5, 3000 / len(x)), linewidth=0, rasterized=True,
                    c=np.array(colours)[obs[key].cat.codes.to_numpy()[cells]],
                )  # fmt: skip
                axis.set(xticks=[], yticks=[])
                axis.spines[:].set_visible(False)
                if column == columns - 1:
                    handles = [
                        plt.Line2D([], [], marker="o", linestyle="", color=colour, label=level)
                        for colour, level in zip(colours, levels, strict=True)
                    ]
                    axis.legend(
                        handles=handles[:25], title=key.replace("_", " "), fontsize=7, frameon=False,
                        loc="center left", bbox_to_anchor=(1, 0.5), markerscale=0.6,
                    )  # fmt: skip
            axes[0, column].set_title(results.label(method), fontsize=9)
        figure.tight_layout()
        label = results.dataset_label(dataset)
        title = f"UMAP of the embeddings of {label}, above by batch, below by cell type"
        yield "integration", title, title, figure
