"""The bootstrap: how often its intervals hold the truth, who is best, and what it refuses to say."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from dgnbench.stats import aggregate, dataset_intervals, intervals
from dgnbench.stats.bootstrap import draw, probability_best, rank_interval
from tests.made_up_results import made_up


def coverage(simulate, *, truth=0.0, batches=10, draws=2000):
    """The share of 95 % intervals that hold the truth; ``simulate(rng)`` gives (means, d, r)."""
    rng = np.random.default_rng(7)
    held = []
    for batch in range(batches):
        lo, hi = draw(simulate(rng), draws=draws, seed=batch).interval()
        held.append((lo <= truth) & (truth <= hi))
    return float(np.mean(held))


def normal(datasets, replicates, *, dataset_sd=1.0, noise_sd=0.5, size=300):
    def simulate(rng):
        return dataset_sd * rng.standard_normal((size, datasets, 1)) + noise_sd * (
            rng.standard_normal((size, datasets, replicates))
        )

    return simulate


@pytest.mark.parametrize("noise_sd", [0.1, 3.0], ids=["quiet replicates", "noisy replicates"])
@pytest.mark.parametrize("datasets", [5, 8, 12])
def test_95_percent_intervals_hold_the_truth_in_93_to_97_percent(datasets, noise_sd):
    assert 0.93 <= coverage(normal(datasets, 3, noise_sd=noise_sd)) <= 0.97


def test_intervals_of_a_table_hold_the_true_means_in_93_to_97_percent():
    held = []
    for seed in range(60):
        scores = made_up({f"m{i:02}": 0.05 * i for i in range(20)}, datasets=6, seed=seed,
                         dataset_sd=0.0)  # what all share would make the 20 one  # fmt: skip
        table = intervals(scores, draws=1000, seed=seed)
        table = table[table["role"] == "method"]
        truth = table["method"].str[1:].astype(int) * 0.05
        held.append((table["lo"] <= truth) & (truth <= table["hi"]))
    assert 0.93 <= np.mean(held) <= 0.97


@pytest.mark.parametrize(("datasets", "replicates"), [(1, 3), (1, 8), (3, 3), (4, 3)])
def test_with_few_datasets_the_interval_is_over_replicates_and_holds_in_93_to_97(
    datasets, replicates
):
    assert 0.93 <= coverage(normal(datasets, replicates, dataset_sd=0.0)) <= 0.97


def test_with_two_replicates_of_four_datasets_the_interval_is_too_wide_rather_than_too_narrow():
    assert 0.95 <= coverage(normal(4, 2, dataset_sd=0.0)) <= 0.99


def test_datasets_of_unequal_noise_make_the_interval_over_replicates_at_most_a_little_off():
    noise = np.array([1.0, 0.1, 0.1, 0.1])[None, :, None]
    found = coverage(lambda rng: rng.standard_normal((300, 4, 3)) * noise)
    assert 0.93 <= found <= 0.97


def test_a_plain_percentile_interval_would_be_too_narrow():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((2000, 5))
    weights = rng.multinomial(5, [0.2] * 5, size=1000) / 5
    lo, hi = np.quantile(weights @ values.T, [0.025, 0.975], axis=0)
    assert np.mean((lo <= 0) & (hi >= 0)) < 0.88


def test_intervals_of_skewed_scores_hold_less_often_as_the_page_says():
    def lopsided(rng):
        return rng.exponential(size=(300, 5, 1)) - 1

    assert 0.85 <= coverage(lopsided) <= 0.92


def test_for_symmetric_data_the_interval_is_student_s():
    values = np.tile([-2.0, -1, 0, 1, 2, -1, 1, 0], (1, 1))[:, :, None]
    lo, hi = draw(values, draws=40_000).interval()
    wanted = scipy_stats.t.interval(0.95, 7, scale=values.std(ddof=1) / np.sqrt(8))
    assert (lo[0], hi[0]) == pytest.approx(wanted, rel=0.04)


def test_one_dataset_says_that_its_interval_is_over_replicates_only():
    table = intervals(made_up({"a": 0.5, "b": 0.6}, datasets=1)).set_index("method")
    assert table.loc["a", "over"] == "replicates"
    assert "says nothing about other datasets" in table.loc["a", "reason"]


def test_one_replicate_of_one_dataset_has_no_interval_and_nobody_is_probably_best():
    table = intervals(made_up({"a": 0.5, "b": 0.6}, datasets=1, replicates=1)).set_index("method")
    assert table.loc["a", "over"] == "nothing"
    assert table.loc["a", ["lo", "hi", "p_best"]].isna().all()
    assert table.loc["b", "rank"] == 1


def test_the_interval_s_mean_is_the_aggregate_s():
    scores = made_up({"a": 0.5, "b": 0.6, "c": 0.7}, missing=0.3)
    for policy in ("floor", "skip"):
        pd.testing.assert_series_equal(intervals(scores, policy)["mean"],
                                       aggregate(scores, policy)["mean"])  # fmt: skip


def test_a_method_s_interval_depends_on_no_other_method():
    many = made_up({"a": 0.5, "b": 0.6, "c": 0.7})
    few = many[~many["method"].isin(["b", "c"])]
    both = [intervals(t).set_index("method").loc["a", ["mean", "lo", "hi"]] for t in (many, few)]
    assert both[0].astype(float).to_numpy() == pytest.approx(both[1].astype(float).to_numpy())


def test_a_report_made_twice_shows_the_same_numbers():
    scores = made_up({"a": 0.5, "b": 0.52}, missing=0.1)
    pd.testing.assert_frame_equal(intervals(scores), intervals(scores))


def test_the_probability_of_being_best_is_the_posterior_of_two_normal_means():
    values = np.zeros((2, 8, 1))
    values[1, :, 0] = 0.3 + np.array([-1, 1, -0.5, 0.5, -0.2, 0.2, -1, 1])
    drawn = draw(values, draws=40_000)
    standard_error = values[1].std(ddof=1) / np.sqrt(8)
    wanted = scipy_stats.t.cdf(0.3 / standard_error, 7)
    assert probability_best(drawn.values)[1] == pytest.approx(wanted, abs=0.01)


def test_equal_methods_share_the_probability_of_being_best():
    scores = made_up({f"m{i}": 0.5 for i in range(4)}, interaction_sd=0, noise_sd=0)
    table = intervals(scores)
    assert table.loc[table["role"] == "method", "p_best"].tolist() == [0.25] * 4


def test_among_equals_the_probability_of_being_best_is_not_often_near_one():
    sure = [intervals(made_up({f"m{i}": 0.5 for i in range(5)}, datasets=8, seed=seed),
                      draws=300)["p_best"].max() > 0.95 for seed in range(100)]  # fmt: skip
    assert np.mean(sure) <= 0.15


def test_rank_intervals_hold_the_true_rank():
    held = []
    for seed in range(60):
        scores = made_up({f"m{i}": 0.4 + 0.03 * i for i in range(6)}, datasets=8, seed=seed)
        table = intervals(scores, draws=400)
        table = table[table["role"] == "method"]
        truth = 6 - table["method"].str[1:].astype(int)
        held.append((table["rank_lo"] <= truth) & (truth <= table["rank_hi"]))
    assert np.mean(held) >= 0.93


def test_clear_differences_leave_no_doubt_about_ranks():
    lo, hi = rank_interval(np.array([[3.0, 2.0, 1.0]] * 50))
    assert lo.tolist() == hi.tolist() == [1, 2, 3]


def test_label_users_are_ranked_apart_and_controls_not_at_all():
    scores = made_up({"a": 0.5, "b": 0.6, "l": 0.9}, label_users=("l",))
    table = intervals(scores).set_index("method")
    assert table["rank"].dropna().to_dict() == {"a": 2, "b": 1, "l": 1}
    assert table.loc["l", "p_best"] == 1
    together = intervals(scores, labels_apart=False).set_index("method")
    assert together.loc["l", "rank"] == 1
    assert together.loc["b", "rank"] == 2


def test_on_one_dataset_the_interval_over_replicates_is_student_s():
    scores = made_up({"a": 0.5}, datasets=2, replicates=4)
    table = dataset_intervals(scores).set_index(["dataset", "method"])
    own = scores[(scores["dataset"] == "d01") & (scores["method"] == "a")]["scaled"]
    wanted = scipy_stats.t.interval(0.95, 3, loc=own.mean(), scale=scipy_stats.sem(own))
    got = table.loc[("d01", "a"), ["scaled_lo", "scaled_hi"]]
    assert tuple(got) == pytest.approx(wanted)


def test_a_large_benchmark_takes_seconds():
    import time

    means = {f"m{i:02}": 0.3 + 0.01 * i for i in range(40)}
    scores = pd.concat([made_up(means, task=f"t{i}", seed=i) for i in range(4)])
    start = time.process_time()
    intervals(scores)
    assert time.process_time() - start < 5


def test_twins_share_a_rank_that_lies_in_its_interval():
    table = made_up({"one": 0.6, "other": 0.4}, datasets=8)
    twin = table[table["method"] == "one"].assign(method="twin")
    found = intervals(pd.concat([table, twin])).set_index("method").loc[["one", "twin"]]
    assert (found["rank"] == 1).all()
    assert (found["rank_lo"] == 1).all()
    assert (found["rank_hi"] == 1).all()
    assert found["p_best"].tolist() == pytest.approx([0.5, 0.5])
