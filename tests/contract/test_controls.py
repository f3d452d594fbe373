"""Every metric of every family is topped and ended by the controls that its card names."""

import json

import pandas as pd
import pytest

from dgnbench.cards import read_house
from dgnbench.contract import CONTROLS
from dgnbench.runner import fit
from dgnbench.scoring import score
from dgnbench.tasks import all_tasks
from dgnbench.tryout import split_dataset

HOUSE = read_house()
# Data on which every control of the task runs and every metric means something.
DATASETS = {
    "integration": "simulated_batches@n_cells=600,n_genes=300",
    "denoising": "simulated_batches@n_cells=600,n_genes=300",
    "modality_prediction": "simulated_cite@n_cells=600,n_genes=300",
    "generation": "pbmc68k_reduced",
}
# Of the range between the controls: near-ties, as of two kinds of perfectly mixed batches, are no fault.
TOLERANCE = 0.05


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    """``scores(task)``: a table, a row a control and a column a metric."""
    made = {}

    def table(task):
        if task not in made:
            dataset = DATASETS.get(task)
            assert dataset, f"name a dataset for task {task} in DATASETS"
            group = tmp_path_factory.mktemp(task) / dataset / "r0"
            split_dataset(HOUSE, task, dataset, 0, group)
            cards = [c for c in HOUSE.methods.cards.values() if task in c.tasks]
            controls = [c for c in cards if c.role in CONTROLS]
            for card in controls:
                fit(
                    card, card.id, task, group / "problem", group / "solution", group / card.id,
                    seed=0, params=card.params, resources=card.resources,
                )  # fmt: skip
                assert json.loads((group / card.id / "run.json").read_text())["status"] == "ok"
            rows = pd.DataFrame(
                score(
                    task, dataset, 0, all_tasks()[task].primary,
                    list(HOUSE.metrics_of(task).values()), group, [c.id for c in controls],
                )
            )  # fmt: skip
            rows["value"] = pd.to_numeric(rows["value"])
            assert rows["value"].notna().all(), rows[rows["value"].isna()]
            made[task] = rows.pivot(index="method", columns="metric", values="value")
        return made[task]

    return table


METRICS = [
    pytest.param(family.task, metric, id=f"{family.task}-{metric.id}")
    for family in HOUSE.metrics.cards.values()
    for metric in family.metrics.values()
]


@pytest.mark.parametrize(("task", "metric"), METRICS)
def test_its_control_tops_a_metric_and_its_control_ends_it(scores, task, metric):
    values = scores(task)[metric.id] * (1 if metric.direction == "max" else -1)
    near = TOLERANCE * (values.max() - values.min())
    assert near > 0, "the controls do not separate"
    assert values[metric.top] >= values.max() - near, values.sort_values()
    assert values[metric.bottom] <= values.min() + near, values.sort_values()


@pytest.mark.parametrize(("task", "metric"), METRICS)
def test_values_of_controls_are_within_the_declared_bounds(scores, task, metric):
    low, high = metric.bounds
    values = scores(task)[metric.id]
    assert low is None or (values >= low - 1e-9).all()
    assert high is None or (values <= high + 1e-9).all()


@pytest.mark.parametrize("task", list(DATASETS))
def test_on_the_primary_metric_every_floor_is_below_every_ceiling(scores, task):
    family = next(
        f for f in HOUSE.metrics_of(task).values() if all_tasks()[task].primary in f.metrics
    )
    metric = family.metrics[all_tasks()[task].primary]
    values = scores(task)[metric.id] * (1 if metric.direction == "max" else -1)
    role = {method: HOUSE.methods[method].role for method in values.index}
    floors = [value for method, value in values.items() if role[method] == "floor"]
    ceilings = [value for method, value in values.items() if role[method] == "ceiling"]
    assert max(floors) < min(ceilings)
