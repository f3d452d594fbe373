"""Cross-modal metrics against SciPy, scikit-learn and the NeurIPS 2021 challenge's own numbers."""

import numpy as np
import pytest
from anndata import AnnData, read_h5ad
from scipy import sparse, stats
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from dgnbench.cards import read_house
from dgnbench.scoring import load_metrics
from dgnbench.shared import Shared

FAMILY = read_house().metrics["modality_prediction"]
METRICS = load_metrics(FAMILY)
CORRELATIONS = ("pearson_feature", "pearson_cell", "spearman_feature", "spearman_cell")


def score(name, solution, prediction):
    return getattr(METRICS, name)(solution, prediction, Shared())


@pytest.fixture
def case():
    """(solution, prediction): 60 cells x 12 features, one of them flat, values with ties."""
    rng = np.random.default_rng(0)
    truth = np.log1p(rng.poisson(2.0, (60, 12))).astype(np.float32)
    truth[:, 3] = 0
    prediction = (0.6 * truth + rng.normal(0.5, 0.4, truth.shape)).astype(np.float32)
    data = AnnData(sparse.csr_matrix(truth))
    data.var["train_mean"] = truth.mean(axis=0, dtype=np.float64) + rng.normal(0, 0.1, 12)
    return {"truth": data}, prediction


def mean_correlation(correlation, a, b):
    """Of the rows, by SciPy; where a row does not vary it is 0."""
    vary = [x.std() > 0 and y.std() > 0 for x, y in zip(a, b, strict=True)]
    return np.mean([correlation(x, y)[0] if v else 0.0 for x, y, v in zip(a, b, vary, strict=True)])


def test_errors_are_scikit_learn_s(case):
    """Over all entries at once: scikit-learn's own mean over columns is another number."""
    solution, prediction = case
    entries = solution["truth"].X.toarray().ravel(), prediction.ravel()
    for name, theirs in (("rmse", root_mean_squared_error), ("mae", mean_absolute_error)):
        assert score(name, solution, prediction) == pytest.approx(theirs(*entries), rel=1e-6)


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_correlations_are_scipy_s_row_by_row_and_column_by_column(case, kind):
    solution, prediction = case
    truth = solution["truth"].X.toarray().astype(np.float64)
    prediction = prediction.astype(np.float64)
    correlation = getattr(stats, f"{kind}r")
    cells = mean_correlation(correlation, prediction, truth)
    features = mean_correlation(correlation, prediction.T, truth.T)
    assert score(f"{kind}_cell", solution, prediction) == pytest.approx(cells, abs=1e-9)
    assert score(f"{kind}_feature", solution, prediction) == pytest.approx(features, abs=1e-9)


def test_skill_is_scikit_learn_s_r2_where_all_features_have_the_same_mean(case):
    """R² over all entries measures against one mean; the skill against that of each feature."""
    solution, prediction = case
    truth = solution["truth"].copy()
    values = truth.X.toarray() - truth.X.toarray().mean(axis=0)
    truth.X, truth.var["train_mean"] = values, values.mean()
    expected = r2_score(values.ravel(), prediction.ravel())
    assert score("rmse_skill", {"truth": truth}, prediction) == pytest.approx(expected, rel=1e-5)


def test_skill_is_zero_for_the_training_mean_one_for_the_truth_and_negative_beyond(case):
    solution, _ = case
    truth = solution["truth"]
    values, mean = truth.X.toarray(), truth.var["train_mean"].to_numpy()
    assert score("rmse_skill", solution, np.tile(mean, (60, 1))) == pytest.approx(0, abs=1e-12)
    assert score("rmse_skill", solution, values) == 1
    # Twice as far off as the mean is four times its squared error.
    assert score("rmse_skill", solution, values + 2 * (mean - values)) == pytest.approx(-3)


@pytest.mark.parametrize("name", list(FAMILY.metrics))
def test_the_order_of_cells_and_features_does_not_matter(case, name):
    solution, prediction = case
    rng = np.random.default_rng(1)
    cells, features = rng.permutation(60), rng.permutation(12)
    turned = {"truth": solution["truth"][cells][:, features].copy()}
    assert score(name, turned, prediction[cells][:, features]) == pytest.approx(
        score(name, solution, prediction), rel=1e-9
    )


