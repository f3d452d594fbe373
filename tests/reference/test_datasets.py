"""The embedded datasets are what their cards say: real counts, and counts that look real."""

import numpy as np
import pytest
import scanpy

from dgnbench import data
from dgnbench.cards import read_house
from dgnbench.transforms import library_size

HOUSE = read_house()


def load(name, **params):
    card = HOUSE.datasets[name]
    return data.load(card, {**card.params, **params})


def test_recovered_counts_are_integers_and_give_back_what_scanpy_stores():
    loaded = load("pbmc68k_reduced")
    stored = scanpy.datasets.pbmc68k_reduced()
    assert (loaded.X.data == np.round(loaded.X.data)).all()
    assert loaded.X.data.min() >= 1
    raw = stored.raw[:, loaded.var_names].X
    totals = stored.obs["n_counts"].to_numpy()[:, None]
    again = np.log1p(loaded.X.toarray() / totals * 1e4)
    assert ((again > 0) == (raw.toarray() > 0)).all()
    assert np.abs(again - raw.toarray()).max() < 2e-3  # scanpy stores five digits
    # The totals are those of all genes of the experiment: more than the genes that are kept.
    assert (library_size(loaded.X) <= totals.ravel()).all()


def test_values_that_are_not_counts_are_refused_on_recovery():
    from scipy import sparse

    from tests.conftest import ROOT

    namespace = {}
    exec((ROOT / "datasets/pbmc68k_reduced/dataset.py").read_text(), namespace)
    with pytest.raises(ValueError, match="off an integer"):
        namespace["recover_counts"](sparse.csr_matrix(np.log1p([[3.5]])), np.array([1e4]))


def test_simulated_batches_have_a_rare_type_a_missing_one_and_a_batch_effect():
    loaded = load("simulated_batches")
    table = loaded.obs.groupby(["cell_type", "batch"], observed=False).size().unstack()
    assert table.shape == (6, 3)
    assert (table.to_numpy() == 0).sum() == 1
    assert table.sum(axis=1).min() < 0.05 * loaded.n_obs
    mean = loaded.layers["mean"] / loaded.layers["mean"].sum(axis=1, keepdims=True)
    kind = loaded.obs["cell_type"].to_numpy() == "type_0"
    by_batch = np.array(
        [np.log(mean[kind & (loaded.obs["batch"] == b)].mean(axis=0)) for b in table.columns]
    )
    assert by_batch.std(axis=0).mean() > 0.1
    shift = by_batch[1] - by_batch[0]
    assert np.std(shift) > 0.1  # not one shift for all genes


@pytest.mark.parametrize("name", ["simulated_batches", "simulated_cite"])
def test_simulated_counts_lie_around_their_mean_with_more_than_poisson_noise(name):
    loaded = load(name)
    rna = loaded["rna"] if hasattr(loaded, "mod") else loaded
    mean, counts = rna.layers["mean"].astype(np.float64), rna.X.toarray().astype(np.float64)
    assert counts.sum() == pytest.approx(mean.sum(), rel=0.02)
    expressed = mean.mean(axis=0) > 0.5
    fano = ((counts - mean) ** 2).sum(axis=0)[expressed] / mean.sum(axis=0)[expressed]
    assert np.median(fano) > 1.1


@pytest.mark.parametrize("name", ["pbmc68k_reduced", "simulated_batches", "simulated_cite"])
def test_mean_variance_and_zeros_of_simulated_counts_are_like_those_of_real_ones(name):
    """Slope of log variance over log mean: 1.27 to 1.55 in ten public scRNA-seq data sets, whole
    genes (CellBench, PDAC, worm, Kang, Norman, bladder, BMMC); zeros fall with the log mean."""
    loaded = load(name)
    counts = (loaded["rna"] if hasattr(loaded, "mod") else loaded).X.toarray()
    mean = counts.mean(axis=0)
    kept = (mean > 0.05) & (mean < 20)
    slope = np.polyfit(np.log(mean[kept]), np.log(counts.var(axis=0)[kept]), 1)[0]
    zeros = np.corrcoef(np.log(mean[kept]), (counts == 0).mean(axis=0)[kept])[0, 1]
    assert 1.25 < slope < 1.57
    assert zeros < -0.85


def test_simulated_proteins_are_background_and_foreground():
    loaded = load("simulated_cite")
    protein = np.log1p(loaded["protein"].X.toarray())
    from sklearn.mixture import GaussianMixture

    gains = [
        GaussianMixture(1, random_state=0).fit(x[:, None]).bic(x[:, None])
        - GaussianMixture(2, random_state=0).fit(x[:, None]).bic(x[:, None])
        for x in protein.T
    ]
    assert np.mean(np.array(gains) > 0) > 0.6  # two modes explain most proteins better than one


def test_the_size_is_a_parameter_and_the_seed_decides_the_rest():
    small = load("simulated_batches", n_cells=120, n_genes=50)
    assert small.n_obs == 120
    assert small.n_vars <= 50
    again = load("simulated_batches", n_cells=120, n_genes=50)
    assert (small.X != again.X).nnz == 0
    other = load("simulated_batches", n_cells=120, n_genes=50, seed=9)
    assert small.shape != other.shape or (small.X != other.X).nnz > 0
