"""Denoising metrics against SciPy, scikit-learn and what a good and a bad denoiser must get."""

import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse, stats
from sklearn.metrics import mean_poisson_deviance, mean_squared_error

from dgnbench import NotApplicable
from dgnbench.cards import read_house
from dgnbench.scoring import load_metrics
from dgnbench.shared import Shared
from dgnbench.tasks import all_tasks

FAMILY = read_house().metrics["denoising"]
METRICS = load_metrics(FAMILY)


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
    for name in FAMILY.metrics:
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


@pytest.fixture
def with_sums(case):
    """The solution with the sums of the training counts, and the mean predictor made of them."""
    problem, solution = case
    raw = problem["counts"].X.toarray().astype(np.float64)
    truth = solution["truth"].copy()
    truth.obs["train_size"], truth.var["train_mean"] = raw.sum(axis=1), raw.mean(axis=0)
    return {"truth": truth}, raw.sum(axis=1, keepdims=True) * raw.sum(axis=0) / raw.sum()


@pytest.mark.parametrize(("share", "better"), [(1.0, True), (0.5, True), (0.0, False)])
def test_skill_is_the_deviance_of_scikit_learn_explained_beyond_the_mean_predictor(
    with_sums, share, better
):
    """From the known mean (better than the mean predictor) to a wild guess (worse)."""
    solution, average = with_sums
    truth = solution["truth"]
    guess = np.random.default_rng(5).gamma(1.0, 1.0, average.shape)
    output = share * truth.layers["mean"] + (1 - share) * guess
    depth = truth.uns["test_sum"] / truth.uns["train_sum"]
    held_out = truth.X.toarray().ravel().astype(np.float64)
    own, mean = (mean_poisson_deviance(held_out, depth * p.ravel()) for p in (output, average))
    expected = 1 - own / mean if own < mean else mean / own - 1
    # 1e-6 is added inside our logarithm.
    assert score("poisson_skill", solution, output) == pytest.approx(expected, abs=1e-4)
    assert (expected > 0) == better


def test_skill_is_zero_for_the_mean_predictor_one_for_the_held_out_counts_and_bounded(with_sums):
    solution, average = with_sums
    truth = solution["truth"]
    perfect = truth.X * (truth.uns["train_sum"] / truth.uns["test_sum"])
    assert score("poisson_skill", solution, average) == pytest.approx(0, abs=1e-9)
    assert score("poisson_skill", solution, perfect) == pytest.approx(1, abs=1e-6)
    assert -1 < score("poisson_skill", solution, np.zeros_like(average)) < -0.5


def test_skill_ranks_as_the_poisson_nll_does(case):
    problem, solution = case
    raw = problem["counts"].X.toarray()
    mixed = [(1 - w) * raw + w * raw.mean(axis=0) for w in np.linspace(0, 1, 9)]
    outputs = [*mixed, solution["truth"].layers["mean"], np.zeros_like(raw), 2 * raw]
    nll, skill = (
        [score(n, solution, x) for x in outputs] for n in ("poisson_nll", "poisson_skill")
    )
    assert np.argsort(nll).tolist() == np.argsort(skill)[::-1].tolist()


def test_without_sums_of_the_training_counts_those_of_the_held_out_ones_ask_a_little_more(
    case, with_sums
):
    """They are fitted to what is to be foretold, and gain most where molecules are few, as here."""
    solution, average = case[1], with_sums[1]
    assert -0.1 < score("poisson_skill", solution, average) < 0


@pytest.mark.parametrize("name", list(FAMILY.metrics))
def test_the_order_of_cells_and_genes_does_not_matter(with_sums, name):
    solution, average = with_sums
    rng = np.random.default_rng(4)
    output = average * rng.gamma(2.0, 0.5, average.shape)
    cells, genes = (rng.permutation(n) for n in average.shape)
    turned = {"truth": solution["truth"][cells][:, genes].copy()}
    assert score(name, turned, output[cells][:, genes]) == pytest.approx(
        score(name, solution, output), rel=1e-9
    )


@pytest.mark.parametrize(
    "name", ["poisson_nll", "mse", "mse_to_mean", "pearson_gene", "pearson_cell"]
)
def test_every_cell_twice_leaves_the_means_over_cells_as_they_are(with_sums, name):
    solution, average = with_sums
    output = average * np.random.default_rng(6).gamma(2.0, 0.5, average.shape)
    rows = np.repeat(np.arange(len(output)), 2)
    twice = solution["truth"][rows].copy()
    assert score(name, {"truth": twice}, output[rows]) == pytest.approx(
        score(name, solution, output), rel=1e-9
    )


@pytest.mark.parametrize("name", list(FAMILY.metrics))
def test_the_depth_given_to_a_cell_matters_to_the_poisson_metrics_only(case, name):
    problem, solution = case
    rng = np.random.default_rng(7)
    output = rng.gamma(1.0, 1.0, problem["counts"].shape)
    deeper = output * rng.uniform(1.5, 3, (len(output), 1))
    before, after = (score(name, solution, x) for x in (output, deeper))
    assert (after == pytest.approx(before, rel=1e-9)) is not name.startswith("poisson")


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
    y = METRICS._log_truth(solution, Shared()).toarray()
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
