"""Deep methods: the same seed gives the same score, and what they learn beats knowing nothing.

At the settings of their cards for small data. The smoke benchmark asks the same of most tasks
(tests/workflow/test_tutorial.py).
"""

import shutil
from dataclasses import replace

import pytest

from dgnbench.cards import CORE, read_house
from dgnbench.contract import CONTROLS, check_output
from dgnbench.plan import epochs_of
from dgnbench.runner import fit
from dgnbench.scoring import load_metrics, without_tensorflow
from dgnbench.shared import Shared
from dgnbench.storage import read_matrix, read_parts
from dgnbench.tasks import all_tasks

HOUSE = read_house()
SECOND = {
    "protein": "",  # the task's example
    "atac": "simulated_cycle@n_cells=600@n_genes=200@n_peaks=500",
}


def ran(method, task, group, output, seed=0, resources=None, **params):
    card = HOUSE.methods[method]
    record = fit(
        card, method, task, group / "problem", group / "solution", output,
        seed=seed, params={**card.params, **card.smoke, **params}, resources=resources or card.resources,
    )  # fmt: skip
    assert record["status"] == "ok", record["stderr_tail"]
    return record


def made_here(loaded, method, task, group, seed=0, **params):
    """The output of a method that is called in this process."""
    card, spec, problem = HOUSE.methods[method], all_tasks()[task], read_parts(group / "problem")
    parts = [problem[part].copy() for part in spec.parts]
    made = getattr(loaded(method), task)(
        *parts, seed=seed, **{**card.params, **card.smoke, **params}
    )
    return check_output(spec, problem, made)


def score(metric, task, group, output):
    family = next(f for f in HOUSE.metrics_of(task).values() if metric in f.metrics)
    function = getattr(load_metrics(family), metric)
    with without_tensorflow():
        return function(read_parts(group / "solution"), output, Shared())


@pytest.mark.parametrize(
    ("method", "task", "params"),
    [
        ("dca", "denoising", {"epochs": 2}),
        ("keras_vae", "generation", {"epochs": 2}),
        ("gan", "generation", {"steps": 5}),
        ("wgan_gp", "generation", {"steps": 5}),
        ("scvi", "integration", {"max_epochs": 2}),
        ("own_scvi", "generation", {"max_epochs": 2}),
        ("clue", "modality_prediction", {"epochs": 2}),
        ("scmm", "modality_prediction", {"epochs": 2}),
        ("dpcca", "modality_prediction", {"epochs": 2}),
        ("cross_modal_ae", "modality_prediction", {"epochs": 2}),
        ("magan", "modality_matching", {"epochs": 2}),
    ],
)
def test_a_seed_gives_one_output_in_every_process_and_another_seed_another(
    method, task, params, groups, loaded, tmp_path
):
    group = groups(task)
    first, again = (
        ran(method, task, group, tmp_path / name, seed=3, **params) for name in ("a", "b")
    )
    assert first["output_sha256"] == again["output_sha256"]
    other = made_here(loaded, method, task, group, seed=4, **params)
    assert abs(other - read_matrix(tmp_path / "a" / "output.h5ad")).max() > 0


FOREVER = 10**7
DEEP = [card for card in HOUSE.methods.cards.values() if card.role == "method" and card.env == CORE]


@pytest.mark.parametrize("card", DEEP, ids=lambda card: card.id)
def test_training_ends_when_the_budget_of_time_is_used_up(card, groups, tmp_path):
    lengths = ["steps"] if "steps" in card.params else epochs_of(card)
    assert lengths, "how long it trains is a parameter: epochs, max_epochs or steps"
    limits = replace(card.resources, train_minutes=1 / 60, runtime=2)
    endless = dict.fromkeys(lengths, FOREVER) | {
        n: FOREVER for n in ("patience",) if n in card.params
    }
    task = card.tasks[-1]
    group = groups(task, SECOND[card.second_modality or "protein"])
    record = ran(card.id, task, group, tmp_path / "run", resources=limits, **endless)
    assert 0 < record["rounds"] < FOREVER


def test_clue_predicts_better_than_a_straight_line(groups, loaded):
    task, group = "modality_prediction", groups("modality_prediction")
    errors = [
        score("rmse", task, group, made_here(loaded, m, task, group)) for m in ("clue", "ridge")
    ]
    assert errors[0] < errors[1]


# the smoke benchmark (tests/workflow/test_tutorial.py) asks for the other two directions
DIRECTIONS = [("modality_prediction", "atac"), ("rna_prediction", "protein")]
LEARNERS = [
    (card.id, task, second)
    for card in HOUSE.methods.cards.values()
    for task, second in DIRECTIONS
    if card.role not in CONTROLS and task in card.tasks and card.second_modality in (None, second)
]


@pytest.mark.parametrize(("method", "task", "second"), LEARNERS)
def test_every_method_predicts_better_than_the_mean(method, task, second, groups, loaded):
    group = groups(task, SECOND[second])
    made = made_here(loaded, method, task, group)
    assert score("rmse_skill", task, group, made) > 0  # of the mean it is 0
    if second == "atac" and HOUSE.methods[method].role == "method":
        assert -0.5 < made.min() < made.max() < 1.5  # around probabilities


@pytest.mark.parametrize(
    ("task", "method"),
    [(t, c.id) for c in HOUSE.methods.cards.values() if c.second_modality for t in c.tasks],
)
def test_a_model_of_one_second_modality_declines_the_other_before_its_imports(
    task, method, groups, tmp_path
):
    card = HOUSE.methods[method]
    (second,) = set(SECOND) - {card.second_modality}
    group = groups(task, SECOND[second])
    record = fit(
        card, method, task, group / "problem", group / "solution", tmp_path,
        seed=0, params={**card.params, **card.smoke}, resources=card.resources,
    )  # fmt: skip
    assert record["status"] == "declined", record["reason"]
    assert record["reason"].startswith(f"it is of RNA and {card.second_modality} ")
    assert record["reason"].endswith(f"this is {second}")
    assert record["seconds_import"] == 0


def test_dca_learns_with_zero_inflation_too(groups, loaded):
    task, group = "denoising", groups("denoising")
    zinb = made_here(loaded, "dca", task, group, likelihood="zinb", epochs=10)
    floor = made_here(loaded, "mean", task, group)
    assert score("poisson_nll", task, group, zinb) < score("poisson_nll", task, group, floor)


def test_generators_settle_where_the_networks_of_a_vanilla_gan_circle(groups, loaded):
    """Continuous cells without clear clusters: a GAN without R1 ended below the floor here."""
    task, group = "generation", groups("generation", "simulated_batches@n_cells=800@n_genes=300")
    distances = {
        method: score("energy_distance", task, group, made_here(loaded, method, task, group))
        for method in ("gan", "keras_vae", "pca", "shuffled")
    }
    floor = distances.pop("shuffled")
    assert max(distances.values()) < floor / 2, (distances, floor)


def test_jae_at_no_labels_is_given_none_and_recorded_as_a_method_that_uses_none(groups, tmp_path):
    group = tmp_path / "example" / "r0"
    shutil.copytree(groups("joint_embedding"), group)
    (group / "problem" / "labels.h5ad").unlink()
    record = ran("jae", "joint_embedding", group, tmp_path / "run", label_fraction=0.0, epochs=2)
    assert record["uses_labels"] is False
