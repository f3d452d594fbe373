"""Over every component on disk: a newcomer writes none of these."""

import ast
import re
from pathlib import Path

import pytest

from dgnbench.cards import check_method_code, functions_of, read_house, root
from dgnbench.contract import CONTROLS
from dgnbench.tasks import all_tasks

HOUSE = read_house()
METHODS = list(HOUSE.methods.cards.values())
FAMILIES = list(HOUSE.metrics.cards.values())
DATASETS = list(HOUSE.datasets.cards.values())  # those with files: tests/loaders
ID = {"ids": lambda card: card.id}


@pytest.mark.parametrize("card", METHODS, **ID)
def test_a_method_has_a_function_for_every_task_of_its_card(card):
    check_method_code(card)


@pytest.mark.parametrize("card", METHODS, **ID)
def test_a_method_imports_no_other_component_and_does_no_file_io(card):
    for file in card.folder.glob("*.py"):
        text = file.read_text()
        assert not re.search(
            r"^\s*(from|import) (methods|metrics|datasets|snakemake)\b", text, re.M
        )
        calls = {n.func.id for n in ast.walk(ast.parse(text))
                 if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}  # fmt: skip
        assert not calls & {"print", "open", "input"}


@pytest.mark.parametrize("family", FAMILIES, **ID)
def test_a_metric_family_has_a_function_for_every_number_and_names_real_controls(family):
    functions = functions_of(family.folder / "metric.py")
    for metric in family.metrics.values():
        assert [a.arg for a in functions[metric.id].args.args] == ["solution", "output", "shared"]
        for control in (*metric.top, *metric.bottom):
            assert HOUSE.methods[control].role in CONTROLS
            assert set(family.tasks) <= set(HOUSE.methods[control].tasks)


@pytest.mark.parametrize("card", [card for card in DATASETS if not card.files], **ID)
def test_a_dataset_that_is_made_here_loads_to_the_standard_form_and_keeps_its_card(card):
    from dgnbench import data

    loaded = data.load(card, dict(card.params))
    found = data.describe(loaded)
    assert {key: found[key] for key in card.expected} == dict(card.expected)


@pytest.mark.parametrize("task", all_tasks().values(), **ID)
def test_a_task_has_its_primary_metric_a_floor_a_ceiling_and_a_baseline(task):
    names = {name for family in HOUSE.metrics_of(task.id).values() for name in family.metrics}
    assert task.primary in names
    roles = {card.role for card in METHODS if task.id in card.tasks}
    assert {"floor", "ceiling", "baseline"} <= roles


def test_components_are_named_in_lower_snake_like_their_folder():
    for room in ("methods", "datasets", "metrics"):
        for folder in filter(Path.is_dir, (root() / room).iterdir()):
            assert re.fullmatch(r"[a-z][a-z0-9_]*", folder.name), folder
