"""The tutorial as written, in a copy of the repository, and what the smoke benchmark in it shows."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from dgnbench.cards import CORE, read_house
from dgnbench.tasks import all_tasks
from tests.conftest import ROOT

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
MADE_BY_RUNS = ("results", "data", "logs", ".snakemake", ".git", ".venv")
EXPECTED = {
    task: {
        card.id
        for card in read_house().methods.cards.values()
        if card.role == "method"
        and card.env == CORE
        and task in card.tasks
        and card.second_modality in (None, "atac" if task == "rna_prediction" else "protein")
    }
    for task in all_tasks()
}


def block(language: str, containing: str) -> str:
    found = [
        text
        for text in re.findall(rf"```{language}\n(.*?)```", TUTORIAL, re.S)
        if containing in text
    ]
    assert len(found) == 1, f"{len(found)} {language} blocks with {containing!r}"
    return found[0]


def commands(containing: str) -> list[str]:
    return block("bash", containing).strip().splitlines()


def lines_of(text: str) -> int:
    return sum(bool(line.strip()) for line in text.splitlines())


class Clone:
    """A copy of the repository, in which the tutorial's commands are run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*MADE_BY_RUNS, "*cache*"))
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = os.environ | {"DGNBENCH_ROOT": str(folder), "PATH": path}

    def call(self, command: str) -> str:
        """What it printed."""
        done = subprocess.run(
            command, shell=True, cwd=self.folder, env=self.environment, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=1500,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout

    def run(self, containing: str) -> str:
        """The block of commands that contains this; what the last one printed."""
        return [self.call(command) for command in commands(containing)][-1]

    def files(self) -> set[Path]:
        return {file for file in self.folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """With the tutorial's method in it."""
    made = Clone(tmp_path_factory.mktemp("tutorial") / "clone")
    before = made.files()
    made.run("dgnbench new")
    mine = made.folder / "methods" / "factor_analysis"
    (mine / "method.py").write_text(block("python", "FactorAnalysis"))
    (mine / "method.yaml").write_text(block("yaml", "label: Factor analysis"))
    assert {file.parent for file in made.files() - before} == {mine}
    return made


@pytest.fixture(scope="module")
def smoke(clone):
    """The smoke benchmark's folder."""
    said = clone.run("snakemake --configfile config/smoke.yaml")
    assert "0 failed" in said.splitlines()[-1]
    return clone.folder / "results" / "smoke"


@pytest.fixture(scope="module")
def scores(smoke):
    return pd.read_csv(smoke / "scores.csv")


def test_a_method_is_less_than_thirty_lines():
    code, card = block("python", "FactorAnalysis"), block("yaml", "label: Factor analysis")
    assert lines_of(code) + lines_of(card) < 30


def test_it_is_tried_beside_the_floors(clone):
    table = clone.run("dgnbench try factor_analysis")
    rows = [line.split() for line in table.splitlines() if line.startswith("factor_analysis")]
    floors = [line.split() for line in table.splitlines() if line.startswith("random_embedding")]
    assert float(rows[0][3]) > float(floors[0][3])


def test_it_has_its_row_in_the_report_of_the_smoke_benchmark(smoke, scores):
    assert ">Factor analysis</th>" in (smoke / "report.html").read_text()
    total = scores[(scores["method"] == "factor_analysis") & scores["primary"]]
    assert len(total) == 1
    assert 0 < total["scaled"].item() < 1


def test_a_benchmark_of_one_s_own_is_a_file(clone):
    (clone.folder / "config/mine.yaml").write_text(block("yaml", "benchmark: mine"))
    said = clone.call(commands("dgnbench check config/mine.yaml")[0])
    assert re.search(r"config/mine.yaml: ok, \d+ runs", said), said


# ------------------------------------------------- what the smoke benchmark's methods have learnt

SIGN = {"min": -1, "max": 1}


def of_metric(scores, task, metric):
    """A row a method, which is the index."""
    return scores[(scores["task"] == task) & (scores["metric"] == metric)].set_index("method")


@pytest.mark.parametrize(
    ("task", "metric", "floor", "roles"),
    [
        ("denoising", "poisson_nll", "mean", ["method"]),
        ("generation", "energy_distance", "shuffled", ["method", "baseline"]),
        ("integration", "total", "no_integration", ["method"]),
        ("modality_prediction", "rmse_skill", "mean", ["method", "baseline"]),
        ("rna_prediction", "rmse_skill", "mean", ["method", "baseline"]),
        ("modality_matching", "foscttm", "random_matching", ["method", "baseline"]),
        ("joint_embedding", "arithmetic_mean", "random_embedding", ["method", "baseline"]),
        ("mosaic_embedding", "arithmetic_mean", "random_embedding", ["method", "baseline"]),
    ],
)
def test_everything_beats_a_floor_of_its_task(task, metric, floor, roles, scores):
    rows = of_metric(scores, task, metric)
    gained = (rows["value"] - rows["value"][floor]) * rows["direction"].map(SIGN)
    runs = rows["role"].isin(roles) & (rows["status"] == "ok")
    assert set(rows.index[runs]) >= EXPECTED[task]
    assert gained[runs].min() > 0, gained[runs].sort_values()


@pytest.mark.parametrize(
    ("task", "metric", "method", "baseline"),
    [
        ("generation", "energy_distance", "wgan_gp", "nb_per_type"),
        ("modality_matching", "foscttm", "magan", "procrustes"),
    ],
)
def test_it_learns_what_a_baseline_does_not_know(task, metric, method, baseline, scores):
    value = of_metric(scores, task, metric)["value"]
    assert value[method] < value[baseline]
