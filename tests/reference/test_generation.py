"""Generation metrics against SciPy, scikit-learn, closed forms, a copier and a collapsed model."""

import numpy as np
import pytest
from scipy import sparse, stats
from sklearn.metrics.pairwise import euclidean_distances, rbf_kernel

from dgnbench.cards import read_house
from dgnbench.scoring import load_metrics
from dgnbench.shared import Shared
from dgnbench.storage import read_parts

FAMILY = read_house().metrics["generation"]
METRICS = load_metrics(FAMILY)


def score(name, solution, output):
    return getattr(METRICS, name)(solution, sparse.csr_matrix(output), Shared())


@pytest.fixture(scope="module")
def solution(groups):
    return read_parts(groups("generation") / "solution")


@pytest.fixture(scope="module")
def copied(solution):
    """What a model that memorises gives: training cells, as many as asked for."""
    n = solution["truth"].n_obs
    return solution["train"].X[np.random.default_rng(0).permutation(len(solution["train"]))[:n]]


def test_energy_distance_is_scipy_s_in_one_dimension():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 1)), rng.normal(0.7, 1.5, size=(60, 1))
    mean = METRICS._mean_distance
    # SciPy keeps the zero distances of each point to itself; ours leaves them out.
    theirs = stats.energy_distance(x.ravel(), y.ravel()) ** 2
    ours = 2 * mean(x, y) - mean(x, x, same=True) * 39 / 40 - mean(y, y, same=True) * 59 / 60
    assert ours == pytest.approx(theirs, rel=1e-9)


def test_energy_distance_and_mmd_are_their_double_sums(solution, copied):
    shared = Shared()
    real = METRICS._real(solution, shared)
    made = METRICS._made(solution, copied, shared)

    def off_diagonal(matrix):
        n = len(matrix)
        return (matrix.sum() - np.trace(matrix)) / (n * (n - 1))

    distances = [euclidean_distances(a, b) for a, b in ((made, real), (real, real), (made, made))]
    expected = 2 * distances[0].mean() - off_diagonal(distances[1]) - off_diagonal(distances[2])
    assert score("energy_distance", solution, copied) == pytest.approx(expected, abs=1e-5)

    median = np.median(euclidean_distances(real, squared=True)[np.triu_indices(len(real), 1)])
    total = 0.0
    for width in METRICS.KERNEL_WIDTHS:
        gamma = 1 / (width * median)
        total += off_diagonal(rbf_kernel(real, gamma=gamma))
        total += off_diagonal(rbf_kernel(made, gamma=gamma))
        total -= 2 * rbf_kernel(made, real, gamma=gamma).mean()
    expected = total / len(METRICS.KERNEL_WIDTHS)
    assert score("mmd", solution, copied) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", list(FAMILY.metrics))
def test_the_order_of_generated_cells_does_not_matter(solution, name):
    other = solution["other"].X.toarray()
    shuffled = other[np.random.default_rng(1).permutation(len(other))]
    tolerance = 0.03 if name == "rf_auroc" else 1e-9  # its folds follow the order
    assert score(name, solution, shuffled) == pytest.approx(
        score(name, solution, other), abs=tolerance
    )


def test_real_cells_are_near_the_ideal(solution):
    other = solution["other"].X
    assert abs(score("energy_distance", solution, other)) < 0.5
    assert score("rf_auroc", solution, other) < 0.65
    assert score("mode_coverage", solution, other) > 0.8  # some types have five cells only
    for name in ("mean_agreement", "variance_agreement", "zero_fraction_agreement"):
        assert score(name, solution, other) > 0.95
    assert score("memorisation", solution, other) < 0.1


def test_the_held_out_cells_themselves_score_the_ideal(solution):
    truth = solution["truth"].X
    assert score("mode_coverage", solution, truth) == 1
    for name in ("mean_agreement", "variance_agreement", "zero_fraction_agreement"):
        assert score(name, solution, truth) == pytest.approx(1)
    assert score("correlation_error", solution, truth) == pytest.approx(0, abs=1e-9)
    assert score("memorisation", solution, truth) == 0


def test_a_copier_looks_perfect_but_is_found_out_by_memorisation(solution, copied):
    assert abs(score("energy_distance", solution, copied)) < 0.5
    assert score("memorisation", solution, copied) == pytest.approx(1, abs=1e-6)


def test_a_model_that_makes_one_type_only_covers_one_mode(solution):
    truth = solution["truth"]
    kind = truth.obs["cell_type"].value_counts().index[0]
    cells = np.flatnonzero(truth.obs["cell_type"] == kind)
    collapsed = truth.X[np.resize(cells, truth.n_obs)]
    n_types = truth.obs["cell_type"].nunique()
    assert score("mode_coverage", solution, collapsed) < 2 / n_types
    assert score("mmd", solution, collapsed) > 10 * abs(score("mmd", solution, solution["other"].X))


def test_concordance_is_one_only_for_equal_values_and_knows_its_closed_form():
    x = np.array([1.0, 2.0, 3.0, 4.0])
    assert METRICS._concordance(x, x) == pytest.approx(1)
    # Equal spread, shifted by one: 2 var / (2 var + 1)
    assert METRICS._concordance(x, x + 1) == pytest.approx(2.5 / 3.5)
    assert METRICS._concordance(x, x[::-1]) == pytest.approx(-1)


def test_correlation_error_is_numpy_s(solution, copied):
    log = METRICS.log1p_cp10k
    real, made = log(solution["truth"].X).toarray(), log(copied).toarray()
    genes = np.argsort(-real.var(axis=0), kind="stable")[: METRICS.N_VARIABLE]
    pairs = np.triu_indices(len(genes), 1)

    def correlations(x):
        with np.errstate(invalid="ignore"):
            return np.nan_to_num(np.corrcoef(x[:, genes].T))[pairs]

    expected = np.abs(correlations(real) - correlations(made)).mean()
    assert score("correlation_error", solution, copied) == pytest.approx(expected, abs=1e-9)
