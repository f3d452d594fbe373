"""Paired tests against SciPy, statsmodels and scikit-posthocs, and verdicts against a known truth."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from dgnbench.stats import (
    against_baselines,
    all_pairs,
    compare,
    critical_differences,
    paired_differences,
    standings,
)
from dgnbench.stats.friedman import nemenyi
from dgnbench.stats.pairs import effect_size, holm, sign_flip, wilcoxon
from tests.made_up_results import made_up


@pytest.mark.parametrize("n", [6, 9, 12])
def test_the_exact_permutation_test_is_scipy_s(n):
    x = np.random.default_rng(n).normal(0.4, 1, size=n)
    ours = sign_flip(x[:, None])
    for side, alternative in ((ours.up, "greater"), (ours.down, "less"),
                              (ours.two_sided, "two-sided")):  # fmt: skip
        theirs = scipy_stats.permutation_test((x,), np.mean, permutation_type="samples",
                                              alternative=alternative, n_resamples=np.inf)  # fmt: skip
        assert side[0] == pytest.approx(theirs.pvalue)


def test_with_many_units_random_sign_patterns_come_near_the_exact_p():
    x = np.random.default_rng(1).normal(0.5, 1, size=16)
    theirs = scipy_stats.permutation_test((x,), np.mean, permutation_type="samples",
                                          n_resamples=np.inf)  # fmt: skip
    assert sign_flip(x[:, None]).two_sided[0] == pytest.approx(theirs.pvalue, abs=0.01)


def test_missing_differences_count_as_if_they_were_not_there():
    x = np.array([0.3, 0.1, 0.4, -0.05, 0.6, 0.2])
    holed = np.array([0.3, np.nan, 0.1, 0.4, -0.05, np.nan, 0.6, 0.2])
    both = np.column_stack([holed, np.where(np.isnan(holed), 1.0, holed)])
    assert sign_flip(both).two_sided[0] == pytest.approx(sign_flip(x[:, None]).two_sided[0])
    assert sign_flip(both).n.tolist() == [6, 8]


def test_wilcoxon_is_scipy_s():
    x = np.random.default_rng(2).normal(0.4, 1, size=(10, 3))
    theirs = [scipy_stats.wilcoxon(column).pvalue for column in x.T]
    assert wilcoxon(x).two_sided == pytest.approx(theirs)


def test_holm_is_statsmodels_():
    from statsmodels.stats import multitest

    p = np.random.default_rng(3).random(20) ** 3
    assert holm(p) == pytest.approx(multitest.multipletests(p, method="holm")[1])
    holed = np.append(p, np.nan)
    assert holm(holed)[:-1] == pytest.approx(holm(p))


def test_the_effect_size_is_unbiased():
    x = np.random.default_rng(4).normal(0.8, 1.0, size=(6, 20_000))
    assert effect_size(x).mean() == pytest.approx(0.8, abs=0.02)


def test_fewer_than_six_datasets_allow_no_conclusion_and_the_reason_says_so():
    clear = made_up({"a": 0.9, "b": 0.1}, datasets=5)
    row = all_pairs(clear).iloc[0]
    assert row["verdict"] == "too little data"
    assert row["reason"] == (
        "5 datasets cannot give p below 0.0625, and 1 comparison would need 0.05"
    )
    assert all_pairs(made_up({"a": 0.9, "b": 0.1}, datasets=6)).iloc[0]["verdict"] == "worse"


def test_more_comparisons_need_more_datasets():
    means = {f"m{i}": i / 10 for i in range(6)}  # 15 pairs
    assert set(all_pairs(made_up(means, datasets=8))["verdict"]) == {"too little data"}
    assert "better" in set(all_pairs(made_up(means, datasets=10))["verdict"])


def test_few_datasets_with_many_replicates_speak_about_these_datasets_only():
    row = all_pairs(made_up({"a": 0.7, "b": 0.5}, datasets=2, replicates=6)).iloc[0]
    assert (row["unit"], row["n"], row["verdict"]) == ("replicates", 12, "worse")
    assert row["reason"] == "about these datasets only"


def test_a_tolerance_makes_a_small_sure_difference_none():
    scores = made_up({"a": 0.5, "b": 0.53}, interaction_sd=0.005, noise_sd=0.002)
    assert all_pairs(scores).iloc[0]["verdict"] == "better"
    assert all_pairs(scores, tolerance=0.1).iloc[0]["verdict"] == "no difference shown"


@pytest.mark.parametrize("test", ["sign_flip", "wilcoxon"])
def test_among_equals_a_difference_is_found_in_at_most_one_table_of_twenty(test):
    tables = 150 if test == "sign_flip" else 40
    found = [
        all_pairs(made_up({f"m{i}": 0.5 for i in range(4)}, missing=0.05, seed=seed), test=test,
                  draws=10)["verdict"].isin(["better", "worse"]).any()
        for seed in range(tables)
    ]  # fmt: skip
    assert np.mean(found) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / tables)


def field(difference, seed):
    """Three baselines of equal truth, and five methods of which the first differs from them."""
    means = {f"b{i}": 0.5 for i in range(3)} | {f"m{i}": 0.5 for i in range(5)}
    means["m0"] += difference
    return made_up(means, baselines=("b0", "b1", "b2"), seed=seed)


def test_no_better_than_the_best_baseline_is_called_better_or_worse_in_at_most_5_percent():
    found = [against_baselines(field(0, seed), draws=10)["verdict"] for seed in range(100)]
    assert np.mean([(v == "better").any() for v in found]) <= 0.05
    assert np.mean([(v == "worse").any() for v in found]) <= 0.094  # 0.05 and two standard errors


@pytest.mark.parametrize(("difference", "verdict"), [(0.12, "better"), (-0.12, "worse")])
def test_a_real_difference_to_the_baselines_is_mostly_found_and_never_turned_round(
    difference, verdict
):
    tables = [against_baselines(field(difference, s), draws=10) for s in range(40)]
    said = [table.set_index("method").loc["m0", "verdict"] for table in tables]
    other = {"better": "worse", "worse": "better"}[verdict]
    assert said.count(verdict) >= 0.8 * len(said)
    assert said.count(other) == 0


def test_the_difference_to_the_best_baseline_has_an_interval_that_holds_the_truth():
    held = []
    for seed in range(60):
        scores = made_up({"b": 0.5, **{f"m{i}": 0.55 for i in range(5)}}, baselines=("b",),
                         interaction_sd=0.05, datasets=7, seed=seed)  # fmt: skip
        table = against_baselines(scores, draws=1000)
        held.append((table["lo"] <= 0.05) & (table["hi"] >= 0.05))
    assert 0.92 <= np.mean(held) <= 0.98


def test_who_is_given_labels_must_beat_every_baseline_the_others_only_those_without():
    means = {"plain": 0.5, "labelled": 0.7, "m": 0.6, "l": 0.6}
    scores = made_up(means, baselines=("plain", "labelled"), label_users=("labelled", "l"))
    table = against_baselines(scores).set_index("method")
    assert table["baseline"].to_dict() == {"m": "plain", "l": "labelled"}
    assert table["below_baseline"].to_dict() == {"m": False, "l": True}


def test_a_method_and_a_baseline_that_both_failed_everywhere_are_too_little_data():
    table = made_up({"m": 0.6, "good": 0.5, "gone": 0.4}, datasets=1, replicates=1,
                    baselines=("good", "gone"))  # fmt: skip
    failed = table["method"].isin(["m", "gone"])
    table.loc[failed, ["value", "scaled"]] = np.nan
    table.loc[failed, "status"] = "failed"
    found = against_baselines(table)
    assert found["verdict"].tolist() == ["too little data"]
    assert found["reason"].tolist() == [
        "no dataset where both have a score; about these datasets only"
    ]


def test_standings_put_ranks_intervals_and_flags_in_one_row():
    means = {"b": 0.6, "good": 0.9, "poor": 0.4, "useless": -0.2}
    scores = made_up(means, baselines=("b",), interaction_sd=0.02)
    table = standings(scores).set_index("method")
    assert list(table.index) == ["good", "b", "poor", "useless"]
    assert table["below_baseline"].to_dict() == {
        "good": False, "b": False, "poor": True, "useless": True}  # fmt: skip
    assert table.index[table["below_floor"]].tolist() == ["useless"]
    assert table.loc["good", "verdict"] == "better"
    assert table.loc["poor", "verdict"] == "worse"
    assert pd.isna(table.loc["b", "verdict"])


# --- Friedman and Nemenyi --------------------------------------------------------------------


def test_friedman_and_nemenyi_are_scipy_s_and_scikit_posthocs():
    import scikit_posthocs as posthocs

    scores = made_up({f"m{i}": 0.4 + 0.05 * i for i in range(5)}, datasets=10)
    diagram = critical_differences(scores)[0]
    means = scores[~scores["method"].isin(["floor", "ceiling"])].pivot_table(
        index="dataset", columns="method", values="scaled")  # fmt: skip
    theirs = scipy_stats.friedmanchisquare(*means.T.to_numpy())
    assert (diagram.statistic, diagram.p) == pytest.approx((theirs.statistic, theirs.pvalue))
    p = posthocs.posthoc_nemenyi_friedman(means.to_numpy())
    ranks = np.array([diagram.ranks[name] for name in means.columns])
    assert nemenyi(ranks, 10) == pytest.approx(p.to_numpy(), abs=1e-6)
    apart = np.abs(ranks[:, None] - ranks[None, :]) >= diagram.critical_difference
    np.testing.assert_array_equal(apart, p.to_numpy() <= 0.05)
    together = {frozenset((a, b)) for group in diagram.groups for a in group for b in group}
    for i, a in enumerate(means.columns):
        for j, b in enumerate(means.columns):
            assert (frozenset((a, b)) in together) == (not apart[i, j]) or i == j


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (5, 2.728), (10, 3.164)])
def test_the_critical_difference_is_demsar_s(k, q):
    """q of Demšar 2006, table 5a; k = 2 is below the number of methods that a diagram needs."""
    if k == 2:
        assert nemenyi(np.array([1.0, 1 + q / np.sqrt(10)]), 10)[0, 1] == pytest.approx(
            0.05, abs=1e-3
        )
        return
    diagram = critical_differences(made_up({f"m{i}": i / 10 for i in range(k)}, datasets=14))[0]
    assert diagram.critical_difference == pytest.approx(
        q * np.sqrt(k * (k + 1) / (6 * 14)), abs=2e-3
    )


def test_methods_that_do_not_differ_are_one_group():
    diagram = critical_differences(made_up({f"m{i}": 0.5 for i in range(4)}, seed=1))[0]
    assert diagram.p > 0.05
    assert diagram.groups == (tuple(diagram.ranks),)


def test_who_is_given_labels_has_a_diagram_of_its_own():
    means = {"a": 0.5, "b": 0.5, "c": 0.5, "x": 0.9, "y": 0.9, "z": 0.9}
    without, given = critical_differences(made_up(means, datasets=8, label_users=("x", "y", "z")))
    assert (without.uses_labels, given.uses_labels) == (False, True)
    assert set(without.ranks) == {"a", "b", "c"}
    assert set(given.ranks) == {"x", "y", "z"}
    together = critical_differences(made_up(means, datasets=8))[0]
    assert together.p < 1e-3 < min(without.p, given.p)


def test_four_datasets_make_no_diagram():
    diagram = critical_differences(made_up({f"m{i}": i / 10 for i in range(4)}, datasets=4))[0]
    assert not diagram.enough
    assert diagram.reason == "4 datasets, at least 5 are needed"
    assert list(diagram.ranks) == ["m3", "m2", "m1", "m0"]


# --- dgnbench compare ------------------------------------------------------------------------


def changed(scores, by, sd=0.0, method="a"):
    """The same table after a commit that moved a method by so much."""
    later = scores.copy()
    own = later["method"] == method
    noise = np.random.default_rng(5).normal(0, sd, int(own.sum())) if sd else 0.0
    later.loc[own, "value"] += 20 * (by + noise)
    return later


@pytest.mark.parametrize(
    ("by", "tolerance", "verdict"),
    [
        (0.1, 0.0, "better"),
        (-0.1, 0.0, "worse"),
        (0.0, 0.0, "no difference shown"),
        (0.03, 0.05, "no difference shown"),
    ],
)
def test_two_commits_are_compared(by, tolerance, verdict):
    scores = made_up({"a": 0.5, "b": 0.6})
    table = compare(scores, changed(scores, by, sd=0.02), tolerance=tolerance).set_index("method")
    assert table.loc["a", "verdict"] == verdict
    assert table.loc["a", "difference"] == pytest.approx(by, abs=0.01)
    assert table.loc["b", "identical"]
    assert table.loc["b", "reason"] == "all scores are identical"


def test_one_dataset_and_three_replicates_are_too_little_data():
    scores = made_up({"a": 0.5}, datasets=1)
    row = compare(scores, changed(scores, 0.3)).iloc[0]
    assert row["verdict"] == "too little data"
    assert row["reason"] == ("3 paired runs cannot give p below 0.25, and 1 comparison would need "
                             "0.05; about these datasets only")  # fmt: skip


def test_two_methods_of_one_table_are_compared():
    scores = made_up({"a": 0.5, "b": 0.7})
    row = compare(scores, scores, methods=("a", "b")).iloc[0]
    assert (row["method"], row["verdict"]) == ("a → b", "better")


def test_a_run_that_fails_now_counts_against_the_change_or_not_at_all():
    scores = made_up({"a": 0.5})
    later = scores.copy()
    lost = (later["method"] == "a") & (later["dataset"] == "d00")
    later.loc[lost, ["value", "scaled"]] = np.nan
    later.loc[lost, "status"] = "failed"
    floor, skip = (compare(scores, later, policy=policy).iloc[0] for policy in ("floor", "skip"))
    assert floor["difference"] < 0
    assert (skip["difference"], skip["n"]) == (0, 11)
    assert floor["missing_after"] == skip["missing_after"] == 3


def test_moved_controls_are_told_and_do_not_move_the_scale():
    scores = made_up({"a": 0.5})
    later = scores.copy()
    later.loc[later["method"] == "ceiling", "value"] += 4.0
    row = compare(scores, later).iloc[0]
    assert row["identical"]
    assert row["controls_moved"] == pytest.approx(0.2)


def test_tables_without_anything_in_common_are_an_error_that_says_what_to_do():
    with pytest.raises(ValueError, match="compare tables of one benchmark"):
        compare(made_up({"a": 0.5}, task="t"), made_up({"a": 0.5}, task="u"))


def test_differences_are_listed_run_by_run():
    scores = made_up({"a": 0.5}, datasets=2, replicates=2)
    pairs = paired_differences(scores, changed(scores, 0.25))
    assert len(pairs) == 4
    assert pairs["difference"].tolist() == pytest.approx([0.25] * 4)


def test_changes_that_change_nothing_are_called_better_or_worse_in_at_most_5_percent():
    found = []
    for seed in range(100):
        scores = made_up({"a": 0.5}, datasets=7, seed=seed)
        later = scores.copy()
        own = later["method"] == "a"
        later.loc[own, "value"] += np.random.default_rng(seed).normal(0, 1, int(own.sum()))
        found.append(compare(scores, later)["verdict"].iloc[0] in ("better", "worse"))
    assert np.mean(found) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 100)
