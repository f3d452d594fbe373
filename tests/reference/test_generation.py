"""Generation metrics against SciPy, scikit-learn, closed forms, a copier and a collapsed model."""

import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse, stats
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import euclidean_distances, rbf_kernel
from sklearn.model_selection import RepeatedStratifiedKFold

from dgnbench import NotApplicable
from dgnbench.cards import read_house
from dgnbench.scoring import load_metrics
from dgnbench.shared import Shared
from dgnbench.storage import read_parts

FAMILY = read_house().metrics["generation"]
METRICS = load_metrics(FAMILY)
MEMOS = {}


def score(name, solution, output):
    """As when scoring many runs: what belongs to the solution is computed once."""
    memo, _ = MEMOS.setdefault(id(solution), ({}, solution))  # kept, so that no id comes twice
    return getattr(METRICS, name)(solution, sparse.csr_matrix(output), Shared(memo))


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
    # SciPy keeps the zero distances of each point to itself; ours leaves them out.
    theirs = stats.energy_distance(x.ravel(), y.ravel()) ** 2
    within = [METRICS._means_within(METRICS._distance, z).mean() for z in (x, y)]
    of_x, of_y = METRICS._means(METRICS._distance, x, y)
    assert of_x.mean() == pytest.approx(of_y.mean())
    ours = 2 * of_x.mean() - within[0] * 39 / 40 - within[1] * 59 / 60
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


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["energy_distance", "mmd"])
@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_a_sample_of_cells_tells_its_error_and_lies_within_it(name, seed, shift, monkeypatch):
    rng = np.random.default_rng(seed)
    real, made = rng.normal(size=(1500, 5)), rng.normal(shift, 1, size=(1300, 5))
    for side, cells in (("_real", real), ("_made", made)):
        monkeypatch.setattr(METRICS, side, lambda *_, cells=cells: cells)
    exact = getattr(METRICS, name)({}, None, Shared())
    assert not hasattr(exact, "note")
    monkeypatch.setattr(METRICS, "LARGEST", 400)
    found = getattr(METRICS, name)({}, None, Shared())
    assert found.note.startswith("800 of 2,800 cells, standard error ")
    error = float(found.note.split()[-1])
    assert 0 < abs(found - exact) < 4 * error
    assert error < (0.3 if name == "energy_distance" else 0.1)


@pytest.mark.parametrize("area", [0.6, 0.9])
def test_the_error_of_an_area_under_the_curve_is_its_spread(area):
    """Of exponential scores, for which Hanley and McNeil's formula is exact."""
    rng = np.random.default_rng(0)
    m, n, ratio = 80, 50, area / (1 - area)
    of_positive = rng.exponential(ratio, (4000, m, 1))
    areas = (of_positive > rng.exponential(1, (4000, 1, n))).mean(axis=(1, 2))
    assert areas.mean() == pytest.approx(area, abs=0.005)
    assert METRICS._error_of_area(area, m, n) == pytest.approx(areas.std(), rel=0.05)


def test_a_forest_sees_a_sample_of_many_cells(solution, monkeypatch):
    made = solution["other"].X
    whole = score("rf_auroc", solution, made * 2)
    assert not hasattr(whole, "note")
    monkeypatch.setattr(METRICS, "LARGEST", 100)
    found = METRICS.rf_auroc(solution, made * 2, Shared())
    assert found.note.startswith("200 of ")
    assert found == METRICS.rf_auroc(solution, made.toarray() * 2, Shared())


@pytest.mark.parametrize("name", list(FAMILY.metrics))
def test_the_order_of_generated_cells_does_not_matter(solution, name):
    other = solution["other"].X.toarray()
    shuffled = other[np.random.default_rng(1).permutation(len(other))]
    assert score(name, solution, shuffled) == pytest.approx(score(name, solution, other), abs=1e-9)


def test_real_cells_are_near_the_ideal(solution):
    other = solution["other"].X
    assert abs(score("energy_distance", solution, other)) < 0.5
    assert score("rf_auroc", solution, other) < 0.57
    assert abs(score("correlation_error", solution, other)) < 0.05
    assert score("mode_coverage", solution, other) > 0.8  # some types have five cells only
    for name in ("mean_agreement", "variance_agreement", "zero_fraction_agreement"):
        assert score(name, solution, other) > 0.95
    assert score("memorisation", solution, other) < 0.02


def test_the_held_out_cells_themselves_score_the_ideal(solution):
    truth = solution["truth"].X
    assert score("mode_coverage", solution, truth) == 1
    for name in ("mean_agreement", "variance_agreement", "zero_fraction_agreement"):
        assert score(name, solution, truth) == pytest.approx(1)
    assert score("memorisation", solution, truth) == 0
    assert score("correlation_error", solution, truth) < 0  # no other cells share their noise


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


def two_kinds(share):
    """100 cells of two genes: gene 1 is three times as high in a share of them, else as gene 0."""
    high = np.arange(100) < 100 * share
    return AnnData(sparse.csr_matrix(np.where(high[:, None], [1.0, 3.0], [2.0, 2.0])))


@pytest.mark.parametrize(("share", "auroc"), [(0.2, 0.5), (0.7, 0.75), (1.0, 0.9)])
def test_rf_auroc_on_two_kinds_of_cells_is_half_and_half_the_difference_of_their_shares(
    share, auroc
):
    """P(made > real) + P(equal) / 2 = b (1 - a) + (a b + (1 - a)(1 - b)) / 2 = (1 + b - a) / 2."""
    value = score("rf_auroc", {"truth": two_kinds(0.2)}, two_kinds(share).X)
    assert value == pytest.approx(auroc, abs=0.01)


