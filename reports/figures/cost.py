"""What quality costs: the scaled primary score against time, memory and parameters."""

from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.ticker import LogLocator, NullFormatter

from dgnbench.contract import CONTROLS
from dgnbench.pictures import GREY, INK, Drawn, Grid, key, key_size, primary_scores, short_apart
from dgnbench.stats import aggregate

COSTS = {
    "seconds": "fit and predict, seconds",
    "peak_rss_mb": "peak memory, MB",
    "peak_gpu_mb": "peak GPU memory, MB",
    "parameters": "parameters",
}
SUMMARY = {"seconds": "median", "peak_rss_mb": "max", "peak_gpu_mb": "max", "parameters": "max"}
ALL_NAMED = 8  # with so few methods every point carries its name
VIEW = (-0.5, 1.5)  # of the scale; what lies beyond stands on the edge as a triangle
LOOKS = {
    "method": {"marker": "o", "color": "#0072B2"},
    "baseline": {"marker": "D", "color": "#E69F00"},
}
DIRECTIONS = [(1, 0), (1, 1), (1, -1), (-1, 0), (-1, 1), (-1, -1), (0, 1), (0, -1)]


def _table(results, task):
    """A row a method: quality as in the tables, costs, and whether every run has a score."""
    runs = results.runs[(results.runs["task"] == task) & ~results.runs["role"].isin(CONTROLS)]
    scores = primary_scores(results, task)
    ok = runs[runs["status"] == "ok"].assign(
        seconds=lambda r: r["seconds_fit"].fillna(0) + r["seconds_predict"].fillna(0)
        if "seconds_predict" in r else r["seconds_fit"]
    )  # fmt: skip
    columns = {
        name: pd.to_numeric(ok[name], errors="coerce").groupby(ok["method"]).agg(SUMMARY[name])
        for name in COSTS
        if name in ok
    }
    means = aggregate(results.scores[results.scores["task"] == task], "floor")
    quality = means.set_index("method")["mean"]
    n = scores.groupby("method").size()
    table = pd.DataFrame({"quality": quality[quality.index.isin(n.index)], "n": n, **columns})
    table = table.join(runs.groupby("method")[["role", "uses_labels"]].first(), how="inner")
    table["uses_labels"] = table["uses_labels"].astype(str) == "True"
    scored = scores.groupby(["dataset", "replicate"]).ngroups
    table["complete"] = table["n"] >= scored
    return table.dropna(subset=["quality"]).sort_values("quality", ascending=False)


def _front(table, cost):
    """Methods that no other beats in both; those that use labels are not compared."""
    best, front = -np.inf, []
    fair = table[~table["uses_labels"]]
    for method, row in fair.sort_values([cost, "quality"], ascending=[True, False]).iterrows():
        if row["quality"] > best:
            front.append(method)
            best = row["quality"]
    return front


def _stairs(x, y, end):
    """The corners of a line that goes right, then up, and on to the end."""
    if not len(x):
        return np.empty((0, 2))
    across = np.append(np.repeat(x, 2)[1:], end)
    return np.column_stack([across, np.repeat(y, 2)])


def _place(axis, points, texts, line, renderer):
    """Write each text beside its point, where it lies on no other text, mark or edge."""
    frame = axis.get_window_extent(renderer)
    at = axis.transData.transform(points)
    scale = axis.figure.dpi / 72
    taken = [(x - 4 * scale, y - 4 * scale, x + 4 * scale, y + 4 * scale) for x, y in at]
    corners = axis.transData.transform(line)
    for begin, end in pairwise(corners):
        taken.append((*(np.minimum(begin, end) - scale), *(np.maximum(begin, end) + scale)))
    for place, text, strong in texts:
        note = axis.annotate(
            text, points[place], xytext=(0, 0), textcoords="offset points", color=INK,
            fontsize=8.5 if strong else 7.5, zorder=4, va="bottom",
        )  # fmt: skip
        box = note.get_window_extent(renderer)
        wide, high = box.width, box.height
        found = []
        for far in (6, 11, 18, 27, 38, 52):
            for dx, dy in DIRECTIONS:
                step = far * scale / np.hypot(dx, dy)
                x = at[place][0] + dx * step - (wide if dx < 0 else wide / 2 if dx == 0 else 0)
                y = at[place][1] + dy * step - high / 2 + dy * high / 4
                mine = (x, y, x + wide, y + high)
                hidden = sum(
                    max(0, min(mine[2], b[2]) - max(mine[0], b[0]))
                    * max(0, min(mine[3], b[3]) - max(mine[1], b[1]))
                    for b in taken
                )
                out = max(0, frame.x0 - x) + max(0, mine[2] - frame.x1)
                out += max(0, frame.y0 - y) + max(0, mine[3] - frame.y1)
                found.append((hidden + 50 * out, far, mine))
                if hidden + out == 0:
                    break
            else:
                continue
            break
        _, far, mine = min(found, key=lambda f: (f[0], f[1]))
        note.set_position(((mine[0] - at[place][0]) / scale, (mine[1] - at[place][1]) / scale))
        if far > 11:  # a thin line back to the point
            middle = ((mine[0] + mine[2]) / 2, (mine[1] + mine[3]) / 2)
            near = np.clip(at[place], mine[:2], mine[2:])
            end = near if (near != at[place]).any() else middle
            axis.plot(
                *axis.transData.inverted().transform([at[place], end]).T, color=GREY, linewidth=0.7,
                zorder=1.5,
            )  # fmt: skip
        taken.append(mine)


