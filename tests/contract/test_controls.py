"""On data of every kind, every metric is topped and ended by controls that its card names."""

import importlib.util
import math

import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from dgnbench.contract import CONTROLS, Declined, check_output
from dgnbench.plan import make_plan
from dgnbench.scoring import evaluate, keep_compilations, load_metrics, without_tensorflow
from dgnbench.shared import Shared
from dgnbench.storage import read_parts
from dgnbench.tasks import all_tasks
from dgnbench.tryout import split_dataset

MULTIMODAL = [
    "modality_prediction", "rna_prediction", "modality_matching", "joint_embedding", "mosaic_embedding",
]  # fmt: skip
PLAN = make_plan(
    {
        "benchmark": "controls", "smoke": True, "tasks": "all", "methods": "all",
        "datasets": {
            "pbmc68k_reduced": None,
            "simulated_batches@n_cells=800@n_genes=300": None,
            "simulated_cite@n_cells=600@n_genes=300": {"tasks": MULTIMODAL},
            "simulated_cycle@n_cells=600@n_genes=200@n_peaks=500": {"tasks": MULTIMODAL},
        },
    },
    "controls",
)  # fmt: skip
HOUSE = PLAN.house
TASKS = all_tasks()
DATASETS = {
    task: list(dict.fromkeys(dataset for of, dataset, _ in PLAN.groups if of == task))
    for task in TASKS
}
ROUNDING = 1e-6  # of the range of the controls; two that are equal up to noise are both named
APART = 0.2  # of that range, at least, between the named best and the named worst


def answer(card, task, problem, solution):
    """What a control gives; called here, since fifty starts of a process would take minutes."""
    spec = importlib.util.spec_from_file_location(f"control_{card.id}", card.folder / "method.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    keywords = dict(card.params)
    if card.role == "ceiling":
        keywords["solution"] = {name: part.copy() for name, part in solution.items()}
    parts = [problem[part].copy() for part in TASKS[task].parts]
    return check_output(TASKS[task], problem, getattr(module, task)(*parts, seed=0, **keywords))


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    """``scores(task, dataset)``: a table, a row a control and a column a metric."""
    made = {}

    def score(task, dataset):
        group = tmp_path_factory.mktemp(task)
        split_dataset(HOUSE, task, dataset, 0, group)
        problem, solution = read_parts(group / "problem"), read_parts(group / "solution")
        families = HOUSE.metrics_of(task).values()
        functions = {family.id: load_metrics(family) for family in families}
        memo, table = {}, {}
        for card in HOUSE.methods.cards.values():
            if task not in card.tasks or card.role not in CONTROLS:
                continue
            try:
                output = answer(card, task, problem, solution)
            except Declined:
                continue
            shared = Shared(memo)
            for family in families:
                for name in family.metrics:
                    function = getattr(functions[family.id], name)
                    value, status, reason = evaluate(function, solution, output, shared)
                    assert status in ("ok", "not_applicable"), f"{card.id}: {name}: {reason}"
                    table[card.id, name] = value
        return pd.Series(table).unstack()

    def kept(task, dataset):
        if (task, dataset) not in made:
            made[task, dataset] = score(task, dataset)
        return made[task, dataset]

    keep_compilations()
    with without_tensorflow(), threadpool_limits(1):  # small matrices: threads would only wait
        yield kept


METRICS = [
    pytest.param(task, metric, id=f"{task}-{metric.id}")
    for family in HOUSE.metrics.cards.values()
    for task in family.tasks
    for metric in family.metrics.values()
]


def applied(scores, task, metric):
    """The values of the controls, larger is better, by dataset on which the metric has a meaning."""
    sign = 1 if metric.direction == "max" else -1
    columns = {
        dataset: sign * scores(task, dataset)[metric.id].dropna() for dataset in DATASETS[task]
    }
    return {dataset: values for dataset, values in columns.items() if len(values)}


@pytest.mark.parametrize(("task", "metric"), METRICS)
def test_a_named_control_is_the_best_and_a_named_one_the_worst(scores, task, metric):
    datasets = applied(scores, task, metric)
    assert datasets, "a metric that has a meaning on none of the data is not tested"
    for dataset, values in datasets.items():
        top = values[values.index.isin(metric.top)]
        bottom = values[values.index.isin(metric.bottom)]
        told = f"on {dataset}:\n{values.sort_values().to_string()}"
        near = ROUNDING * (values.max() - values.min())
        assert top.max() >= values.max() - near, f"top {told}"
        assert bottom.min() <= values.min() + near, f"bottom {told}"
        apart = top.min() - bottom.max()
        assert apart > APART * (values.max() - values.min()), f"top and bottom are mixed {told}"


@pytest.mark.parametrize(("task", "metric"), METRICS)
def test_values_of_controls_are_within_the_declared_bounds(scores, task, metric):
    low, high = metric.bounds
    for dataset in DATASETS[task]:
        values = scores(task, dataset)[metric.id].dropna()
        assert low is None or (values >= low - 1e-9).all(), dataset
        assert high is None or (values <= high + 1e-9).all(), dataset


@pytest.mark.parametrize("task", list(TASKS))
def test_on_the_primary_metric_every_floor_is_below_every_ceiling(scores, task):
    metric = next(
        family.metrics[TASKS[task].primary]
        for family in HOUSE.metrics_of(task).values()
        if TASKS[task].primary in family.metrics
    )
    for dataset, values in applied(scores, task, metric).items():
        roles = values.index.map(lambda method: HOUSE.methods[method].role)
        assert values[roles == "floor"].max() < values[roles == "ceiling"].min(), dataset


def test_a_metric_has_the_same_meaning_for_every_control_of_a_dataset(scores):
    """NotApplicable is for the data, never a way out for an output that would score badly."""
    for task, datasets in DATASETS.items():
        for dataset in datasets:
            missing = scores(task, dataset).map(math.isnan)
            assert (missing.all() | ~missing.any()).all(), missing.to_string()
