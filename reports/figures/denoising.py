"""What denoising does to genes: to their means and variances, and to how two of them go together."""

import numpy as np

from dgnbench.pictures import (
    AFTER,
    BEFORE,
    INK,
    Drawn,
    Grid,
    dense,
    key,
    mean_and_variance,
    methods_shown,
    primary_scores,
    some,
)  # fmt: skip
from dgnbench.transforms import log1p_cp10k

TASK = "denoising"
SEEN = 0.1  # share of cells with a count, of a gene that may be one of the pair
ROOM = 0.62  # inches below the panels


def _reference(results, dataset, methods, truth):
    """Where the pair is looked for: the noiseless mean, else the best baseline, else the best."""
    if "mean" in truth.layers:
        return truth.layers["mean"], "the noiseless means"
    scores = primary_scores(results, TASK)
    scaled = scores[scores["dataset"] == dataset].groupby("method")["scaled"].mean()
    baselines = [m for m in methods if results.role(m) == "baseline"]
    best = max(baselines or methods, key=lambda m: scaled.get(m, -np.inf))
    return results.output(TASK, dataset, best), results.label(best)


def _pair(reference, counts):
    """The two genes that go together most, of those that are seen often enough."""
    seen = np.asarray((counts > 0).mean(axis=0)).ravel()
    genes = np.flatnonzero(seen >= min(SEEN, np.sort(seen)[-min(2, len(seen))]))
    values = dense(log1p_cp10k(reference))[:, genes]
    varies = values.std(axis=0) > 1e-6
    genes, values = genes[varies], values[:, varies]
    if len(genes) < 2:
        return None
    together = np.corrcoef(values.T)
    np.fill_diagonal(together, -2)
    first, second = np.unravel_index(np.argmax(together), together.shape)
    return sorted((genes[first], genes[second]))


def _correlation(x, y):
    return np.corrcoef(x, y)[0, 1] if x.std() > 0 and y.std() > 0 else np.nan


def _mark(colour):
    return {"marker": "o", "linestyle": "", "color": colour, "ms": 5}


def _mean_variance(before, after, labels):
    everything = np.concatenate([np.stack(pair) for pair in (before, *after)], axis=1)
    everything = everything[:, (everything > 0).all(axis=0)]
    low, high = np.percentile(everything, 0.2, axis=1), everything.max(axis=1)
    panels = Grid.of(len(after), gap=(0.12, 0.45), left=0.75, top=0.7, bottom=ROOM)
    for axis, pair in zip(panels.axes, after, strict=True):
        for (mean, variance), colour in ((before, BEFORE), (pair, AFTER)):
            axis.scatter(mean, variance, s=4, linewidth=0, alpha=0.7, color=colour)
        axis.plot([1e-6, 1e6], [1e-6, 1e6], color=INK, linewidth=0.8, linestyle=":")
    panels.log_log(low, high)
    panels.titles(labels)
    panels.axis_labels("mean of a gene", "variance")
    names = ["counts before", "output", "variance = mean (Poisson)"]
    line = {"color": INK, "linestyle": ":", "linewidth": 0.8}
    key(panels.figure, "", names, [_mark(BEFORE), _mark(AFTER), line])
    return panels.figure


def _together(clouds, labels, names):
    everything = np.concatenate(clouds, axis=1)
    limits = [
        (v.min() - 0.04 * np.ptp(v) - 1e-3, v.max() + 0.1 * np.ptp(v) + 1e-3) for v in everything
    ]
    panels = Grid.of(len(clouds), gap=(0.12, 0.45), left=0.7, bottom=ROOM)
    for axis, values, label in zip(panels.axes, clouds, labels, strict=True):
        colour = {"before": BEFORE, "noiseless mean": INK}.get(label, AFTER)
        axis.scatter(*values, s=5, linewidth=0, alpha=0.6, color=colour)
        axis.text(
            0.97, 0.98, f"r = {_correlation(*values):.2f}", transform=axis.transAxes,
            ha="right", va="top", fontsize=8, bbox={"fc": "white", "ec": "none", "pad": 1, "alpha": 0.8},
        )  # fmt: skip
        axis.set(xlim=limits[0], ylim=limits[1])
    panels.outer_ticks_only()
    panels.titles(labels)
    panels.axis_labels(f"{names[0]}, log1p per 10,000", names[1])
    return panels.figure


def draw(results):
    if TASK not in results.tasks:
        return
    for dataset in results.datasets(TASK):
        methods = methods_shown(results, TASK, dataset)
        if not methods:
            continue
        counts = results.problem(TASK, dataset)["counts"]
        truth = results.solution(TASK, dataset)["truth"]
        reference, where = _reference(results, dataset, methods, truth)
        pair = _pair(reference, counts.X)
        cells = some(counts.n_obs, len(methods))

        def of_pair(matrix, cells=cells, pair=pair):
            return dense(log1p_cp10k(matrix[cells]))[:, pair].T

        genes = some(counts.n_vars, len(methods))
        moments, scatters = [], []
        for method in methods:
            output = results.output(TASK, dataset, method)
            moments.append(mean_and_variance(output[:, genes]))
            if pair:
                scatters.append(of_pair(output))
        labels = [results.label(method) for method in methods]
        label = results.dataset_label(dataset)
        yield Drawn(
            TASK,
            dataset,
            f"Mean and variance of genes of {label}, before and after denoising",
            f"Variance against mean of {len(genes)} genes of {label}: counts before (grey) and "
            f"the output of {len(methods)} methods (orange)",
            _mean_variance(mean_and_variance(counts.X[:, genes]), moments, labels),
        )
        if pair:
            names = [str(counts.var_names[i]) for i in pair]
            given = {"before": counts.X}
            if "mean" in truth.layers:
                given["noiseless mean"] = truth.layers["mean"]
            clouds = [of_pair(matrix) for matrix in given.values()] + scatters
            r = ", ".join(
                f"{m} {_correlation(*v):.2f}" for m, v in zip(labels[:8], scatters[:8], strict=True)
            )
            yield Drawn(
                TASK,
                dataset,
                f"{names[0]} and {names[1]} of {label} before and after denoising: "
                f"the two genes that go together most in {where}",
                f"Cells by two genes, before and after. Pearson correlation before "
                f"{_correlation(*clouds[0]):.2f}; after: {r}",
                _together(clouds, [*given, *labels], names),
            )
