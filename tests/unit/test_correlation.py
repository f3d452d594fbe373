"""Correlations in blocks of rows are NumPy's, dense or sparse; what does not vary counts 0."""

import numpy as np
import pytest
from scipy import sparse, stats

from dgnbench import correlation
from dgnbench.correlation import mean_pearson, mean_spearman


@pytest.fixture
def pair(monkeypatch):
    """Counts and something like them, with a constant column and a constant row; three blocks."""
    monkeypatch.setattr(correlation, "BLOCK", 30)
    rng = np.random.default_rng(0)
    a = rng.poisson(0.5, (80, 40)).astype(np.float32)
    b = a + rng.normal(size=a.shape)
    a[:, 3], a[5] = 2, 2
    return a, b


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_the_mean_is_over_numpy_s_correlations_and_zeros(pair, axis, form):
    a, b = pair
    vectors = zip(*((m.T if axis == 0 else m) for m in (a, b)), strict=True)
    expected = [np.corrcoef(u, v)[0, 1] if np.ptp(u) else 0.0 for u, v in vectors]
    assert expected.count(0.0) == 1
    assert mean_pearson(form(a), b, axis) == pytest.approx(np.mean(expected), abs=1e-12)
    assert mean_pearson(b, form(a), axis) == pytest.approx(np.mean(expected), abs=1e-12)


def test_a_constant_column_counts_zero(pair):
    a, b = pair
    a[:] = np.arange(40)
    assert mean_pearson(a, b, 0) == 0
    assert mean_pearson(sparse.csr_matrix(a), b, 0) == 0


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_spearman_is_scipy_s(pair, axis, form, monkeypatch):
    monkeypatch.setattr(correlation, "BLOCK", 7)
    a, b = pair
    vectors = zip(a.T, b.T, strict=True) if axis == 0 else zip(a, b, strict=True)
    expected = [stats.spearmanr(u, v).statistic if np.ptp(u) else 0.0 for u, v in vectors]
    assert mean_spearman(form(a), b, axis) == pytest.approx(np.mean(expected), abs=1e-12)


def test_two_shapes_are_an_error(pair):
    with pytest.raises(ValueError, match="one shape"):
        mean_pearson(pair[0], pair[1][:, :5], 0)
