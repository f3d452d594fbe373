"""Deep methods: the same seed gives the same output, and what they learn beats knowing nothing.

Two methods of each framework, with the settings of their cards for small data.
"""

import pytest

from dgnbench.cards import read_house
from dgnbench.runner import fit
from dgnbench.scoring import load_metrics, without_tensorflow
from dgnbench.shared import Shared
from dgnbench.storage import read_matrix, read_parts

HOUSE = read_house()


def ran(method, task, group, output, seed=0, **params):
    card = HOUSE.methods[method]
    record = fit(
        card, method, task, group / "problem", group / "solution", output,
        seed=seed, params={**card.params, **card.smoke, **params}, resources=card.resources,
    )  # fmt: skip
    assert record["status"] == "ok", record["stderr_tail"]
    return record


@pytest.mark.parametrize(
    ("method", "task", "params"),
    [
        ("dca", "denoising", {"epochs": 2}),
        ("keras_vae", "generation", {"epochs": 2}),
        ("wgan_gp", "generation", {"steps": 5}),
        ("clue", "modality_prediction", {"epochs": 2}),
        ("scvi", "integration", {"max_epochs": 2}),
    ],
)
def test_the_same_seed_gives_the_same_output_and_another_seed_another(
    method, task, params, groups, tmp_path
):
    runs = [
        ran(method, task, groups(task), tmp_path / str(i), seed=seed, **params)
        for i, seed in enumerate((3, 3, 4))
    ]
    assert runs[0]["output_sha256"] == runs[1]["output_sha256"]
    assert runs[0]["output_sha256"] != runs[2]["output_sha256"]


@pytest.mark.parametrize(
    ("method", "task", "metric", "floor"),
    [
        ("dca", "denoising", "poisson_nll", "mean"),
        ("keras_vae", "denoising", "poisson_nll", "mean"),
        ("scvi", "denoising", "poisson_nll", "mean"),
        ("clue", "modality_prediction", "rmse", "mean"),
        ("clue", "modality_prediction", "rmse", "ridge"),
        ("wgan_gp", "generation", "energy_distance", "shuffled"),
        ("wgan_gp", "generation", "energy_distance", "nb_per_type"),
        ("gan", "generation", "energy_distance", "shuffled"),
    ],
)
def test_it_learns_what_a_simple_method_does_not_know(
    method, task, metric, floor, groups, tmp_path_factory, trained
):
    function = getattr(load_metrics(HOUSE.metrics[task]), metric)
    solution = read_parts(groups(task) / "solution")
    scores = []
    for name in (method, floor):
        if (name, task) not in trained:
            folder = tmp_path_factory.mktemp(f"{name}-{task}")
            ran(name, task, groups(task), folder)
            trained[name, task] = read_matrix(folder / "output.h5ad")
        with without_tensorflow():
            scores.append(function(solution, trained[name, task], Shared()))
    assert scores[0] < scores[1]


@pytest.fixture(scope="module")
def trained():
    """Outputs by (method, task), so that none is trained twice."""
    return {}
