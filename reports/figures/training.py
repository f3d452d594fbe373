"""Training: the loss parts of every method that keeps a history."""

import numpy as np

from dgnbench.pictures import OKABE_ITO, Drawn, Grid, key, key_size

MOST = 12  # methods a figure
MOST_POINTS = 200  # of a curve; more cannot be told apart in a panel
LINES = ("-", "--", ":", "-.")


def _looks(names):
    """One colour and line for each part of a loss, the same in every panel."""
    dark = OKABE_ITO[:7]  # yellow is no colour for a thin line
    return {
        name: {"color": dark[i % len(dark)], "linestyle": LINES[i // len(dark) % len(LINES)]}
        for i, name in enumerate(names)
    }


def _figure(results, histories):
    names = list(dict.fromkeys(n for h in histories.values() for n in h.columns.drop("epoch")))
    looks = _looks(names)
    rows = -(-len(histories) // 4)
    width = min(11.2, 0.6 + 2.7 * -(-len(histories) // rows))
    legend = key_size(names, max(5.5, width))[1]
    panels = Grid.of(
        len(histories), per_row=4, widest=2.6, aspect=0.66, gap=(0.55, 0.55), left=0.6,
        top=legend + 0.4, bottom=0.6,
    )  # fmt: skip
    for axis, history in zip(panels.axes, histories.values(), strict=True):
        history = history.iloc[:: max(1, len(history) // MOST_POINTS)]
        values = history.drop(columns="epoch").apply(lambda x: x.where(np.isfinite(x)))
        for name in values:
            known = values[name].notna()
            axis.plot(
                history["epoch"][known], values[name][known], **looks[name],
                marker="." if known.sum() == 1 else None,
            )  # fmt: skip
        low, high = (
            np.nanmin(values.to_numpy(), initial=np.inf),
            np.nanmax(values.to_numpy(), initial=-np.inf),
        )
        if 0 < low < high / 5:
            axis.set_yscale("log")
        axis.grid(axis="y")
    panels.titles([results.label(m) for m in histories])
    w, h = panels.figure.get_size_inches()
    panels.figure.text(0.6 / w, 0.17 / h, "epoch or step", va="center")
    key(panels.figure, "", names, [{"linewidth": 1.8, **looks[n]} for n in names])
    return panels.figure


def draw(results):
    for task in results.tasks:
        for dataset in results.datasets(task):
            histories = {
                method: history
                for method in results.ok_methods(task, dataset)
                if (history := results.history(task, dataset, method)) is not None
                and len(history)
                and len(history.columns) > 1
            }
            label = results.dataset_label(dataset)
            methods = list(histories)
            groups = [methods[i : i + MOST] for i in range(0, len(methods), MOST)]
            for number, group in enumerate(groups, 1):
                which = f", {number} of {len(groups)}" if len(groups) > 1 else ""
                yield Drawn(
                    task,
                    dataset,
                    f"Training on {label}: parts of the losses{which}",
                    f"Loss parts over epochs or steps on {label} of "
                    + ", ".join(results.label(m) for m in group),
                    _figure(results, {m: histories[m] for m in group}),
                )
