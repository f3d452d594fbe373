"""Generated beside real cells: where they lie, how genes are distributed, which cell types there are."""

import numpy as np

from dgnbench.pictures import (
    AFTER,
    BEFORE,
    INK,
    PAGE,
    Drawn,
    Grid,
    dense,
    key,
    mean_and_variance,
    methods_shown,
    short,
    short_apart,
    some,
)  # fmt: skip
from dgnbench.transforms import library_size, log1p_cp10k, principal_components

TASK = "generation"
CONTROL = "other_half"  # real against real: how well anything could do
COMPONENTS, NEIGHBOURS = 20, 15
MOST_TYPES = 20
KEY, BELOW = 0.3, 0.62  # inches above and below the panels
REAL, MADE = "real, held out", "generated"


def _mark(colour):
    return {"marker": "o", "linestyle": "", "color": colour, "ms": 5}


def _bars(colour):
    return {"marker": "s", "linestyle": "", "color": colour, "ms": 6}


def _genes(real):
    """Three genes that vary: of high, of middle and of low mean."""
    mean, variance = mean_and_variance(real)
    varying = np.flatnonzero(variance > 0)
    ranked = varying[np.argsort(mean[varying], kind="stable")]
    places = [round(q * (len(ranked) - 1)) for q in (0.98, 0.75, 0.4)]
    return list(dict.fromkeys(ranked[places])) if len(ranked) else []


def _marginals(cells, genes):
    """log1p of the genes' counts and of the library size."""
    columns = [dense(cells[:, [g]]).ravel() for g in genes] + [library_size(cells)]
    return [np.log1p(c) for c in columns]


class _Space:
    """Principal components of real cells, and which cell type lies nearest there."""

    def __init__(self, train, types):
        from sklearn.neighbors import KNeighborsClassifier

        self.pca = principal_components(dense(log1p_cp10k(train)), COMPONENTS, seed=0)
        self.nearest = None
        if types is not None:
            k = min(NEIGHBOURS, len(types))
            self.nearest = KNeighborsClassifier(k).fit(self.place(train), types)

    def place(self, cells):
        return self.pca.transform(dense(log1p_cp10k(cells)))

    def shares(self, places, types):
        found = self.nearest.predict(places)
        return np.array([(found == t).mean() for t in types])


def _where(real, made, labels):
    everything = np.concatenate([real, *made])
    low, high = np.percentile(everything, 0.2, axis=0), np.percentile(everything, 99.8, axis=0)
    room = 0.08 * (high - low) + 1e-6
    panels = Grid.of(len(made), top=0.4 + KEY, bottom=0.35)
    for axis, places in zip(panels.axes, made, strict=True):
        axis.scatter(*real.T, s=5, linewidth=0, alpha=0.7, color=BEFORE)
        axis.scatter(*places.T, s=5, linewidth=0, alpha=0.6, color=AFTER)
        axis.set(
            xticks=[], yticks=[],
            xlim=(low[0] - room[0], high[0] + room[0]), ylim=(low[1] - room[1], high[1] + room[1]),
        )  # fmt: skip
        axis.spines[:].set_visible(True)
        axis.spines[:].set_color("#d5dbe3")
    panels.titles(labels)
    width, height = panels.figure.get_size_inches()
    panels.figure.text(
        0.12 / width, 0.17 / height,
        "across: first, upwards: second principal component of the real cells", va="center",
    )  # fmt: skip
    key(panels.figure, "", [REAL, MADE], [_mark(BEFORE), _mark(AFTER)])
    return panels.figure


def _distributions(real, made, labels, heads):
    """A row a method: real as filled, generated as a line, on the same bins."""
    columns = len(heads)
    panels = Grid.of(
        len(made) * columns, per_row=columns, widest=2.2, aspect=0.2, gap=(0.26, 0.09), left=2.3,
        top=0.5 + KEY, bottom=BELOW, together=len(made),
    )  # fmt: skip
    rows = short_apart(labels, 32, 2)
    for i, axis in enumerate(panels.axes):
        row, column = divmod(i, columns)
        values = [real[column], *(m[column] for m in made)]
        low, high = min(v.min() for v in values), max(np.percentile(v, 99.9) for v in values)
        edges = np.linspace(low, max(high, low + 1e-6), 31)
        shown = [
            np.histogram(np.clip(v, edges[0], edges[-1]), edges)[0] / len(v)
            for v in (real[column], made[row][column])
        ]
        axis.stairs(shown[0], edges, fill=True, color=BEFORE, alpha=0.7, linewidth=0)
        axis.stairs(shown[1], edges, color=AFTER, linewidth=1.1)
        axis.set(yticks=[], xlim=(edges[0], edges[-1]), ylim=(0, 1.05 * np.max(shown)))
        axis.spines["left"].set_visible(False)
        axis.tick_params(labelbottom=row == len(made) - 1, length=2)
        if column == 0:
            axis.set_ylabel(rows[row], rotation=0, ha="right", va="center", fontsize=8.5)
        if row == 0:
            axis.set_title(heads[column], pad=5)
    panels.axis_labels("log(1 + count), every row from 0 to its own highest bar", "")
    key(panels.figure, "", [REAL, MADE], [_bars(BEFORE), {"color": AFTER}])
    return panels.figure


