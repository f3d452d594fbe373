"""The official numbers of the NeurIPS 2021 challenge, from its own predictions."""

import numpy as np
import pytest
from anndata import read_h5ad

from dgnbench.cards import read_house
from dgnbench.scoring import load_metrics
from dgnbench.shared import Shared

METRICS = load_metrics(read_house().metrics["modality_prediction"])


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
        ("pearson_cell", 0.8323, 1e-4),
        ("pearson_feature", 0.5994, 1e-4),
        ("spearman_cell", 0.8039, 1e-4),
        ("spearman_feature", 0.4541, 1e-4),
    ],
)
def test_the_challenge_s_own_numbers_come_out(official, metric, value, tolerance):
    solution, prediction = official
    assert getattr(METRICS, metric)(solution, prediction, Shared()) == pytest.approx(
        value, abs=tolerance
    )


def test_skill_is_zero_for_the_training_mean_and_one_for_the_truth(official):
    solution, _ = official
    truth = solution["truth"]
    mean = np.tile(truth.var["train_mean"], (truth.n_obs, 1))
    assert METRICS.rmse_skill(solution, mean, Shared()) == pytest.approx(0, abs=1e-12)
    assert METRICS.rmse_skill(solution, truth.X, Shared()) == pytest.approx(1)
