"""A problem holds nothing from which its solution could be told."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from dgnbench import data
from dgnbench.cards import read_house
from dgnbench.plan import base_of, variant_of
from dgnbench.storage import read_parts
from dgnbench.tasks import all_tasks

DECLARED_OBS = {"counts": {"batch"}, "labels": {"cell_type"}, "train": {"batch"}, "request": set(),
                "train_source": {"batch"}, "train_target": {"batch"}, "test_source": {"batch"},
                "test_target": {"batch"}, "source": {"batch"}, "target": {"batch"}}  # fmt: skip


@pytest.fixture(params=list(all_tasks()))
def task(request):
    return all_tasks()[request.param]


def test_a_problem_holds_only_the_declared_slots(task, groups):
    problem = read_parts(groups(task.id) / "problem")
    assert set(problem) == {*task.parts, *task.restricted}
    for name, part in problem.items():
        assert set(part.obs.columns) <= DECLARED_OBS[name]
        assert [*part.obsm, *part.obsp, *part.varm, *part.var.columns] == []
        assert set(part.uns) <= {"scale", "modality"}
        assert set(part.layers) <= ({"counts"} if name == "train_target" else set())


def test_cell_ids_are_neutral_and_the_order_is_new(task, groups):
    dataset = task.example
    card = read_house().datasets[base_of(dataset)]
    loaded = data.load(card, {**card.params, **variant_of(dataset)})
    original = loaded["rna"] if hasattr(loaded, "mod") else loaded
    for name, part in read_parts(groups(task.id) / "problem").items():
        assert not set(part.obs_names) & set(original.obs_names)
        numbers = part.obs_names.str.extract(r"^[a-z]+_(\d+)$")[0].astype(int).tolist()
        if (task.id, name) == ("mosaic_embedding", "target"):  # some of the source's cells
            assert numbers == sorted(set(numbers))
            assert len(numbers) < original.n_obs
        else:
            assert numbers == list(range(part.n_obs))


def test_metadata_does_not_tell_the_hidden_types(groups):
    """Order, ids and batch: a classifier on them must not beat the commonest type by much."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import cross_val_score

    counts = read_parts(groups("integration") / "problem")["counts"]
    hidden = read_parts(groups("integration") / "solution")["truth"].obs["cell_type"]
    position = np.arange(counts.n_obs)
    x = np.column_stack([position, position % 7, counts.obs["batch"].cat.codes])
    accuracy = cross_val_score(RandomForestClassifier(100, random_state=0), x, hidden, cv=5).mean()
    assert accuracy < hidden.value_counts(normalize=True).iloc[0] + 0.05


def test_training_and_held_out_counts_add_up_and_share_no_molecule(groups):
    train = read_parts(groups("denoising") / "problem")["counts"]
    truth = read_parts(groups("denoising") / "solution")["truth"]
    share = truth.uns["test_sum"] / (truth.uns["test_sum"] + truth.uns["train_sum"])
    assert share == pytest.approx(0.1, abs=0.01)
    assert sparse.csr_matrix(train.X).data.min() >= 1
    assert (truth.X.data == np.round(truth.X.data)).all()


def test_the_same_seed_gives_the_same_split_and_another_seed_another(task):
    dataset = task.example
    card = read_house().datasets[base_of(dataset)]
    loaded = data.load(card, {**card.params, **variant_of(dataset)})
    if hasattr(loaded, "mod") and "second_modality" not in task.needs:
        loaded = loaded["rna"].copy()

    def first(seed):
        x = task.split(loaded, seed=seed)[0][task.parts[0]].X
        return x.toarray() if sparse.issparse(x) else x

    assert np.array_equal(first(3), first(3))
    assert not np.array_equal(first(3), first(5))


def test_real_cells_of_a_generation_split_are_disjoint(groups):
    solution = read_parts(groups("generation") / "solution")
    sizes = {name: part.n_obs for name, part in solution.items()}
    assert sizes["truth"] == sizes["other"]
    assert sum(sizes.values()) <= 700
    rows = np.vstack([part.X.toarray() for part in solution.values()])
    assert len(np.unique(rows, axis=0)) >= 0.99 * len(rows)


@pytest.mark.parametrize("direction", ["modality_prediction", "rna_prediction"])
def test_the_test_batch_of_a_prediction_is_unseen(groups, direction):
    problem = read_parts(groups(direction) / "problem")
    train = set(problem["train_source"].obs["batch"])
    assert not train & set(problem["test_source"].obs["batch"])


@pytest.mark.parametrize("n_batches", [1, 2])
def test_in_a_mosaic_a_batch_or_half_of_the_cells_lack_the_target(n_batches):
    card = read_house().datasets["simulated_cite"]
    loaded = data.load(card, {**card.params, "n_cells": 101, "n_genes": 50})
    if n_batches == 1:
        loaded["rna"].obs["batch"] = "one"
    problem, solution = all_tasks()["mosaic_embedding"].split(loaded, seed=1)
    source, target, truth = problem["source"], problem["target"], solution["truth"]
    both = source.obs_names.isin(target.obs_names)
    assert target.obs_names.equals(source.obs_names[both])
    assert pd.crosstab(both, truth.obs["batch"].to_numpy()).to_numpy().astype(bool).sum() == 2
    if n_batches == 1:
        assert target.n_obs == 51


@pytest.mark.parametrize("guess", [lambda seed: seed, lambda seed: [seed, 0]])
def test_who_knows_the_seed_cannot_undo_the_order_of_the_cells(guess):
    """Cells sorted by type: the order that the seed would give must not bring the types back."""
    card = read_house().datasets["simulated_batches"]
    loaded = data.load(card, {**card.params, "n_cells": 400, "n_genes": 60})
    loaded = loaded[np.argsort(loaded.obs["cell_type"].to_numpy(), kind="stable")].copy()
    truth = all_tasks()["integration"].split(loaded, seed=3)[1]["truth"]
    types = truth.obs["cell_type"].cat.codes.to_numpy()
    undone = np.empty_like(types)
    undone[np.random.default_rng(guess(3)).permutation(len(types))] = types
    changes = (np.diff(undone) != 0).sum()
    assert changes > 0.8 * (np.diff(types) != 0).sum()
