"""`dgnbench compare`: what a pull request is told, and when it fails."""

import pandas as pd
import pytest

from dgnbench.cli import main
from dgnbench.compare import as_markdown, compared
from dgnbench.contract import DgnbenchError
from tests.made_up_results import made_up

MEANS = {"mine": 0.6, "other": 0.5}


@pytest.fixture
def tables(tmp_path):
    """``tables(gap)``: a table, and one where `mine` is better by `gap` on every run."""

    def make(gap, datasets=8, **how):
        paths = []
        for i, shift in enumerate((0.0, gap)):
            table = made_up(MEANS, datasets=datasets, replicates=2, **how)
            mine = table["method"] == "mine"
            table.loc[mine, "value"] += 20 * shift
            paths.append(tmp_path / f"{i}" / "scores.csv")
            paths[-1].parent.mkdir(exist_ok=True)
            table.to_csv(paths[-1], index=False)
        return paths

    return make


@pytest.mark.parametrize(
    ("gap", "verdict", "fails"),
    [(0.1, "better", False), (-0.1, "worse", True), (0.0, "no difference shown", False)],
)
def test_a_change_of_one_method_is_seen_and_only_a_worse_one_fails(tables, gap, verdict, fails):
    found = compared(tables(gap), None, tolerance=0.0, every_metric=False).set_index("method")
    assert found.loc["mine", "verdict"] == verdict
    assert found.loc["mine", "difference"] == pytest.approx(gap)
    assert found.loc["mine", "fails"] == fails
    assert not found.loc["other", "fails"]


def test_a_difference_within_the_tolerance_does_not_fail(tables):
    paths = tables(-0.01)
    assert not compared(paths, None, tolerance=0.05, every_metric=False)["fails"].any()
    assert compared(paths, None, tolerance=0.001, every_metric=False)["fails"].any()


def test_with_too_little_data_to_test_the_difference_itself_decides(tables):
    found = compared(tables(-0.1, datasets=1), None, tolerance=0.02, every_metric=False)
    mine = found.set_index("method").loc["mine"]
    assert mine["verdict"] == "too little data"
    assert mine["fails"]


def test_scores_that_got_lost_are_named_and_count_as_the_floor(tables):
    paths = tables(0.0)
    after = pd.read_csv(paths[1], dtype={"reason": object})
    lost = (after["method"] == "mine") & (after["replicate"] == 0)
    after.loc[lost, ["value", "status", "reason"]] = [None, "failed", "gone"]
    after.to_csv(paths[1], index=False)
    found = compared(paths, None, tolerance=0.0, every_metric=False)
    assert found.set_index("method").loc["mine", "fails"]
    assert "mine (t): 8 scores are missing now, 0 were before" in as_markdown(found)


def test_a_method_and_datasets_that_are_gone_count_as_missing_and_fail(tables):
    paths = tables(0.0)
    after = pd.read_csv(paths[1])
    kept = (after["method"] != "mine") & ~after["dataset"].isin(["d00", "d01"])
    after[kept].to_csv(paths[1], index=False)
    found = compared(paths, None, tolerance=0.0, every_metric=False)
    assert found.set_index("method")["fails"].all()
    text = as_markdown(found)
    assert "mine (t): 16 scores are missing now, 0 were before" in text
    assert "other (t): 4 scores are missing now, 0 were before" in text


def test_the_command_ends_with_1_and_writes_a_table_for_the_pull_request(tables, tmp_path, capsys):
    before, after = tables(-0.1)
    told = tmp_path / "summary.md"
    arguments = ["compare", str(before), str(after.parent), "--markdown", str(told)]
    assert main(arguments) in (0, None)
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--fail-if-worse", "--tolerance", "0.02"])
    assert ended.value.code == 1
    assert "worse by more than 0.02: mine" in capsys.readouterr().err
    assert told.read_text().count("| t | mine | m | -0.100 |") == 2


def test_two_methods_of_one_table_are_compared(tables):
    table, _ = tables(0.0)
    found = compared([table], ("other", "mine"), tolerance=0.0, every_metric=False)
    assert found["verdict"].tolist() == ["better"]
    assert found["method"].tolist() == ["other → mine"]


@pytest.mark.parametrize(
    ("which", "methods", "said"),
    [
        (["missing.csv", "0/scores.csv"], None, "no such file: wanted a scores.csv"),
        (["short.csv", "short.csv"], None, "the columns dataset, replicate"),
        (["0/scores.csv"] * 3, None, "3 tables: wanted one before and one after"),
        (["0/scores.csv"], None, "give --methods A B"),
        (["0/scores.csv"], ("mine", "yours"), "no scores of 'yours'; there are"),
    ],
)
def test_what_cannot_be_compared_is_said(tables, tmp_path, which, methods, said):
    tables(0.0)
    (tmp_path / "short.csv").write_text("task\nt\n")
    with pytest.raises(DgnbenchError, match=said):
        compared([tmp_path / w for w in which], methods, tolerance=0.0, every_metric=False)
