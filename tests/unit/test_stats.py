"""Scaling between controls and both ways to count what is missing."""

import math

import pandas as pd
import pytest

from dgnbench.stats import aggregate, both_policies, not_separated, scaled
from tests.made_up_results import made_up


def table(values, direction="max", dataset="d", metric="m"):
    """Rows for {method: value}; names that start with floor or ceiling are controls."""
    return pd.DataFrame(
        {
            "task": "t",
            "dataset": dataset,
            "replicate": 0,
            "method": method,
            "role": method if method in ("floor", "ceiling") else "method",
            "uses_labels": False,
            "metric": metric,
            "direction": direction,
            "primary": True,
            "value": value,
            "status": "failed" if math.isnan(value) else "ok",
        }
        for method, value in values.items()
    )


def with_scaled(*tables):
    scores = pd.concat(tables, ignore_index=True)
    return scores.assign(scaled=scaled(scores))


@pytest.mark.parametrize(("direction", "mine"), [("max", 0.25), ("min", 0.75)])
def test_the_worst_control_is_zero_and_the_best_is_one(direction, mine):
    floor, ceiling = (0, 4) if direction == "max" else (4, 0)
    scores = with_scaled(table({"floor": floor, "ceiling": ceiling, "a": 1}, direction))
    assert scores.set_index("method")["scaled"].to_dict() == {"floor": 0, "ceiling": 1, "a": mine}


def test_worse_than_the_worst_control_is_not_clipped():
    scores = with_scaled(table({"floor": 0, "ceiling": 2, "a": -1, "b": 3}))
    assert scores.set_index("method")["scaled"][["a", "b"]].tolist() == [-0.5, 1.5]


def test_other_methods_change_nothing():
    few = with_scaled(table({"floor": 0, "ceiling": 2, "a": 1}))
    many = with_scaled(table({"floor": 0, "ceiling": 2, "a": 1, "b": 99, "c": -99}))
    assert few["scaled"].iloc[2] == many["scaled"].iloc[2]


def test_a_metric_whose_controls_do_not_separate_is_named_and_left_out():
    scores = with_scaled(
        table({"floor": 1, "ceiling": 1, "a": 5}, metric="flat"),
        table({"floor": 0, "ceiling": 1, "a": 0.5}),
    )
    assert not_separated(scores) == [("t", "d", "flat")]
    assert scores.loc[scores["metric"] == "flat", "scaled"].isna().all()
    means = aggregate(scores, "floor").set_index("method")
    assert means.loc["a", "mean"] == 0.5
    assert means.loc["a", "coverage"] == 1


def test_a_missing_score_counts_as_floor_or_not_at_all_and_coverage_says_so():
    scores = with_scaled(
        table({"floor": 0, "ceiling": 1, "a": 0.8}),
        table({"floor": 0, "ceiling": 1, "a": math.nan}, dataset="e"),
    )
    floor = aggregate(scores, "floor").set_index("method").loc["a"]
    skip = aggregate(scores, "skip").set_index("method").loc["a"]
    assert (floor["mean"], floor["coverage"]) == (0.4, 0.5)
    assert (skip["mean"], skip["coverage"]) == (0.8, 0.5)


def test_a_metric_that_does_not_apply_lowers_nobody_s_coverage():
    other = table({"floor": 0, "ceiling": 1, "a": 0.5}, dataset="e")
    other["status"], other["value"] = "not_applicable", math.nan
    scores = with_scaled(table({"floor": 0, "ceiling": 1, "a": 0.8}), other)
    row = aggregate(scores, "floor").set_index("method").loc["a"]
    assert (row["mean"], row["coverage"]) == (0.8, 1)


def test_a_dataset_that_could_not_be_scored_lowers_everybody_s_coverage():
    nothing = table({"floor": math.nan, "ceiling": math.nan, "a": math.nan}, dataset="e")
    scores = with_scaled(table({"floor": 0, "ceiling": 1, "a": 0.8}), nothing)
    row = aggregate(scores, "floor").set_index("method").loc["a"]
    assert (row["mean"], row["coverage"]) == (0.4, 0.5)


def test_both_policies_stand_side_by_side_and_a_ranking_that_depends_on_them_is_marked():
    scores = with_scaled(
        table({"floor": 0, "ceiling": 1, "a": 0.8, "b": 0.5, "c": 0.1}),
        table({"floor": 0, "ceiling": 1, "a": math.nan, "b": 0.5, "c": 0.1}, dataset="e"),
    )
    rows = both_policies(scores).set_index("method")
    assert rows["floor_rank"].to_dict() == {"b": 1, "a": 2, "c": 3}
    assert rows["skip_rank"].to_dict() == {"b": 2, "a": 1, "c": 3}
    assert rows["depends_on_policy"].to_dict() == {"a": True, "b": True, "c": False}
    assert rows["coverage"].to_dict() == {"a": 0.5, "b": 1, "c": 1}


def test_ranks_depend_on_no_other_method():
    few = both_policies(with_scaled(table({"floor": 0, "ceiling": 2, "a": 1, "b": 0.5})))
    many = both_policies(
        with_scaled(table({"floor": 0, "ceiling": 2, "a": 1, "b": 0.5, "c": 99, "d": -99}))
    )
    means = many.set_index("method")["floor"]
    assert few.set_index("method")["floor"].to_dict() == means[["a", "b"]].to_dict()


def test_label_users_are_ranked_in_a_league_of_their_own():
    scores = with_scaled(table({"floor": 0, "ceiling": 1, "a": 0.5, "l": 0.9}))
    scores["uses_labels"] = scores["method"] == "l"
    assert both_policies(scores)["floor_rank"].tolist() == [1, 1]
    assert both_policies(scores, labels_apart=False).set_index("method").loc["a", "floor_rank"] == 2


@pytest.mark.parametrize("name", ["both_policies", "intervals", "standings", "all_pairs",
                                  "against_baselines", "critical_differences", "left_out",
                                  "replicate_noise", "split_half", "metric_correlations",
                                  "variance_split", "response_curves", "tuning_gain",
                                  "dataset_intervals"])  # fmt: skip
@pytest.mark.parametrize("values", [
    {"floor": 0, "ceiling": 1},
    {"floor": 0, "ceiling": 1, "a": math.nan, "b": math.nan},
    {"floor": math.nan, "ceiling": math.nan, "a": math.nan},
    {"floor": 1, "ceiling": 1, "a": 0.5},
    {"a": 0.5, "b": 0.6},
], ids=["controls only", "all failed", "controls failed", "not separated", "no controls"])  # fmt: skip
def test_tables_with_next_to_nothing_in_them_raise_nothing_and_have_the_same_columns(name, values):
    import dgnbench.stats

    full = made_up({"a": 0.5, "a@b=1": 0.6, "p": 0.4}, baselines=("p",))
    full = pd.concat([full, full.assign(metric="n", primary=False)], ignore_index=True)
    function = getattr(dgnbench.stats, name)
    made, wanted = function(with_scaled(table(values))), function(full)
    if isinstance(made, pd.DataFrame):
        assert list(made.columns) == list(wanted.columns)
