"""Noise ceilings, redundant metrics, variance components and sweeps, on data of known truth."""

import numpy as np
import pandas as pd
import pytest

from dgnbench.stats import (
    left_out,
    metric_correlations,
    replicate_noise,
    response_curves,
    split_half,
    tuning_gain,
    variance_split,
)
from dgnbench.stats.variance import henderson
from tests.made_up_results import made_up


def many(count, low=0.3, high=0.7):
    return {f"m{i:02}": m for i, m in enumerate(np.linspace(low, high, count))}


# --- separation of controls ------------------------------------------------------------------


def with_control_noise(sd, seed, gap=0.0):
    scores = made_up({"a": 0.5}, datasets=1, replicates=4, seed=seed)
    own = scores["method"].isin(["floor", "ceiling"])
    up = gap * (scores.loc[own, "method"] == "ceiling")
    scores.loc[own, "value"] = np.random.default_rng(seed).normal(0, sd, int(own.sum())) + up
    return scores


def test_controls_that_differ_by_their_noise_only_are_left_out_with_the_reason():
    found = [left_out(with_control_noise(1.0, seed)) for seed in range(200)]
    assert np.mean([len(table) for table in found]) == pytest.approx(0.95, abs=0.04)
    named = pd.concat(found)["reason"].unique().tolist()
    assert named == ["the controls differ by no more than their own noise"]


def test_controls_that_differ_clearly_are_not_left_out():
    assert all(left_out(with_control_noise(1.0, seed, gap=8)).empty for seed in range(20))


def test_a_dataset_with_one_control_is_left_out_with_the_reason():
    scores = made_up({"a": 0.5}, datasets=2)
    gone = (scores["method"] == "ceiling") & (scores["dataset"] == "d00")
    scores.loc[gone, "value"] = np.nan
    table = left_out(scores)
    assert table[["dataset", "reason"]].to_numpy().tolist() == [
        ["d00", "fewer than two controls have a value"]
    ]


# --- noise -----------------------------------------------------------------------------------


def test_the_noise_of_replicates_is_found_without_what_a_split_does_to_all():
    scores = made_up(many(40), datasets=1, replicates=20, split_sd=0.2, noise_sd=0.03,
                     interaction_sd=0)  # fmt: skip
    row = replicate_noise(scores).iloc[0]
    assert row["noise"] == pytest.approx(0.03, rel=0.06)
    assert row["least_difference"] == pytest.approx(1.96 * 0.03 * np.sqrt(2 / 20), rel=0.07)


def test_reliability_is_statsmodels_analysis_of_variance():
    from statsmodels.formula import api
    from statsmodels.stats import anova

    scores = made_up(many(6), datasets=1, noise_sd=0.1)
    own = scores[scores["role"] == "method"]
    table = anova.anova_lm(api.ols("scaled ~ C(method) + C(replicate)", own).fit())
    wanted = 1 - table.loc["Residual", "mean_sq"] / table.loc["C(method)", "mean_sq"]
    row = replicate_noise(scores).iloc[0]
    assert row["reliability"] == pytest.approx(max(0, wanted))
    assert row["noise"] ** 2 == pytest.approx(table.loc["Residual", "mean_sq"])


def test_no_mean_correlates_better_with_the_truth_than_its_ceiling():
    means = {f"m{i:03}": m for i, m in enumerate(np.random.default_rng(0).normal(0.5, 0.1, 400))}
    scores = made_up(means, datasets=1, interaction_sd=0, noise_sd=0.1)
    own = scores[scores["role"] == "method"].groupby("method")["scaled"].mean()
    correlation = np.corrcoef(own, [means[name] for name in own.index])[0, 1]
    assert replicate_noise(scores).iloc[0]["ceiling"] == pytest.approx(correlation, abs=0.03)


def test_one_replicate_has_no_noise_and_says_why():
    row = replicate_noise(made_up(many(4), datasets=1, replicates=1)).iloc[0]
    assert np.isnan(row["noise"])
    assert row["reason"] == "fewer than two replicates"


