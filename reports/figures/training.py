"""Training curves: the loss parts of every method that keeps a history."""

from matplotlib import pyplot as plt


def draw(results):
    for task in results.tasks:
        for dataset in results.datasets(task):
            histories = {
                method: history
                for method in results.ok_methods(task, dataset)
                if (history := results.history(task, dataset, method)) is not None
            }
            if not histories:
                continue
            columns = min(4, len(histories))
            rows = -(-len(histories) // columns)
            figure, axes = plt.subplots(
                rows, columns, figsize=(3.2 * columns, 2.4 * rows), squeeze=False
            )
            for axis in axes.flat[len(histories) :]:
                axis.axis("off")
            for axis, (method, history) in zip(axes.flat, histories.items(), strict=False):
                for name in history.columns.drop("epoch"):
                    axis.plot(history["epoch"], history[name], label=name, linewidth=1)
                axis.set(title=results.label(method), xlabel="epoch or step")
                if history.drop(columns="epoch").min().min() > 0:
                    axis.set_yscale("log")
                axis.legend(fontsize=7, frameon=False)
            figure.tight_layout()
            label = results.dataset_label(dataset)
            yield (
                task,
                f"Training on {label}",
                f"Loss parts over epochs or steps on {label}",
                figure,
            )
