"""Scaling and both missing-score policies against Open Problems' batch_integration v2.0.0."""

import numpy as np
import pandas as pd
import pytest

from dgnbench.stats import both_policies, scaled

# facts/anchors.md, section 5.6: mean and rank with missing as 0, and with missing skipped.
# That page gives geneformer rank 17 under the first policy, which its own figures contradict:
# mnnpy, which it does not list, has 0.047 there and geneformer 0.062.
ANCHORS = {
    "scanvi": (0.537, 1, 0.592, 3),
    "combat": (0.537, 2, 0.544, 8),
    "scvi": (0.521, 3, 0.574, 4),
    "harmony": (0.519, 4, 0.573, 5),
    "batchelor_fastmnn": (0.510, 6, 0.562, 7),
    "liger": (0.476, 7, 0.526, 9),
    "scalex": (0.464, 9, 0.470, 14),
    "uce": (0.457, 10, 0.511, 13),
    "bbknn": (0.323, 11, 0.692, 1),
    "scimilarity": (0.321, 12, 0.523, 11),
    "scgpt": (0.314, 13, 0.512, 12),
    "scanorama": (0.183, 14, 0.183, 16),
    "batchelor_mnncorrect": (0.089, 15, 0.604, 2),
    "geneformer": (0.062, 16, 0.102, 17),
    "scprint": (0.0, 18, np.nan, np.nan),
}


@pytest.fixture(scope="module")
def open_problems(shared_folder):
    """The released scores as our table: clamped to [0, 1] as Open Problems does, gaps as rows.

    Three dataset × metric have no score at all, controls included: missing for everybody.
    """
    table = pd.read_csv(shared_folder / "goldens" / "openproblems_results_long.csv")
    table = table[(table["task"] == "batch_integration") & (table["version"] == "v2.0.0")]
    methods = table[["method", "type"]].drop_duplicates()
    scored = table[table["metric"].notna()]
    metrics = scored[["metric", "maximize"]].drop_duplicates()
    everything = methods.merge(scored[["dataset"]].drop_duplicates(), how="cross")
    scores = everything.merge(metrics, how="cross").merge(
        scored[["method", "dataset", "metric", "value"]], how="left"
    )
    scores = scores.assign(
        task="batch_integration",
        replicate=0,
        role=np.where(scores["type"] == "method", "method", "floor"),
        uses_labels=False,
        direction=np.where(scores["maximize"], "max", "min"),
        primary=True,
        status=np.where(scores["value"].isna(), "failed", "ok"),
    )
    return scores.assign(scaled=scaled(scores).clip(0, 1))


def test_as_many_cells_are_filled_as_anchors_counts(open_problems):
    methods = open_problems[open_problems["role"] == "method"]
    assert methods["value"].notna().sum() == 961


def test_the_ranks_of_both_policies_are_those_of_anchors(open_problems):
    ours = both_policies(open_problems).set_index("method")
    for method, (_, floor_rank, _, skip_rank) in ANCHORS.items():
        got = (ours.loc[method, "floor_rank"], ours.loc[method, "skip_rank"])
        assert got == pytest.approx((floor_rank, skip_rank), nan_ok=True), method


def test_the_means_are_those_of_anchors(open_problems):
    """Anchors leaves out the 3 of 78 dataset × metric that nobody has, we count them as missing;
    when missing is skipped it averages cells, we datasets (0.006 apart at most)."""
    ours = both_policies(open_problems).set_index("method")
    for method, (floor, _, skip, _) in ANCHORS.items():
        assert ours.loc[method, "floor"] * 78 / 75 == pytest.approx(floor, abs=0.00051), method
        assert ours.loc[method, "skip"] == pytest.approx(skip, abs=0.006, nan_ok=True), method


def test_methods_whose_place_depends_on_the_policy_are_marked(open_problems):
    ours = both_policies(open_problems).set_index("method")
    assert ours.loc[["bbknn", "batchelor_mnncorrect", "combat"], "depends_on_policy"].all()


def test_the_other_methods_in_the_table_change_no_score(open_problems):
    few = open_problems[open_problems["method"].isin(["scvi"]) | (open_problems["role"] == "floor")]
    own = open_problems.loc[open_problems["method"] == "scvi", "scaled"]
    again = scaled(few).clip(0, 1)[few["method"] == "scvi"]
    pd.testing.assert_series_equal(again, own, check_names=False)