def test_halves_agree_where_methods_differ_and_not_where_they_do_not():
    def agreement(means):
        table = split_half(made_up(means, datasets=10, dataset_sd=0.2)).set_index("halves_of")
        return table.loc["datasets", ["agreement", "reliability"]]

    assert agreement(many(10)).min() > 0.9
    assert abs(agreement(dict.fromkeys(many(10), 0.5))["agreement"]) < 0.5


def test_the_reliability_from_halves_is_that_of_the_whole():
    """Spearman–Brown from halves ≈ the squared correlation of the whole with the truth."""
    means = {f"m{i:03}": m for i, m in enumerate(np.random.default_rng(1).normal(0.5, 0.04, 300))}
    scores = made_up(means, datasets=8, interaction_sd=0.1, noise_sd=0.0, dataset_sd=0)
    own = scores[scores["role"] == "method"].groupby("method")["scaled"].mean()
    truth = np.corrcoef(own, [means[name] for name in own.index])[0, 1] ** 2
    found = split_half(scores).set_index("halves_of").loc["datasets", "reliability"]
    assert found == pytest.approx(truth, abs=0.06)


def test_a_single_dataset_has_no_halves():
    table = split_half(made_up(many(4), datasets=1)).set_index("halves_of")
    assert table.loc["datasets", "reason"] == "fewer than 2 datasets"
    assert table.loc["replicates", "reason"] == ""


def test_metrics_that_say_the_same_are_shown():
    first = made_up(many(8), metric="m", datasets=3)
    twin = first.assign(metric="twin", direction="min", value=50 - first["value"], primary=False)
    other = made_up(many(8), metric="other", datasets=3, seed=9, interaction_sd=2).assign(
        primary=False
    )
    table = metric_correlations(pd.concat([first, twin, other], ignore_index=True))
    top = table.iloc[0]
    assert (top["metric"], top["other"], top["redundant"]) == ("m", "twin", True)
    assert top["correlation"] == pytest.approx(1)
    assert not table["redundant"].iloc[1:].any()


def test_the_rank_correlation_is_scipy_s():
    from scipy.stats import spearmanr

    first = made_up(many(8), metric="m", datasets=1)
    other = made_up(many(8), metric="other", datasets=1, seed=3, interaction_sd=0.1)
    row = metric_correlations(pd.concat([first, other])).iloc[0]
    means = [t[t["role"] == "method"].groupby("method")["scaled"].mean() for t in (first, other)]
    assert row["correlation"] == pytest.approx(spearmanr(*means).statistic)


# --- variance --------------------------------------------------------------------------------


def test_components_of_balanced_data_are_statsmodels_mean_squares():
    from statsmodels.formula import api
    from statsmodels.stats import anova

    scores = made_up(many(5), datasets=4, replicates=3)
    own = scores[scores["role"] == "method"]
    model = "scaled ~ C(dataset) * C(method) + C(dataset):C(replicate)"
    ms = anova.anova_lm(api.ols(model, own).fit())["mean_sq"]
    wanted = {
        "method": (ms["C(method)"] - ms["C(dataset):C(method)"]) / 12,
        "method × dataset": (ms["C(dataset):C(method)"] - ms["Residual"]) / 3,
        "split": (ms["C(dataset):C(replicate)"] - ms["Residual"]) / 5,
        "initialisation and method × split": ms["Residual"],
    }
    found = variance_split(scores).set_index("component")["variance"]
    assert found[list(wanted)].to_dict() == pytest.approx(wanted)


def test_components_are_right_on_average_with_missing_runs():
    truth = {"dataset": 0.1**2, "method × dataset": 0.05**2, "split": 0.04**2,
             "initialisation and method × split": 0.03**2}  # fmt: skip
    found = [
        variance_split(made_up(many(10), datasets=12, dataset_sd=0.1, interaction_sd=0.05,
                               split_sd=0.04, noise_sd=0.03, missing=0.2, seed=seed))
        .set_index("component")["variance"]
        for seed in range(25)
    ]  # fmt: skip
    mean = pd.concat(found, axis=1).mean(axis=1)
    assert mean[list(truth)].to_dict() == pytest.approx(truth, rel=0.15)


