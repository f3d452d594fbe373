"""The shared transformations against closed forms and scanpy."""

import numpy as np
import pytest
from scipy import sparse

from dgnbench.transforms import (
    binary,
    clr_per_cell,
    inverse_dispersion,
    library_size,
    log1p_cp10k,
    on_scale,
    principal_components,
)

COUNTS = np.random.default_rng(0).poisson(1.0, (30, 20)).astype(np.float32)


def test_log1p_cp10k_is_scanpy_s():
    import scanpy as sc
    from anndata import AnnData

    data = AnnData(COUNTS.astype(np.float64))
    sc.pp.normalize_total(data, target_sum=1e4)
    sc.pp.log1p(data)
    assert np.allclose(log1p_cp10k(COUNTS), data.X)
    assert np.allclose(log1p_cp10k(sparse.csr_matrix(COUNTS)).toarray(), data.X)


def test_a_cell_without_counts_stays_zero():
    counts = COUNTS.copy()
    counts[3] = 0
    assert (log1p_cp10k(counts)[3] == 0).all()
    assert (log1p_cp10k(sparse.csr_matrix(counts)).toarray()[3] == 0).all()


def test_library_size_adds_up_in_double_precision():
    assert library_size(np.full((1, 3), 2**24 + 2, dtype=np.float32))[0] == 3 * (2**24 + 2)


def test_clr_of_equal_proteins_is_the_closed_form():
    assert np.allclose(clr_per_cell(np.full((2, 5), 3.0)), np.log1p(3.0 / 4.0))


def test_principal_components_of_sparse_and_dense_agree_up_to_sign():
    dense = principal_components(COUNTS, 3, seed=0)
    thin = principal_components(sparse.csr_matrix(COUNTS), 3, seed=0)
    assert np.allclose(dense.explained_variance_, thin.explained_variance_, rtol=1e-4)
    assert np.allclose(np.abs(dense.components_), np.abs(thin.components_), atol=1e-3)


@pytest.mark.parametrize("theta", [0.5, 5.0])
def test_inverse_dispersion_recovers_what_counts_were_drawn_with(theta):
    rng = np.random.default_rng(1)
    mean = rng.uniform(1, 10, (20_000, 3))
    counts = rng.poisson(rng.gamma(theta, mean / theta))
    assert np.allclose(inverse_dispersion(counts, mean), theta, rtol=0.1)
    assert (inverse_dispersion(mean, mean) == 1e6).all()


@pytest.mark.parametrize("normalised", [clr_per_cell, log1p_cp10k, binary])
def test_counts_on_a_named_scale_are_dense_and_those_of_its_function(normalised):
    for counts in (COUNTS, sparse.csr_matrix(COUNTS)):
        made = on_scale(counts, normalised.__name__)
        assert isinstance(made, np.ndarray)
        assert np.allclose(made, normalised(COUNTS))


def test_binary_is_one_where_there_is_a_count_and_zero_elsewhere():
    assert binary(np.array([[0, 1, 5], [2, 0, 0]])).tolist() == [[0, 1, 1], [1, 0, 0]]
