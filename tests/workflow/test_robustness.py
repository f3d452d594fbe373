"""Whatever a method, a user or the machine does, the workflow ends with the whole truth."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest

from dgnbench.runner.family import MARK
from tests.conftest import PLANTED, ROOT


def runs_below(folder):
    """The processes of runs in a folder: supervisors, methods, and what those started."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        with contextlib.suppress(psutil.Error):
            words = [*(process.info["cmdline"] or []), process.environ().get(MARK, "")]
            if str(folder) in " ".join(words) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def test_the_second_start_does_nothing_and_an_edit_reruns_its_method_alone(workdir, tmp_path):
    mine = tmp_path / "components" / "methods" / "speaks_shell"
    shutil.copytree(PLANTED / "methods" / "speaks_shell", mine)
    here = workdir(methods=["pca", "speaks_shell"], component_paths=[str(tmp_path / "components")])
    first = here.snakemake()
    assert first.returncode == 0, first.stdout
    before = here.times()
    assert here.snakemake().returncode == 0
    assert here.times() == before

    time.sleep(1.1)
    card = mine / "method.yaml"
    card.write_text(card.read_text().replace("A command", "Another command"))
    assert here.snakemake().returncode == 0
    after = here.times()
    changed = {name for name in before if before[name] != after[name]}
    fits = {name.split("/")[-2] for name in changed if name.endswith("run.json")}
    rescored = {name.split("/")[-2] for name in changed if name.endswith("/scores.csv")}
    assert fits == {"speaks_shell"}
    assert rescored <= {"speaks_shell", "r0"}  # r0 holds the table of the whole group


def test_a_killed_workflow_is_finished_by_the_next_start(workdir, monkeypatch, tmp_path):
    monkeypatch.setenv("TEST_GO", str(tmp_path / "go"))
    here = workdir(methods=["pca", "waits"])
    process = subprocess.Popen(
        here.command(), cwd=here.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | {"DGNBENCH_ROOT": str(ROOT)},
    )  # fmt: skip
    limit = time.monotonic() + 120
    under_way = here.results / "denoising" / "pbmc68k_reduced" / "r0" / "waits" / "attempts.json"
    while time.monotonic() < limit and not (
        under_way.is_file() and len(list(here.results.rglob("run.json"))) >= 3
    ):
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {f: f.stat().st_mtime_ns for f in here.results.rglob("run.json")}
    assert len(done) >= 3
    limit = time.monotonic() + 60
    while runs_below(here.folder) and time.monotonic() < limit:  # the orphans notice and end
        time.sleep(0.1)
    assert runs_below(here.folder) == []
    (tmp_path / "go").touch()
    second = here.snakemake()
    assert second.returncode == 0, second.stdout
    assert ", 1 declined, 0 failed" in second.stdout
    rerun = [f for f, written in done.items() if f.stat().st_mtime_ns != written]
    assert len(rerun) <= 2, rerun  # at most the two that Snakemake had not yet booked
    assert not list(here.folder.rglob("*.part*"))


def test_two_workflows_do_not_run_in_one_folder(workdir, monkeypatch, tmp_path):
    monkeypatch.setenv("TEST_GO", str(tmp_path / "never"))
    here = workdir(methods=["waits"])
    process = subprocess.Popen(
        here.command(), cwd=here.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | {"DGNBENCH_ROOT": str(ROOT)},
    )  # fmt: skip
    try:
        limit = time.monotonic() + 60
        while not list(here.folder.glob("logs/**/*.log")) and time.monotonic() < limit:
            time.sleep(0.1)
        second = here.snakemake()
        assert second.returncode == 2
        assert "another workflow" in second.stdout
        assert process.poll() is None
    finally:
        process.kill()  # its runs notice and end
        process.wait()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"methods": ["pcaa"]}, "did you mean 'pca'"),
        ({"tasks": ["integration"]}, "pbmc68k_reduced lacks batch"),
    ],
)
def test_a_faulty_config_is_one_message_and_no_work(workdir, change, said):
    here = workdir(**change)
    done = here.snakemake()
    assert done.returncode == 2
    assert said in done.stdout
    assert "Traceback" not in done.stdout
    assert not here.results.exists()


def test_what_is_lost_in_the_end_costs_the_others_no_score(workdir):
    """A job that disappears leaves no record: the report has the others' scores, the next start it."""
    here = workdir(methods=["pca"])
    assert here.snakemake().returncode == 0
    group = here.results / "denoising" / "pbmc68k_reduced" / "r0"
    (group / "pca" / "run.json").unlink()
    (group / "scores.csv").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "dgnbench", "conclude", "results/tiny"], cwd=here.folder, text=True,
        capture_output=True, check=False, env=os.environ | {"DGNBENCH_ROOT": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert ", 1 declined, 1 failed" in done.stdout
    scores = pd.read_csv(here.results / "scores.csv")
    primary = scores[scores["metric"] == "poisson_nll"].set_index("method")
    assert primary["value"][["mean", "perfect"]].notna().all()
    assert primary["status"]["pca"] == "failed"
    assert "no record of pca" in primary["reason"]["pca"]
    assert not (group / "scores.csv").exists()
    again = here.snakemake()
    assert again.returncode == 0, again.stdout
    assert ", 1 declined, 0 failed" in again.stdout
