"""Cost against quality: seconds of fitting against the scaled primary metric."""

from matplotlib import pyplot as plt


def draw(results):
    scores = results.scores[results.scores["primary"] & results.scores["scaled"].notna()]
    keys = ["task", "dataset", "replicate", "method"]
    costs = results.runs[[*keys, "seconds_fit"]]
    joined = scores.merge(costs, on=keys)
    joined = joined[~joined["role"].isin(["floor", "ceiling"])]
    for task in results.tasks:
        here = joined[joined["task"] == task].groupby("method")[["seconds_fit", "scaled"]].mean()
        if here.empty:
            continue
        figure, axis = plt.subplots(figsize=(6.5, 3.6))
        axis.scatter(here["seconds_fit"].clip(lower=0.01), here["scaled"], s=30, color="#0b5cad")
        for i, (method, row) in enumerate(here.sort_values("seconds_fit").iterrows()):
            axis.annotate(
                results.label(method),
                (max(row["seconds_fit"], 0.01), row["scaled"]),
                xytext=(5, -9 if i % 2 else 3),  # neighbours' names do not lie on each other
                textcoords="offset points",
                fontsize=8,
            )
        axis.set(xscale="log", xlabel="fit, seconds", ylabel="scaled primary metric (mean)")
        axis.margins(0.15)
        axis.grid(alpha=0.3)
        label = results.manifest["cards"]["tasks"][task]["label"]
        yield task, "Cost against quality", f"Fit seconds against scaled score, {label}", figure