def test_rf_auroc_is_scikit_learn_s_fold_by_fold():
    rng = np.random.default_rng(0)
    real, made = rng.poisson(2.0, (50, 12)), rng.poisson(np.linspace(1, 3, 12), (50, 12))
    x = np.vstack([METRICS._in_own_order(METRICS.log1p_cp10k(cells)) for cells in (real, made)])
    y = np.repeat([0, 1], 50)
    values = []
    for train, test in RepeatedStratifiedKFold(n_splits=5, n_repeats=3, random_state=0).split(x, y):
        forest = RandomForestClassifier(100, min_samples_leaf=2, random_state=0)
        told = forest.fit(x[train], y[train]).predict_proba(x[test])[:, 1]
        values.append(roc_auc_score(y[test], told))
    solution = {"truth": AnnData(sparse.csr_matrix(real.astype(float)))}
    assert score("rf_auroc", solution, made) == pytest.approx(np.mean(values), abs=1e-12)
    assert np.mean(values) > 0.6
    # Identical cells: the twin of a left-out cell is of the other kind, so that the AUROC is near 0.
    assert score("rf_auroc", solution, real) == 0.5


def test_rf_auroc_of_cells_that_nothing_mistakes_for_real_is_one(solution):
    collapsed = np.tile(np.round(solution["train"].X.toarray().mean(axis=0)), (175, 1))
    assert score("rf_auroc", solution, collapsed) == 1


def correlated(rng, n):
    """Counts of 20 genes whose log-rates share one factor."""
    factor = rng.normal(0, 0.4, (n, 1)) * np.resize([1, -1], 20)
    return rng.poisson(np.exp(1 + factor)).astype(np.float64)


def test_correlation_error_is_numpy_s_product_of_the_differences_in_two_halves(solution, copied):
    log = METRICS.log1p_cp10k
    real, made = log(solution["truth"].X).toarray(), log(copied).toarray()
    genes = np.argsort(-real.var(axis=0), kind="stable")[: METRICS.N_VARIABLE]
    pairs = np.triu_indices(len(genes), 1)

    def by_half(cells, rng):
        cells = METRICS._in_own_order(cells[:, genes])
        order = rng.permutation(len(cells))
        halves = order[: (len(cells) + 1) // 2], order[(len(cells) + 1) // 2 :]
        with np.errstate(invalid="ignore"):
            return [np.nan_to_num(np.corrcoef(cells[half].T))[pairs] for half in halves]

    rngs = np.random.default_rng(0), np.random.default_rng(1)
    error, signal = 0.0, 0.0
    for _ in range(METRICS.N_HALVINGS):
        (a, b), (c, d) = by_half(real, rngs[0]), by_half(made, rngs[1])
        error, signal = error + (a - c) @ (b - d), signal + a @ b
    assert score("correlation_error", solution, copied) == pytest.approx(error / signal, abs=1e-9)


def test_correlation_error_is_free_of_noise():
    """60 cells: zero on average for the same kind of cells, one for what has no correlation."""
    rng = np.random.default_rng(1)
    same, constant, independent = [], [], []
    for _ in range(40):
        solution = {"truth": AnnData(sparse.csr_matrix(correlated(rng, 60)))}
        same.append(score("correlation_error", solution, correlated(rng, 60)))
        constant.append(score("correlation_error", solution, np.ones((60, 20))))
        independent.append(score("correlation_error", solution, rng.poisson(3, (60, 20))))
    assert np.mean(same) == pytest.approx(0, abs=0.06)
    assert constant == pytest.approx(np.ones(40))
    assert np.mean(independent) == pytest.approx(1, abs=0.1)


def test_correlation_error_has_no_meaning_where_genes_do_not_correlate():
    counts = np.random.default_rng(2).poisson(3.0, (100, 200)).astype(float)
    solution = {"truth": AnnData(sparse.csr_matrix(counts))}
    with pytest.raises(NotApplicable, match="hardly more than noise"):
        score("correlation_error", solution, counts)


def test_memorisation_is_the_ratio_of_distances_that_scikit_learn_finds(solution, copied):
    shared = Shared()
    made = np.random.default_rng(3).poisson(copied.toarray())  # near copies
    train = METRICS._real(solution, shared, "train")

    def ratio(cells):
        nearest = np.sort(euclidean_distances(cells, train), axis=1)
        return np.mean(nearest[:, 0] / nearest[:, 1])

    real, mine = (
        METRICS._real(solution, shared),
        METRICS._made(solution, sparse.csr_matrix(made), Shared()),
    )
    expected = 1 - ratio(mine) / ratio(real)
    assert 0.2 < expected < 0.8
    assert score("memorisation", solution, made) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_memorisation_is_the_share_of_copies(solution, copied, share):
    made = solution["other"].X.toarray()
    n = round(share * len(made))
    made[:n] = copied[:n].toarray()
    assert score("memorisation", solution, made) == pytest.approx(share, abs=0.03)


def test_one_profile_for_all_cells_is_no_memory_of_them_and_has_no_correlations(solution):
    """It lies in the middle of all cells, nearer to them than they are to each other."""
    profile = np.round(solution["train"].X.toarray().mean(axis=0))
    collapsed = np.tile(profile, (solution["truth"].n_obs, 1))
    assert score("memorisation", solution, collapsed) < 0.1
    assert score("correlation_error", solution, collapsed) == pytest.approx(1)
