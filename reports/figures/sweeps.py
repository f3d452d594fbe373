"""Response curves: the mean score along every parameter of which variants were run."""

from dgnbench.pictures import INK, OKABE_ITO, Drawn, Grid
from dgnbench.plan import base_of
from dgnbench.stats import response_curves


def draw(results):
    resolved = results.manifest["config"]["resolved"]
    defaults = {base_of(name): one["params"] for name, one in resolved.items() if "@" not in name}
    table = response_curves(results.scores, defaults=defaults)
    if table.empty:
        return
    table = table[table["alone"]]
    for task in results.tasks:
        own = table[table["task"] == task]
        curves = [curve for curve in own.groupby(["method", "parameter"]) if len(curve[1]) > 1]
        if not curves:
            continue
        grid = Grid.of(len(curves), per_row=4, widest=2.5, aspect=0.75, left=0.7, bottom=0.55,
                       gap=(0.55, 0.8))  # fmt: skip
        for axis, ((_, parameter), curve) in zip(grid.axes, curves, strict=True):
            _curve(axis, parameter, curve)
        grid.titles([results.label(method) for (method, _), _ in curves])
        grid.axis_labels("", "scaled score")
        caveats = [reason for reason in dict.fromkeys(own["reason"]) if reason]
        title = "Response to parameters: mean and 95 % interval; the default has a ring" + "".join(
            f" ({reason})" for reason in caveats
        )
        yield Drawn(task, "", title, title, grid.figure)


def _curve(axis, parameter, curve):
    """One parameter: on its own axis where it is a number, else one place a word."""
    values = list(curve["value"])
    numeric = all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    )
    x = values if numeric else list(range(len(values)))
    axis.plot(x, curve["mean"], color=OKABE_ITO[0], marker="o", markersize=4)
    axis.fill_between(x, curve["lo"], curve["hi"], color=OKABE_ITO[0], alpha=0.18, linewidth=0)
    for place, mean, default in zip(x, curve["mean"], curve["default"], strict=True):
        if default:
            axis.plot(place, mean, marker="o", markersize=10, color=INK, fillstyle="none")
    if numeric and min(x) > 0 and max(x) / min(x) >= 20:
        axis.set_xscale("log")
    if not numeric:
        axis.set_xticks(x, [str(value) for value in values], rotation=30, ha="right")
    axis.set_xlabel(parameter, labelpad=1)
    axis.grid(axis="y")
