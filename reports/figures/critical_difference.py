"""Critical-difference diagrams: mean ranks over datasets, bars join what is not told apart."""

from matplotlib.figure import Figure

from dgnbench.pictures import INK, PAGE, Drawn, short
from dgnbench.stats import critical_differences

LINE = 0.2  # inches a method


def draw(results):
    for found in critical_differences(results.scores):
        if not found.enough:
            continue
        k = len(found.ranks)
        half = -(-k // 2)
        bars = 0.14 * len(found.groups)
        height = 1.05 + bars + LINE * half
        figure = Figure(figsize=(min(PAGE, 9), height))
        axis = figure.add_axes((0.26, 0, 0.48, 1))
        axis.set(xlim=(1, k), ylim=(-height + 0.6, 0.6))
        axis.axis("off")
        axis.plot([1, k], [0, 0], color=INK, linewidth=1)
        for rank in range(1, k + 1) if k <= 20 else range(1, k + 1, 5):
            axis.plot([rank, rank], [0, 0.06], color=INK, linewidth=1)
            axis.text(rank, 0.09, str(rank), ha="center", va="bottom", fontsize=8)
        width = found.critical_difference
        axis.plot([1, min(1 + width, k)], [0.36, 0.36], color=INK, linewidth=2)
        axis.text(1, 0.4, f"critical difference {width:.2f}", va="bottom", fontsize=8)
        for i, (method, rank) in enumerate(found.ranks.items()):
            best = i < half
            y = -(0.25 + bars) - LINE * (i if best else k - 1 - i)
            edge = 1 if best else k
            axis.plot([rank, rank, edge], [0, y, y], color="#9aa3ad", linewidth=0.8, clip_on=False)
            label = f"{short(results.label(method), 30)}  {rank:.2f}"
            axis.annotate(
                label, (edge, y), xytext=(-4 if best else 4, 0), textcoords="offset points",
                ha="right" if best else "left", va="center", fontsize=8.5,
            )  # fmt: skip
        for i, group in enumerate(found.groups):
            ranks = [found.ranks[method] for method in group]
            y = -0.14 * (i + 1)
            axis.plot(
                [min(ranks) - 0.05, max(ranks) + 0.05], [y, y], color="#0072B2", linewidth=4,
                solid_capstyle="butt",
            )  # fmt: skip
        among = ", methods that are given cell types" if found.uses_labels else ""
        title = (
            f"Mean ranks over {found.n_datasets} datasets (left is best){among}; methods joined by a bar "
            "are not told apart"
        )
        words = "; ".join(f"{results.label(m)} {rank:.2f}" for m, rank in found.ranks.items())
        yield Drawn(found.task, "", title, f"Critical-difference diagram: {words}", figure)