def test_extra_runs_tell_initialisation_from_split():
    truth = {"split": 0.04**2, "method × split": 0.03**2, "initialisation": 0.02**2}
    found = [
        variance_split(made_up(many(10), datasets=8, replicates=4, initialisations=2, noise_sd=0.02,
                               split_sd=0.04, method_split_sd=0.03, seed=seed))
        .set_index("component")
        for seed in range(12)
    ]  # fmt: skip
    mean = pd.concat([table["variance"] for table in found], axis=1).mean(axis=1)
    assert mean[list(truth)].to_dict() == pytest.approx(truth, rel=0.15)
    assert found[0]["note"].eq("").all()


def test_without_extra_runs_the_split_says_what_it_cannot_tell_apart():
    table = variance_split(made_up(many(4)))
    assert "initialisation cannot be told from" in table["note"].iloc[0]
    assert table["share"].sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("datasets", "replicates", "components"),
    [
        (1, 3, ["method", "split", "initialisation and method × split"]),
        (4, 1, ["dataset", "method", "method × dataset, split and initialisation"]),
    ],
)
def test_a_small_benchmark_is_split_as_far_as_it_can_be(datasets, replicates, components):
    table = variance_split(made_up(many(4), datasets=datasets, replicates=replicates))
    assert table["component"].tolist() == components
    assert table["variance"].notna().all()


def test_factors_that_are_the_same_are_an_error():
    same = np.array([0, 0, 1, 1])
    with pytest.raises(ValueError, match="cannot tell apart"):
        henderson(np.array([1.0, 2, 3, 4]), {"a": same, "b": same})


# --- sweeps ----------------------------------------------------------------------------------

SWEEP = {"vae": 0.5, "vae@beta=0.1": 0.4, "vae@beta=4": 0.6, "vae@beta=4@lr=1e-3": 0.6, "pca": 0.5}


def test_a_curve_runs_along_the_parameter_with_its_default_marked():
    table = response_curves(made_up(SWEEP, interaction_sd=0.01), defaults={"vae": {"beta": 1.0}})
    beta = table[(table["parameter"] == "beta") & table["alone"]]
    assert beta["value"].tolist() == [0.1, 1.0, 4]
    assert beta["default"].tolist() == [False, True, False]
    assert beta["difference"].tolist() == pytest.approx([-0.1, 0, 0.1], abs=0.02)
    assert (beta["lo"] < beta["mean"]).all()
    assert set(table["method"]) == {"vae"}


def test_tuning_that_helps_everywhere_is_measured_on_datasets_that_did_not_choose():
    row = tuning_gain(made_up(SWEEP, interaction_sd=0.02)).iloc[0]
    assert (row["method"], row["n_variants"], row["n_datasets"]) == ("vae", 4, 12)
    assert row["lo"] < 0.1 < row["hi"]
    assert row["p"] < 0.01
    assert set(row["chosen"].values()) <= {"vae@beta=4", "vae@beta=4@lr=1e-3"}


def test_tuning_among_equals_buys_nothing_though_the_oracles_say_so():
    equal = {"vae": 0.5} | {f"vae@beta={i}": 0.5 for i in range(10)}
    rows = pd.concat([tuning_gain(made_up(equal, seed=seed)) for seed in range(60)])
    error = rows["gain"].std() / np.sqrt(60)
    assert abs(rows["gain"].mean()) < 3 * error
    assert rows["oracle"].mean() > 0.015
    assert (rows["oracle_per_dataset"] >= rows["oracle"]).all()
    assert (rows["p"] <= 0.05).mean() <= 0.05


def test_four_datasets_have_a_gain_without_an_interval():
    row = tuning_gain(made_up(SWEEP, datasets=4)).iloc[0]
    assert np.isfinite(row["gain"])
    assert np.isnan(row["lo"])
    assert row["reason"] == "4 datasets: says nothing about other datasets"


def test_one_dataset_has_no_other_one_to_choose_on():
    row = tuning_gain(made_up(SWEEP, datasets=1)).iloc[0]
    assert np.isnan(row["gain"])
    assert row["reason"] == "one dataset: no other one to choose on"
    assert row["oracle"] >= 0
