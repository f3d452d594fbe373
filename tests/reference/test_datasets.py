"""The embedded real dataset is what its card says: counts."""

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


def test_variance_and_zeros_of_the_recovered_counts_go_with_the_mean():
    """Slope of log variance over log mean: 1.27 to 1.55 in ten public scRNA-seq data sets, whole
    genes (CellBench, PDAC, worm, Kang, Norman, bladder, BMMC); zeros fall with the log mean."""
    counts = load("pbmc68k_reduced").X.toarray()
    mean = counts.mean(axis=0)
    kept = (mean > 0.05) & (mean < 20)
    slope = np.polyfit(np.log(mean[kept]), np.log(counts.var(axis=0)[kept]), 1)[0]
    zeros = np.corrcoef(np.log(mean[kept]), (counts == 0).mean(axis=0)[kept])[0, 1]
    assert 1.25 < slope < 1.57
    assert zeros < -0.85
