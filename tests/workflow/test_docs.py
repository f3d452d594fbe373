"""What the docs say is what happens: the tutorial is run as written, in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from dgnbench.cards import read_house
from dgnbench.pages import components_page
from tests.conftest import ROOT

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
MADE_BY_RUNS = ("results", "data", "logs", ".snakemake", ".git", ".venv")


def block(language: str, containing: str) -> str:
    found = [
        text
        for text in re.findall(rf"```{language}\n(.*?)```", TUTORIAL, re.S)
        if containing in text
    ]
    assert len(found) == 1, f"{len(found)} {language} blocks with {containing!r}"
    return found[0]


def lines_of(text: str) -> int:
    return sum(bool(line.strip()) for line in text.splitlines())


def test_the_tutorial_s_commands_lead_to_a_row_in_the_smoke_report(tmp_path):
    here = tmp_path / "clone"
    shutil.copytree(ROOT, here, ignore=shutil.ignore_patterns(*MADE_BY_RUNS, "*cache*"))
    bin_folder = Path(sys.executable).parent
    environment = os.environ | {
        "DGNBENCH_ROOT": str(here),
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
    }

    def run(containing):
        for command in block("bash", containing).strip().splitlines():
            done = subprocess.run(
                command, shell=True, cwd=here, env=environment, text=True, check=False,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=1500,
            )  # fmt: skip
            assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout

    before = {file for file in here.rglob("*") if file.is_file()}
    run("dgnbench new")
    code, card = block("python", "FactorAnalysis"), block("yaml", "label: Factor analysis")
    (here / "methods/factor_analysis/method.py").write_text(code)
    (here / "methods/factor_analysis/method.yaml").write_text(card)
    assert lines_of(code) + lines_of(card) < 30
    made = {file for file in here.rglob("*") if file.is_file()} - before
    assert {file.parent for file in made} == {here / "methods/factor_analysis"}

    table = run("dgnbench try factor_analysis")
    rows = [line.split() for line in table.splitlines() if line.startswith("factor_analysis")]
    floors = [line.split() for line in table.splitlines() if line.startswith("random_embedding")]
    assert float(rows[0][3]) > float(floors[0][3])

    said = run("snakemake --configfile config/smoke.yaml")
    assert "0 failed" in said.splitlines()[-1]
    report = (here / "results/smoke/report.html").read_text()
    assert ">Factor analysis</th>" in report
    scores = pd.read_csv(here / "results/smoke/scores.csv")
    total = scores[(scores["method"] == "factor_analysis") & scores["primary"]]
    assert len(total) == 1
    assert 0 < total["scaled"].item() < 1

    (here / "config/mine.yaml").write_text(block("yaml", "benchmark: mine"))
    check = block("bash", "dgnbench check config/mine.yaml").splitlines()[0]
    done = subprocess.run(
        check, shell=True, cwd=here, env=environment, text=True, capture_output=True, check=False
    )
    assert re.search(r"config/mine.yaml: ok, \d+ runs", done.stdout), done.stdout + done.stderr


def test_the_page_of_components_is_that_of_the_cards():
    written = (ROOT / "docs" / "components.md").read_text()
    assert written == components_page(read_house()), "run `dgnbench docs`"


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_every_message_of_the_table_is_one_that_the_code_says():
    source = "\n".join(
        re.sub(r'"\s*\n\s*f?"', "", file.read_text()) for file in (ROOT / "src").rglob("*.py")
    )
    plain = re.sub(r"\{[^{}]*\}", "…", source)
    table = (ROOT / "docs" / "errors.md").read_text()
    rows = re.findall(r"^\| (`.*?) \|", table, re.M)
    messages = [text for row in rows for text in re.findall(r"`([^`]+)`", row)]
    assert len(messages) > 25
    assert [m for m in messages if m not in plain and m not in source] == []