def _panel(axis, table, cost, names, numbers, limits):
    shown = table[table[cost].notna() & (table[cost] > 0 if cost != "seconds" else True)]
    shown = shown.assign(**{cost: shown[cost].clip(lower=0.01)})
    low, high = limits
    y = shown["quality"].clip(low, high)
    front = _front(shown, cost)
    for role, look in LOOKS.items():
        for labels in (False, True):
            own = (shown["role"] == role) & (shown["uses_labels"] == labels)
            axis.scatter(
                shown[cost][own], y[own], marker=look["marker"], s=34, zorder=3, linewidth=1.3,
                facecolor="white" if labels else look["color"], edgecolor=look["color"],
            )  # fmt: skip
    beyond = (shown["quality"] < low) | (shown["quality"] > high)
    for method in shown.index[beyond]:
        under = shown["quality"][method] < low
        axis.plot(
            shown[cost][method], y[method], "v" if under else "^", color=INK, ms=4, zorder=3.5
        )
    decades = np.log10(shown[cost].max()) - np.log10(shown[cost].min())
    room = 0.12 * decades + 0.08
    axis.set(
        xscale="log", xlabel=COSTS[cost],
        xlim=(shown[cost].min() / 10**room, shown[cost].max() * 10 ** (room + 0.05)),
    )  # fmt: skip
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2 else (1,)))
    axis.xaxis.set_major_formatter(lambda x, _: f"{x:,.3g}" if x < 1000 else f"{x:,.0f}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.grid()
    line = _stairs(shown[cost][front].to_numpy(), y[front].to_numpy(), axis.get_xlim()[1])
    axis.plot(*line.T, color=GREY, linewidth=1.4, zorder=1)
    points = np.column_stack([shown[cost], y])
    named = set(shown.index) if numbers is None else {*front, *shown.index[:1]}
    order = sorted(range(len(shown)), key=lambda i: shown.index[i] not in named)
    texts = [
        (i, names[m], True) if (m := shown.index[i]) in named else (i, str(numbers[m]), False)
        for i in order
    ]
    return points, texts, line


def _figure(results, table, costs):
    numbers = None if len(table) <= ALL_NAMED else {m: i for i, m in enumerate(table.index, 1)}
    labels = short_apart([results.label(m) for m in table.index], 24)
    names = {
        m: label + ("" if table["complete"][m] else "*")
        for m, label in zip(table.index, labels, strict=True)
    }
    width = 11.2
    words = {"method": "method", "baseline": "baseline"}
    words |= {"labels": "uses labels, outside the front"} if table["uses_labels"].any() else {}
    words |= {"front": "no method is better for less"}
    listed = [f"{n}  {names[m]}" for m, n in numbers.items()] if numbers else []
    notes = [] if table["complete"].all() else ["* no score on some datasets or replicates"]
    first, second = key_size(list(words.values()), width)[1], key_size(listed, width)[1]
    second = second + 0.2 * len(notes) if listed else 0.2 * len(notes)
    columns = min(2, len(costs))
    panels = Grid.of(
        len(costs), per_row=columns, widest=5.1 if columns > 1 else 6.5, aspect=0.62,
        gap=(0.6, 0.6), left=0.65, top=first + 0.1, bottom=0.6 + second, least=width,
    )  # fmt: skip
    quality = table["quality"]
    limits = max(VIEW[0], quality.min()), min(VIEW[1], quality.max())
    reach = max(limits[1] - limits[0], 0.02)
    todo = []
    for i, (axis, cost) in enumerate(zip(panels.axes, costs, strict=True)):
        axis.set_ylim(limits[0] - 0.12 * reach, limits[1] + 0.16 * reach)
        todo.append((axis, *_panel(axis, table, cost, names, numbers, limits)))
        if i % columns == 0:
            axis.set_ylabel("scaled primary score, mean")
    renderer = FigureCanvasAgg(panels.figure).get_renderer()
    for axis, points, texts, line in todo:
        _place(axis, points, texts, line, renderer)
    looks = {
        **{role: {**look, "linestyle": "", "ms": 6} for role, look in LOOKS.items()},
        "labels": {"marker": "o", "mfc": "white", "color": INK, "linestyle": "", "ms": 6},
        "front": {"color": GREY, "linewidth": 1.6},
    }
    key(panels.figure, "", list(words.values()), [looks[w] for w in words])
    height = panels.figure.get_size_inches()[1]
    if listed:
        marks = [{**looks[table["role"][m]], "ms": 4.5} for m in table.index]
        key(panels.figure, "", listed, marks, height - second)
    if notes:
        panels.figure.text(0.12 / width, 0.13 / height, notes[0], fontsize=8.5, va="center")
    return panels.figure


def draw(results):
    for task in results.tasks:
        table = _table(results, task)
        costs = [c for c in COSTS if c in table and (table[c] > 0).any()]
        if table.empty or not costs:
            continue
        fronts = {c: _front(table[table[c] > 0], c) for c in costs}
        said = "; ".join(
            f"{COSTS[c]}: {', '.join(results.label(m) for m in front)}"
            for c, front in fronts.items()
        )
        label = results.manifest["cards"]["tasks"][task]["label"]
        yield Drawn(
            task,
            "",
            f"{label}: quality (a missing score counts 0) against cost",
            f"Mean scaled primary score of {len(table)} methods against their costs. Not beaten "
            f"for less: {said}",
            _figure(results, table, costs),
        )
