"""A config is refused before a job starts, with the place and the nearest valid word."""

import copy

import pytest

from dgnbench.cards import CardError, read_yaml
from dgnbench.plan import ConfigError, make_plan, variant_of
from tests.conftest import PLANTED, ROOT

GOOD = {
    "benchmark": "b",
    "tasks": ["denoising"],
    "datasets": {"pbmc68k_reduced": None},
    "methods": ["pca", "keras_vae@beta=4"],
}


def changed(**changes):
    return {**copy.deepcopy(GOOD), **changes}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (changed(taks=1), "unknown key 'taks'; did you mean 'tasks'"),
        (changed(tasks=["denoisin"]), "no task named 'denoisin'; did you mean 'denoising'"),
        (changed(tasks=[]), "tasks"),
        (changed(methods=["pcaa"]), "no method named 'pcaa'; did you mean 'pca'"),
        (changed(methods=[]), "methods"),
        (changed(methods=["harmony"]), "'harmony' does integration"),
        (changed(methods=["keras_vae@bta=4"]), "unknown parameter 'bta'; did you mean 'beta'"),
        (changed(methods=["keras_vae@beta=4,epochs=5"]), "each parameter behind an @"),
        (changed(methods=["keras_vae@beta"]), "each parameter behind an @, as in name@beta=4"),
        (changed(methods=["zeros"]), "no selected method does the task 'denoising'"),
        (changed(datasets={}), "datasets"),
        (changed(datasets={"pbmc": None}), "no dataset named 'pbmc'"),
        (changed(datasets={"simulated_batches@n_cels=9": None}), "unknown parameter 'n_cels'"),
        (changed(datasets={"mine": {"path": "nowhere.h5ad"}}), "no such file: nowhere.h5ad"),
        (changed(datasets={"mine": {"path": "x.h5ad", "bach": "d"}}), "unknown key 'bach'"),
        (changed(datasets={"pbmc68k_reduced": {"tasks": ["denoisng"]}}), "'denoisng' is none of"),
        (changed(datasets={"pbmc68k_reduced": {"batch": "donor"}}), "wanted a `path` beside batch"),
        (changed(tasks=["integration"], methods=["pca"]), "pbmc68k_reduced lacks batch"),
        (changed(params={"keras_vae": {"epoch": 1}}), "unknown parameter 'epoch'"),
        (changed(params={"vae": {}}), "no method named 'vae'"),
        (changed(replicates=0), "replicates"),
        (changed(budget={"minutes": 1, "epochs": 1}), "budget"),
        (changed(budget={"hours": 1}), "unknown key 'hours' in budget"),
        (changed(budget={"epochs": 5}, methods=["keras_vae@epochs=9"]), "sets `epochs`, but"),
        (changed(budget={"epochs": 5}, params={"dca": {"epochs": 9}}), "params.dca: sets `epochs`"),
        (changed(component_paths=["nowhere_at_all"]), "no such folder"),
    ],
)
def test_a_faulty_config_is_refused(config, said):
    with pytest.raises(CardError) as error:
        make_plan(config, "my.yaml")
    assert said in str(error.value)


def test_what_stands_behind_an_at_must_be_a_parameter():
    with pytest.raises(ConfigError, match="pca@foo: wanted NAME=VALUE, such as beta=4, got 'foo'"):
        variant_of("pca@foo")


def test_a_dataset_that_suits_no_selected_task_is_refused():
    config = changed(tasks=["integration"], methods=["pca"])
    config["datasets"]["simulated_batches"] = None
    with pytest.raises(CardError, match="'pbmc68k_reduced' suits none"):
        make_plan(config)


def test_a_dataset_can_be_kept_to_some_tasks():
    config = changed(tasks=["denoising", "generation"], methods=["keras_vae"])
    config["datasets"] = {"pbmc68k_reduced": {"tasks": ["generation"]}, "simulated_batches": None}
    asked = {(run.dataset, run.task) for run in make_plan(config).runs}
    assert ("pbmc68k_reduced", "generation") in asked
    assert ("pbmc68k_reduced", "denoising") not in asked
    assert ("simulated_batches", "denoising") in asked


def test_the_controls_of_a_task_always_take_part():
    plan = make_plan(GOOD)
    assert {"zeros", "mean", "no_denoising", "perfect", "noiseless_mean"} <= set(plan.methods)


def test_parameters_come_from_card_smoke_config_and_variant_in_that_order():
    plan = make_plan(changed(smoke=True, params={"keras_vae": {"n_latent": 7, "beta": 2}}))
    params = plan.params("keras_vae@beta=4")
    assert params["beta"] == 4
    assert params["n_latent"] == 7
    assert params["epochs"] == plan.house.methods["keras_vae"].smoke["epochs"]
    assert params["sigma0"] == plan.house.methods["keras_vae"].params["sigma0"]


def test_the_variant_without_labels_stands_among_all_methods_and_counts_as_one_that_uses_none():
    data = {"simulated_cite": None}
    plan = make_plan(changed(tasks=["joint_embedding"], methods="all", datasets=data))
    found = {m: plan.method(m).uses_labels for m in plan.methods if m.startswith("jae")}
    assert found == {"jae": True, "jae@label_fraction=0.0": False}
    asked = changed(
        tasks=["joint_embedding"], methods=["jae@label_fraction=0.5", "jae"], datasets=data,
        params={"jae": {"label_fraction": 0}},
    )  # fmt: skip
    plan = make_plan(asked)
    assert plan.method("jae@label_fraction=0.5").uses_labels
    assert not plan.method("jae").uses_labels


def test_a_budget_of_epochs_goes_to_every_method_that_counts_them():
    config = changed(tasks=["denoising"], methods=["pca", "scvi"], smoke=True)
    plan = make_plan({**config, "budget": {"epochs": 7}})
    assert plan.params("scvi")["max_epochs"] == 7
    assert plan.params("pca") == make_plan(config).params("pca")


def test_a_budget_of_time_is_the_same_for_every_method():
    plan = make_plan({**changed(budget={"minutes": 4}), "resources": {"pca": {"mem_mb": 5}}})
    given = {plan.resources(m).runtime for m in plan.methods}
    assert given == {16}  # one and a half times the budget, and ten minutes
    assert {plan.resources(method).train_minutes for method in plan.methods} == {4}
    assert plan.resources("pca").mem_mb == 5


def test_a_variant_is_read_as_numbers_and_words():
    assert variant_of("vae@beta=4@lr=1e-3@kind=zinb@deep=true") == {
        "beta": 4, "lr": 0.001, "kind": "zinb", "deep": True,
    }  # fmt: skip


@pytest.mark.parametrize("config", sorted((ROOT / "config").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_config_of_the_repository_is_valid(config):
    assert make_plan(read_yaml(config), str(config)).runs


def test_a_key_given_twice_is_an_error(tmp_path):
    (tmp_path / "twice.yaml").write_text("a: 1\nb: 2\na: 3\n")
    with pytest.raises(CardError, match="'a' stands twice"):
        read_yaml(tmp_path / "twice.yaml")


def test_components_of_other_folders_join_by_component_paths():
    plan = make_plan(changed(methods=["raises"], component_paths=[str(PLANTED)]))
    assert plan.method("raises").folder == PLANTED / "methods" / "raises"


def test_reading_all_cards_loads_no_array_or_deep_learning_library():
    import subprocess
    import sys

    code = (
        "import sys; from dgnbench.cards import read_house; import dgnbench.plan; read_house();"
        "heavy = {'numpy', 'pandas', 'anndata', 'scipy', 'torch', 'tensorflow', 'jax', 'scanpy'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
