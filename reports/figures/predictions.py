"""Predicted against measured values: all features, then the three best and three worst ones."""

import warnings

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from dgnbench.pictures import INK, Drawn, Grid, dense, methods_shown, short, some

SHADES = LinearSegmentedColormap.from_list("shades", ["#a9c9e6", "#0072B2", "#002b45"])
TASKS = ("modality_prediction", "rna_prediction")
SHOWN = 3  # features at either end
MOST_ROWS = 12  # methods a figure


def _pearson(truth, predicted):
    """The correlation of every column, NaN where one does not vary."""
    truth, predicted = truth - truth.mean(axis=0), predicted - predicted.mean(axis=0)
    scale = np.sqrt((truth**2).sum(axis=0) * (predicted**2).sum(axis=0))
    r = np.full(truth.shape[1], np.nan)
    return np.divide((truth * predicted).sum(axis=0), scale, out=r, where=scale > 1e-9)


def _ends(r):
    """The features of the highest and lowest median over methods, and those medians."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a feature that nobody predicts
        median = np.nanmedian(r, axis=0)
    known = np.flatnonzero(np.isfinite(median))
    ranked = known[np.argsort(-median[known], kind="stable")]
    half = min(SHOWN, len(ranked) // 2)
    best = list(ranked[: half or len(ranked)])
    return best, list(ranked[len(ranked) - half :]), median


def _limits(*values):
    low = min(np.percentile(v, 0.1) for v in values)
    high = max(np.percentile(v, 99.9) for v in values)
    room = 0.06 * (high - low) + 1e-6
    return low - room, high + room


def _figure(truth, made, labels, features, heads):
    """A row a method: all features as a density, then one panel a feature."""
    columns = 1 + len(features)
    panels = Grid.of(
        len(made) * columns, per_row=columns, widest=1.6, gap=(0.3, 0.16), left=0.95,
        bottom=0.62, top=0.55,
    )  # fmt: skip
    limits = [_limits(truth, *(m["all"] for m in made))]
    limits += [
        _limits(truth[:, f], *(m["features"][:, i] for m in made)) for i, f in enumerate(features)
    ]
    cells = some(len(truth), len(made) * len(features))
    for i, axis in enumerate(panels.axes):
        row, column = divmod(i, columns)
        low, high = limits[column]
        if column == 0:
            axis.hexbin(
                truth.ravel(), made[row]["all"].ravel(), gridsize=36, bins="log", cmap=SHADES,
                mincnt=1, linewidths=0.1, extent=(low, high, low, high),
            )  # fmt: skip
            axis.set_ylabel(short(labels[row], 20, 2), labelpad=3)
        else:
            predicted = made[row]["features"][:, column - 1]
            axis.scatter(
                truth[cells, features[column - 1]], predicted[cells], s=4, linewidth=0, alpha=0.5,
                color="#0072B2",
            )  # fmt: skip
            r = made[row]["r"][features[column - 1]]
            axis.text(
                0.04, 0.97, f"r = {r:.2f}" if np.isfinite(r) else "constant", fontsize=8,
                transform=axis.transAxes, va="top",
                bbox={"fc": "white", "ec": "none", "pad": 1, "alpha": 0.8},
            )  # fmt: skip
        axis.plot([low, high], [low, high], color="#D55E00", linewidth=0.9)
        axis.set(xlim=(low, high), ylim=(low, high))
        axis.locator_params(nbins=4)
        axis.tick_params(labelsize=7.5, labelbottom=row == len(made) - 1)
        if row == 0:
            axis.set_title(heads[column], pad=4)
    width, height = panels.figure.get_size_inches()
    panels.figure.text(
        0.95 / width, 0.2 / height, "across: measured, normalised; upwards: predicted; on the line "
        "they are equal", va="center", color=INK,
    )  # fmt: skip
    return panels.figure


def draw(results):
    for task in TASKS:
        if task in results.tasks:
            yield from _of_task(results, task)


def _of_task(results, task):
    for dataset in results.datasets(task):
        methods = methods_shown(results, task, dataset, control="mean")
        if not methods:
            continue
        part = results.solution(task, dataset)["truth"]
        truth = dense(part.X)
        r = {m: _pearson(truth, dense(results.output(task, dataset, m))) for m in methods}
        judged = [r[m] for m in methods if m != "mean"]
        best, worst, median = _ends(np.stack(judged))
        features = best + worst
        heads = ["all features"] + [
            f"{'best' if i < len(best) else 'worst'}: median r {median[f]:.2f}\n"
            f"{short(str(part.var_names[f]), 18)}"
            for i, f in enumerate(features)
        ]
        label = results.dataset_label(dataset)
        groups = [methods[i : i + MOST_ROWS] for i in range(0, len(methods), MOST_ROWS)]
        for number, group in enumerate(groups, 1):
            made = []
            for method in group:
                output = dense(results.output(task, dataset, method))
                made.append({"all": output, "features": output[:, features], "r": r[method]})
            which = f", {number} of {len(groups)}" if len(groups) > 1 else ""
            ends = ", ".join(f"{part.var_names[f]} {median[f]:.2f}" for f in features)
            yield Drawn(
                task,
                dataset,
                f"Predicted against measured values of {label}: all features, and those predicted "
                f"best and worst by the median over methods{which}",
                f"Predicted against measured values for {len(group)} methods on {label}. Features "
                f"and their median Pearson correlation: {ends}",
                _figure(truth, made, [results.label(m) for m in group], features, heads),
            )