@pytest.mark.parametrize("name", list(FAMILY.metrics))
def test_a_wrong_pairing_of_cells_is_worse(case, name):
    solution, prediction = case
    direction = 1 if FAMILY.metrics[name].direction == "max" else -1
    right, wrong = (score(name, solution, p) for p in (prediction, np.roll(prediction, 1, axis=0)))
    assert direction * right > direction * wrong


@pytest.mark.parametrize("name", list(FAMILY.metrics))
def test_a_common_unit_changes_errors_by_the_unit_and_nothing_else(case, name):
    solution, prediction = case
    truth = solution["truth"].copy()
    truth.X, truth.var["train_mean"] = 4 * truth.X, 4 * truth.var["train_mean"]
    factor = 4 if name in ("rmse", "mae") else 1
    assert score(name, {"truth": truth}, 4 * prediction) == pytest.approx(
        factor * score(name, solution, prediction), rel=1e-6
    )


@pytest.mark.parametrize("name", CORRELATIONS)
def test_a_correlation_is_blind_to_scale_and_shift_of_what_it_runs_over(case, name):
    solution, prediction = case
    size = (1, 12) if name.endswith("feature") else (60, 1)
    rng = np.random.default_rng(2)
    moved = rng.uniform(0.5, 2, size) * prediction.astype(np.float64) + rng.normal(0, 1, size)
    assert score(name, solution, moved) == pytest.approx(
        score(name, solution, prediction), abs=1e-9
    )


@pytest.mark.parametrize("axis", ["feature", "cell"])
def test_a_rank_correlation_is_blind_to_a_monotone_curve_and_pearson_s_is_not(case, axis):
    solution, prediction = case
    bent = np.exp(2 * prediction.astype(np.float64))
    for kind, same in (("spearman", True), ("pearson", False)):
        before, after = (score(f"{kind}_{axis}", solution, p) for p in (prediction, bent))
        assert (after == pytest.approx(before, abs=1e-9)) is same


def test_correlations_of_all_values_are_scipy_s(case):
    solution, prediction = case
    truth = solution["truth"].X.toarray()
    for name, wanted in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        statistic = wanted(prediction.ravel(), truth.ravel()).statistic
        assert score(name, *case) == pytest.approx(statistic, abs=1e-6)
        assert score(name, solution, np.zeros_like(prediction)) == 0


@pytest.fixture(scope="module")
def official(shared_folder):
    folder = shared_folder / "goldens/neurips2021/starter/predict_modality"
    name = "openproblems_bmmc_cite_starter"
    truth = read_h5ad(folder / f"{name}.test_mod2.h5ad")
    prediction = read_h5ad(folder / f"{name}.prediction.h5ad")
    assert prediction.shape == truth.shape
    train = read_h5ad(folder / f"{name}.train_mod2.h5ad")
    truth.var["train_mean"] = np.asarray(train.X.mean(axis=0)).ravel()
    return {"truth": truth}, prediction.X


@pytest.mark.parametrize(
    ("metric", "value", "tolerance"),
    [
        ("rmse", 0.5542967319, 1e-6),
        ("mae", 0.3597729206, 1e-6),
        ("pearson", 0.8285, 1e-4),
        ("pearson_cell", 0.8323, 1e-4),
        ("pearson_feature", 0.5994, 1e-4),
        ("spearman_cell", 0.8039, 1e-4),
        ("spearman_feature", 0.4541, 1e-4),
    ],
)
def test_the_challenge_s_own_numbers_come_out(official, metric, value, tolerance):
    assert score(metric, *official) == pytest.approx(value, abs=tolerance)


def test_skill_on_the_challenge_s_data_is_zero_for_the_training_mean(official):
    solution, _ = official
    truth = solution["truth"]
    mean = np.tile(truth.var["train_mean"], (truth.n_obs, 1))
    assert score("rmse_skill", solution, mean) == pytest.approx(0, abs=1e-12)
    assert score("rmse_skill", solution, truth.X) == pytest.approx(1)
