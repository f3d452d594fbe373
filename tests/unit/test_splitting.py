"""The split of both directions of prediction: what is kept, on which scale, and what stays hidden."""

import numpy as np
import pytest
from mudata import MuData
from scipy import sparse

from dgnbench.simulating import annotated, named
from dgnbench.splitting import MOST_PEAKS, varied_peaks
from dgnbench.tasks import all_tasks

N_CELLS, N_GENES, N_PEAKS = 60, 40, 12_000
DIRECTIONS = ("modality_prediction", "rna_prediction")


def multiome(change=None, *, batched=True):
    """RNA and more peaks than are predicted; `change(peaks, batch)` alters counts in place."""
    rng = np.random.default_rng(0)
    batch = rng.permutation(np.arange(N_CELLS) % 2)
    genes = rng.poisson(2.0, (N_CELLS, N_GENES)) + 1
    peaks = rng.poisson(rng.gamma(2.0, 0.5, N_PEAKS), (N_CELLS, N_PEAKS))
    genes[batch == 0, 3] = 0  # with seed 0 batch 0 is the test batch
    genes[batch == 1, 5] = 0
    if change is not None:
        change(peaks, batch)
    obs = {"batch": named("batch", batch)} if batched else {}
    rna, atac = annotated(genes, obs), annotated(peaks, obs)
    atac.var_names = [f"peak_{p}" for p in range(N_PEAKS)]
    return MuData({"rna": rna, "atac": atac})


def split(task, data):
    return all_tasks()[task].split(data, seed=0)


@pytest.fixture(scope="module")
def plain():
    """``plain[task]``: problem and solution of unaltered counts."""
    data = multiome()
    return {task: split(task, data) for task in DIRECTIONS}


def test_a_chromatin_target_is_binary_capped_and_keeps_its_raw_counts(plain):
    problem, solution = plain["modality_prediction"]
    for part in (problem["train_target"], solution["truth"]):
        counts = part.layers["counts"].toarray()
        assert part.n_vars == MOST_PEAKS == 10_000
        assert part.uns["scale"] == "binary"
        assert counts.max() > 1
        assert np.array_equal(part.X, counts > 0)
    train = problem["train_target"].X
    assert np.allclose(solution["truth"].var["train_mean"], train.mean(axis=0))


def test_the_peaks_kept_are_those_that_vary_most_over_training_cells(plain):
    problem, _ = plain["modality_prediction"]
    data = multiome()["atac"]
    train = data[data.obs["batch"] == "batch_1"].X.toarray() > 0
    spread = train.var(axis=0)
    kept = data.var_names.isin(problem["train_target"].var_names)
    assert spread[kept].min() >= spread[~kept].max() - 1e-9
    assert spread[~kept].max() > 0  # the cap bites


def test_the_peaks_are_chosen_without_test_cells(plain):
    def turned(peaks, batch):
        peaks[batch == 0] = np.where(peaks[batch == 0] > 0, 0, 7)

    turned_problem, _ = split("modality_prediction", multiome(turned))
    kept = plain["modality_prediction"][0]["train_target"].var_names
    assert turned_problem["train_target"].var_names.equals(kept)


def test_peaks_open_everywhere_vary_as_little_as_those_open_nowhere_and_the_first_of_equals_stay():
    counts = np.array([[1, 0, 2, 0, 1], [1, 0, 0, 3, 0]])
    assert varied_peaks(counts, 2).tolist() == [2, 3]
    assert varied_peaks(counts, 9).tolist() == [0, 1, 2, 3, 4]


def test_a_source_keeps_raw_counts_of_all_that_was_seen_in_training():
    def unseen(peaks, batch):
        peaks[batch == 1, 7] = 0

    data = multiome(unseen)
    problem, _ = split("rna_prediction", data)
    peaks = data["atac"]
    train = peaks[peaks.obs["batch"] == "batch_1"]
    seen = np.asarray(train.X.sum(axis=0)).ravel() > 0
    assert N_PEAKS > seen.sum() > MOST_PEAKS
    assert problem["train_source"].var_names.tolist() == peaks.var_names[seen].tolist()
    assert problem["train_source"].X.sum() == train.X.sum()
    assert problem["test_source"].uns["modality"] == "atac"


def test_rna_is_predicted_as_log1p_cp10k_of_the_genes_seen_in_training(plain):
    problem, solution = plain["rna_prediction"]
    assert "gene_5" not in problem["train_target"].var_names
    assert "gene_3" in problem["train_target"].var_names
    for part in (problem["train_target"], solution["truth"]):
        counts = part.layers["counts"].toarray()
        assert np.allclose(part.X, np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True)))


@pytest.mark.parametrize("batched", [True, False])
def test_one_direction_s_problem_does_not_hold_the_other_s_solution_in_its_order(batched):
    """Test cells have the same ids in both; were their order the same, sources would be truths."""
    data = multiome(batched=batched)
    (forth, truth), (back, other) = (split(task, data) for task in DIRECTIONS)
    for problem, solution in ((forth, other), (back, truth)):
        source, hidden = problem["test_source"], solution["truth"]
        shared = source.var_names.intersection(hidden.var_names)
        same = source[:, shared].X.toarray() == hidden[:, shared].layers["counts"].toarray()
        assert source.n_obs == hidden.n_obs
        assert same.all(axis=1).mean() < 0.2


@pytest.mark.parametrize("task", DIRECTIONS)
def test_nothing_of_the_target_of_test_cells_is_in_the_problem(plain, task):
    """The counts of test cells' targets can be anything without a change of the problem."""
    data = multiome()
    side = data["atac" if task == "modality_prediction" else "rna"]
    x = side.X.toarray()
    test = (side.obs["batch"] == "batch_0").to_numpy()
    x[test] = np.random.default_rng(1).integers(0, 9, x[test].shape)
    side.X = sparse.csr_matrix(x)
    scrambled, _ = split(task, data)
    for part, other in zip(plain[task][0].values(), scrambled.values(), strict=True):
        assert part.var_names.equals(other.var_names)
        assert part.obs.equals(other.obs)
        x, y = (p.X.toarray() if hasattr(p.X, "toarray") else p.X for p in (part, other))
        assert np.array_equal(x, y)
