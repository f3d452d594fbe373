"""Denoising metrics against SciPy, scikit-learn and what a good and a bad denoiser must get."""

import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse, stats
from sklearn.metrics import mean_squared_error

from dgnbench import NotApplicable
from dgnbench.cards import read_house
from dgnbench.scoring import load_metrics
from dgnbench.shared import Shared
from dgnbench.tasks import all_tasks

METRICS = load_metrics(read_house().metrics["denoising"])


def score(name, solution, output):
    return getattr(METRICS, name)(solution, output, Shared())


@pytest.fixture(scope="module")
def case():
    """Counts with a known mean of rank 4, split by the task itself: (problem, solution)."""
    rng = np.random.default_rng(0)
    mean = np.exp(
        rng.normal(-1, 1, 60) + rng.normal(0, 0.7, (200, 4)) @ rng.normal(0, 0.7, (4, 60))
    )
    data = AnnData(sparse.csr_matrix(rng.poisson(mean).astype(np.float32)))
    data.layers["mean"] = mean
    return all_tasks()["denoising"].split(data, seed=1)


def test_poisson_nll_is_scipy_s_without_the_factorial(case):
    problem, solution = case
    rng = np.random.default_rng(1)
    output = rng.gamma(1.0, 1.0, problem["counts"].shape)
    truth = solution["truth"]
    held_out = truth.X.toarray()
    rate = output * truth.uns["test_sum"] / truth.uns["train_sum"]
    whole = -stats.poisson.logpmf(held_out, rate).mean()
    factorial = -np.mean([stats.poisson.logpmf(k, 1) + 1 for k in held_out.ravel()])
    assert score("poisson_nll", solution, output) == pytest.approx(whole - factorial, abs=1e-4)


def test_a_sparse_output_scores_as_its_dense_form(case):
    problem, solution = case
    raw = problem["counts"].X
    for name in ("poisson_nll", "mse", "mse_to_mean", "pearson_gene", "pearson_cell"):
        dense = score(name, solution, raw.toarray())
        assert score(name, solution, raw) == pytest.approx(dense, rel=1e-6)


@pytest.mark.parametrize("name", ["poisson_nll", "mse_to_mean"])
def test_the_known_mean_beats_the_average_beats_nothing_done_beats_zeros(case, name):
    """With prediction and truth swapped, as in Open Problems, no denoising would beat the average."""
    problem, solution = case
    raw = problem["counts"].X.toarray()
    size = raw.sum(axis=1, keepdims=True)
    average = size * raw.sum(axis=0) / raw.sum()
    known = solution["truth"].layers["mean"]
    values = [score(name, solution, x) for x in (known, average, raw, np.zeros_like(raw))]
    assert values == sorted(values)
    assert len(set(values)) == 4


def test_mse_is_scikit_learn_s_on_log_counts_per_ten_thousand(case):
    problem, solution = case
    output = np.random.default_rng(2).gamma(1.0, 1.0, problem["counts"].shape)

    def log(x):
        size = x.sum(axis=1, keepdims=True)
        return np.log1p(np.divide(1e4 * x, size, out=np.zeros_like(x), where=size > 0))

    held_out = solution["truth"].X.toarray().astype(float)
    expected = mean_squared_error(log(held_out), log(output))
    assert score("mse", solution, output) == pytest.approx(expected, rel=1e-9)
    known = solution["truth"].layers["mean"].astype(float)
    expected = mean_squared_error(log(known), log(output))
    assert score("mse_to_mean", solution, output) == pytest.approx(expected, rel=1e-6)
    assert score("mse_to_mean", solution, 3 * known) == pytest.approx(0, abs=1e-9)


def test_pearson_is_numpy_s_row_by_row(case):
    problem, solution = case
    output = np.random.default_rng(3).gamma(1.0, 1.0, problem["counts"].shape)
    x = METRICS._log(output, Shared())
    y = METRICS._log_truth(solution, Shared())
    cells = [np.corrcoef(a, b)[0, 1] if b.std() > 0 else 0 for a, b in zip(x, y, strict=True)]
    genes = [np.corrcoef(a, b)[0, 1] if b.std() > 0 else 0 for a, b in zip(x.T, y.T, strict=True)]
    assert score("pearson_cell", solution, output) == pytest.approx(np.mean(cells), abs=1e-9)
    assert score("pearson_gene", solution, output) == pytest.approx(np.mean(genes), abs=1e-9)


def test_without_a_known_mean_its_metric_does_not_apply(case):
    problem, solution = case
    truth = solution["truth"].copy()
    del truth.layers["mean"]
    with pytest.raises(NotApplicable, match="simulated"):
        score("mse_to_mean", {"truth": truth}, problem["counts"].X)
