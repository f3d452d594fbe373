"""Whatever a method, a user or the machine does, the workflow ends with the whole truth."""

import os
import shutil
import signal
import subprocess
import time

import pandas as pd
import psutil
import pytest

from tests.conftest import PLANTED, ROOT


def test_faulty_methods_are_grey_cells_and_all_others_finish(workdir):
    bad = ["raises", "wrong_shape", "gives_nan", "negative", "calls_exit", "killed", "too_slow"]
    here = workdir(methods=["pca", "prints_megabytes", "declines", *bad])
    done = here.snakemake()
    runs = pd.read_csv(here.results / "runs.csv").set_index("method")
    assert set(runs.index[runs["status"].isin(["failed", "invalid_output", "timeout"])]) == set(bad)
    assert runs["status"][["pca", "prints_megabytes", "mean", "perfect"]].eq("ok").all()
    assert runs["status"]["declines"] == "declined"
    assert done.returncode == 1
    last = done.stdout.strip().splitlines()
    assert any("2 declined, 7 failed" in line for line in last[-8:]), done.stdout
    again = here.snakemake()  # nothing to do, and still the truth
    assert again.returncode == 1
    assert "2 declined, 7 failed" in again.stdout
    scores = pd.read_csv(here.results / "scores.csv")
    rows = scores[scores["method"] == "raises"]
    assert len(rows) == 5
    assert rows["value"].isna().all()
    assert rows["reason"].str.contains("singular").all()
    page = (here.results / "report.html").read_text()
    assert "the matrix &lt;b&gt;is&lt;/b&gt; singular" in page
    assert "<b>is</b>" not in page


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


def test_a_killed_workflow_is_finished_by_the_next_start(workdir):
    here = workdir(methods=["pca", "knn_smoothing", "alra", "keras_vae"])
    process = subprocess.Popen(
        here.command(), cwd=here.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | {"DGNBENCH_ROOT": str(ROOT)},
    )  # fmt: skip
    limit = time.monotonic() + 120
    while len(list(here.results.rglob("run.json"))) < 3 and time.monotonic() < limit:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {f: f.stat().st_mtime_ns for f in here.results.rglob("run.json")}
    assert 3 <= len(done) < 9
    time.sleep(3)  # the orphaned runs notice and end
    assert not [p for p in psutil.process_iter(["cmdline"])
                if str(here.folder) in " ".join(p.info["cmdline"] or [])]  # fmt: skip
    second = here.snakemake()
    assert second.returncode == 0, second.stdout
    assert ", 1 declined, 0 failed" in second.stdout
    rerun = [f for f, written in done.items() if f.stat().st_mtime_ns != written]
    assert len(rerun) <= 2, rerun  # at most the two that Snakemake had not yet booked
    assert not list(here.folder.rglob("*.part*"))


def test_two_workflows_do_not_run_in_one_folder(workdir):
    here = workdir()
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
    finally:
        process.wait(timeout=300)


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