def _coverage(real, made, labels, types):
    order = np.argsort(-real, kind="stable")
    names = [short(str(types[i]), 24) for i in order[:MOST_TYPES]]
    if len(types) > MOST_TYPES:
        names.append(f"{len(types) - MOST_TYPES} others")

    def gathered(shares):
        first = shares[order[:MOST_TYPES]]
        return (
            np.append(first, shares[order[MOST_TYPES:]].sum()) if len(types) > len(first) else first
        )

    left = 0.3 + 0.075 * max(len(n) for n in names)
    per_row = 6 if left < 1.6 else 5
    widest = 2.0
    rows = -(-len(made) // per_row)
    wide = min(widest, (PAGE - left - 0.15) / -(-len(made) // rows) - 0.14)
    panels = Grid.of(
        len(made), per_row=per_row, widest=widest, gap=(0.14, 0.55), left=left, bottom=BELOW,
        top=0.4 + KEY, aspect=(0.16 * len(names) + 0.1) / wide,
    )  # fmt: skip
    reach = 1.06 * max(real.max(), *(m.max() for m in made))
    for i, (axis, shares) in enumerate(zip(panels.axes, made, strict=True)):
        rows_at = np.arange(len(names))
        axis.barh(rows_at, gathered(shares), height=0.62, color=AFTER, alpha=0.8)
        axis.plot(
            gathered(real),
            rows_at,
            linestyle="",
            marker="|",
            color=INK,
            ms=9,
            mew=1.8,
            clip_on=False,
        )
        axis.set(ylim=(len(names) - 0.4, -0.6), xlim=(0, reach), yticks=rows_at)
        axis.set_yticklabels(names if i % panels.columns == 0 else [])
        axis.locator_params(axis="x", nbins=4)
        axis.xaxis.set_major_formatter(lambda x, _: f"{100 * x:.3g} %")
        axis.tick_params(labelbottom=i + panels.columns >= len(made), labelsize=7.5)
        axis.tick_params(axis="y", length=0)
        axis.grid(axis="x")
    panels.titles(labels)
    panels.axis_labels("share of cells", "")
    marks = [{"marker": "|", "color": INK, "mew": 1.8, "linestyle": "", "ms": 9}, _bars(AFTER)]
    key(panels.figure, "", [REAL, MADE], marks)
    return panels.figure


def _spread(real, made, labels):
    everything = np.concatenate([np.stack(pair) for pair in (real, *made)], axis=1)
    everything = everything[:, (everything > 0).all(axis=0)]
    low, high = everything.min(axis=1), everything.max(axis=1)
    panels = Grid.of(len(made), gap=(0.12, 0.45), left=0.75, top=0.4 + KEY, bottom=BELOW)
    for axis, pair in zip(panels.axes, made, strict=True):
        axis.scatter(*real, s=4, linewidth=0, alpha=0.7, color=BEFORE)
        axis.scatter(*pair, s=4, linewidth=0, alpha=0.7, color=AFTER)
    panels.log_log(low, high)
    panels.titles(labels)
    panels.axis_labels("mean count of a gene", "variance")
    key(panels.figure, "", [REAL, MADE], [_mark(BEFORE), _mark(AFTER)])
    return panels.figure


def draw(results):
    if TASK not in results.tasks:
        return
    for dataset in results.datasets(TASK):
        methods = methods_shown(results, TASK, dataset, control=CONTROL)
        if not methods:
            continue
        solution = results.solution(TASK, dataset)
        real, train = solution["truth"].X, solution["train"]
        known = "cell_type" in train.obs
        space = _Space(train.X, train.obs["cell_type"].to_numpy().astype(str) if known else None)
        types = sorted(set(train.obs["cell_type"].astype(str))) if known else []
        genes = _genes(real)
        cells = some(real.shape[0], 2 * len(methods))
        drawn = some(real.shape[1], 2 * len(methods))
        where, marginals, moments, shares = [], [], [], []
        for method in methods:
            output = results.output(TASK, dataset, method)
            places = space.place(output)
            where.append(places[some(len(places), 2 * len(methods)), :2])
            marginals.append(_marginals(output, genes))
            moments.append(mean_and_variance(output[:, drawn]))
            if known:
                shares.append(space.shares(places, types))
        labels = [results.label(method) for method in methods]
        label = results.dataset_label(dataset)
        places = space.place(real)
        if places.shape[1] > 1:
            yield Drawn(
                TASK,
                dataset,
                f"Where the generated cells of {label} lie among real ones",
                f"Generated on held-out real cells of {label}, two principal components, for "
                + ", ".join(labels),
                _where(places[cells, :2], where, labels),
            )
        names = solution["truth"].var_names
        heads = [
            f"{short(str(names[g]), 18)}\n({word} mean)"
            for g, word in zip(genes, ("high", "middle", "low"), strict=False)
        ] + ["counts a cell\n(library size)"]
        yield Drawn(
            TASK,
            dataset,
            f"Distributions of three genes and of the library size, generated and real, {label}",
            f"Histograms of {', '.join(str(names[g]) for g in genes)} and of the library size of "
            f"{label}, real and generated by {len(methods)} methods",
            _distributions(_marginals(real, genes), marginals, labels, heads),
        )
        if known:
            yield Drawn(
                TASK,
                dataset,
                f"Share of cells by the cell type they lie nearest to, {label}. The real held-out "
                "cells are placed by the same rule",
                f"Bars: share of generated cells nearest to each of {len(types)} cell types of "
                f"{label}; ticks: share of real cells; for {len(methods)} methods",
                _coverage(space.shares(places, types), shares, labels, types),
            )
        yield Drawn(
            TASK,
            dataset,
            f"Mean and variance of genes, generated and real, {label}",
            f"Variance against mean of genes in generated and real cells of {label}",
            _spread(mean_and_variance(real[:, drawn]), moments, labels),
        )
