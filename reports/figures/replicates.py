"""Every score of a task's primary metric: rows are methods, points are replicates."""

from matplotlib.figure import Figure

from dgnbench.pictures import (
    GREY,
    INK,
    Drawn,
    colours,
    is_control,
    key,
    key_size,
    primary_scores,
    short_apart,
)  # fmt: skip

ROW = 0.24  # inches
LEFT, RIGHT = 2.9, 0.3
VIEW = (-0.5, 1.5)  # of the scale; what lies beyond stands on the edge with its number
MARKS = {"baseline": "D"}


def _row(axis, place, scores, paint, role):
    """The points of one method, datasets a little below each other, and their mean as a tick."""
    datasets = list(paint)
    low, high = axis.get_xlim()
    for dataset, own in scores.groupby("dataset"):
        step = (datasets.index(dataset) + 0.5) / len(datasets) - 0.5
        colour = GREY if is_control(role) else paint[dataset]
        inside = own[own["scaled"].between(low, high)]["scaled"]
        axis.plot(
            inside, [place + 0.55 * step] * len(inside), MARKS.get(role, "o"), color=colour,
            ms=4 if role == "baseline" else 4.6, mec="white", mew=0.4,
        )  # fmt: skip
        for beyond in own[~own["scaled"].between(low, high)]["scaled"]:
            left = beyond < low
            axis.plot(low if left else high, place + 0.55 * step, "<" if left else ">",
                      color=colour, ms=5, clip_on=False)  # fmt: skip
    mean = scores["scaled"].mean()
    if low <= mean <= high:
        axis.plot([mean, mean], [place - 0.42, place + 0.42], color=INK, linewidth=1.8)
    else:
        axis.annotate(
            f"mean {mean:.3g}", (low if mean < low else high, place), fontsize=7.5, va="center",
            xytext=(9 if mean < low else -9, 0), textcoords="offset points", color=INK,
            ha="left" if mean < low else "right",
        )  # fmt: skip


def draw(results):
    for task in results.tasks:
        scores = primary_scores(results, task)
        if scores.empty:
            continue
        runs = results.runs[results.runs["task"] == task].drop_duplicates("method")
        roles = dict(zip(runs["method"], runs["role"], strict=True))
        means = scores.groupby("method")["scaled"].mean()
        ranked = sorted(roles, key=lambda m: -means.get(m, float("-inf")))
        datasets = [d for d in results.datasets(task) if (scores["dataset"] == d).any()]
        paint = dict(zip(datasets, colours(len(datasets)), strict=True))
        labels = [results.dataset_label(d) for d in datasets]
        names = [*labels, "control", "mean", "method", "baseline"]
        width = 10.2
        legend = key_size(names, width)[1]
        height = 0.15 + ROW * len(ranked) + 0.5 + legend
        figure = Figure(figsize=(width, height))
        axis = figure.add_axes(
            (LEFT / width, 0.5 / height, 1 - (LEFT + RIGHT) / width,
             ROW * len(ranked) / height)
        )  # fmt: skip
        low, high = scores["scaled"].min(), scores["scaled"].max()
        axis.set(
            xlim=(max(VIEW[0], min(0, low)) - 0.03, min(VIEW[1], max(1, high)) + 0.03),
            ylim=(len(ranked) - 0.5, -0.5), yticks=range(len(ranked)),
            yticklabels=short_apart([results.label(m) for m in ranked], 40),
            xlabel=f"{results.metrics[task][results.primary(task)]['label']}, scaled: "
            "0 is the worst control, 1 the best",
        )  # fmt: skip
        axis.grid(axis="x")
        axis.tick_params(axis="y", length=0)
        for end in (0, 1):
            axis.axvline(end, color=GREY, linewidth=1, linestyle="--", zorder=0.8)
        for place, (method, text) in enumerate(zip(ranked, axis.get_yticklabels(), strict=True)):
            if is_control(roles[method]):
                axis.axhspan(place - 0.5, place + 0.5, color="#eef1f4", linewidth=0, zorder=0.5)
                text.set(color="#5a6675", style="italic")
            own = scores[scores["method"] == method]
            if own.empty:
                axis.text(0.01, place, "no score", transform=axis.get_yaxis_transform(),
                          color="#5a6675", fontsize=8, va="center", style="italic")  # fmt: skip
            else:
                _row(axis, place, own, paint, roles[method])
        point = {"linestyle": "", "ms": 5}
        marks = [{"marker": "s", "color": c, **point} for c in [*paint.values(), GREY]]
        marks += [{"marker": "|", "color": INK, "mew": 1.8, "linestyle": "", "ms": 9}]
        marks += [{"marker": m, "color": INK, "mfc": "white", **point} for m in ("o", "D")]
        key(figure, "", names, marks)
        label = results.manifest["cards"]["tasks"][task]["label"]
        best = [m for m in ranked if m in means and not is_control(roles[m])]
        yield Drawn(
            task,
            "",
            f"{label}: every dataset's and replicate's score; a tick is the mean of those there are",
            f"Scaled primary scores of {len(ranked)} methods on {len(datasets)} datasets. "
            + (
                f"Highest mean of those there are: {results.label(best[0])}, {means[best[0]]:.2f}"
                if best
                else ""
            ),
            figure,
        )
