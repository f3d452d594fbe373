"""Faults of a machine and of methods, in real workflows: nothing is lost, and the words are clear."""

import contextlib
import json
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
from dgnbench.storage import sha256
from tests.conftest import PLANTED, ROOT
from tests.workflow.conftest import Workdir

ENDS = {
    "pca": "ok",
    "prints_megabytes": "ok",
    "leaves_workers": "ok",
    "gpu_if_there": "ok",
    "needs_more_memory": "ok",
    "declines": "declined",
    "raises": "failed",
    "calls_exit": "failed",
    "killed": "failed",
    "speaks_latin": "failed",
    "writes_outside": "failed",
    "wrong_shape": "invalid_output",
    "gives_nan": "invalid_output",
    "negative": "invalid_output",
    "too_slow": "timeout",
    "ignores_term": "timeout",
    "killed_from_outside": "lost",
}
BAD = [method for method, status in ENDS.items() if status not in ("ok", "declined")]


def tiny(folder, *methods, **more):
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "benchmark": "tiny", "smoke": True, "tasks": ["denoising"], "methods": list(methods),
        "datasets": {"pbmc68k_reduced": None}, "component_paths": [str(PLANTED)], **more,
    }  # fmt: skip
    return Workdir(folder, config)


def dgnbench(here, *words):
    return subprocess.run(
        [sys.executable, "-m", "dgnbench", *words], cwd=here.folder, capture_output=True, text=True,
        env=os.environ | {"DGNBENCH_ROOT": str(ROOT)}, check=False,
    )  # fmt: skip


def runs_of(here):
    return pd.read_csv(here.results / "runs.csv", keep_default_na=False).set_index("method")


def group_of(here):
    return here.results / "denoising" / "pbmc68k_reduced" / "r0"


def of_runs_below(folder, ending=""):
    """The living processes whose mark names a run of this folder and ends so; one may end meanwhile."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            mark = process.environ().get(MARK, "")
            if (
                str(folder) in mark
                and mark.endswith(ending)
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
    return found


def wait_for(condition, seconds=180):
    limit = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < limit, f"not within {seconds} s"
        time.sleep(0.1)
    return found


# --------------------------------------------------------- one benchmark with a fault of every kind


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    here = tiny(tmp_path_factory.mktemp("faulty") / "work", *ENDS)
    here.first = here.snakemake()
    return here


def test_every_fault_is_a_grey_cell_with_its_status_and_all_others_finish(faulty):
    runs = runs_of(faulty)
    assert runs["status"][list(ENDS)].to_dict() == ENDS, faulty.first.stdout
    assert runs["status"][["mean", "perfect"]].eq("ok").all()
    assert faulty.first.returncode == 1
    assert f"2 declined, {len(BAD)} failed" in faulty.first.stdout.strip().splitlines()[-1]
    scores = pd.read_csv(faulty.results / "scores.csv")
    rows = scores[scores["method"] == "raises"]
    assert len(rows) > 3
    assert rows["value"].isna().all()
    assert rows["reason"].str.contains("singular").all()
    page = (faulty.results / "report.html").read_text()
    assert "the matrix &lt;b&gt;is&lt;/b&gt; singular" in page
    assert "<b>is</b>" not in page


def test_what_is_worth_it_was_tried_again_and_nothing_else(faulty):
    tries = runs_of(faulty)["attempts"].astype(int)
    assert tries[["needs_more_memory", "killed_from_outside"]].eq(2).all()
    assert tries.drop(["needs_more_memory", "killed_from_outside"]).eq(1).all()
    record = json.loads((group_of(faulty) / "needs_more_memory" / "run.json").read_text())
    assert record["earlier_attempts"][0]["status"] == "out_of_memory"
    assert record["limits"]["mem_mb"] == 1200
    assert "what it calls an error here is none yet" in faulty.first.stdout


def test_the_number_of_tries_stands_in_no_rule():
    """There Slurm would try again within the same allocation, with the memory of the first try."""
    for file in (ROOT / "rules").glob("*.smk"):
        assert "\n    retries:" not in file.read_text(), file


def test_no_process_of_any_run_is_left(faulty):
    assert of_runs_below(faulty.folder) == []


def test_the_problem_is_as_the_split_wrote_it_and_the_trespasser_is_named(faulty):
    group = group_of(faulty)
    told = json.loads((group / "split.json").read_text())["files"]
    assert told
    assert {name: sha256(group / name) for name in told} == told
    reason = runs_of(faulty)["reason"]["writes_outside"]
    assert reason == f"wrote outside its folder: {(group / 'notes.txt').relative_to(faulty.folder)}"


def test_a_run_on_the_cpu_that_wanted_a_gpu_is_marked(faulty):
    runs = runs_of(faulty)
    assert runs["device"]["gpu_if_there"] == "cpu"
    assert runs["wanted_gpu"]["gpu_if_there"] == True  # noqa: E712
    assert runs["wanted_gpu"]["pca"] == False  # noqa: E712
    line = next(s for s in faulty.first.stdout.splitlines() if "r0/gpu_if_there" in s)
    assert "on the CPU, no GPU was used" in line


def test_logs_stay_small_and_hold_the_last_words(faulty):
    logs = faulty.folder / "logs" / "tiny" / "denoising" / "pbmc68k_reduced" / "r0"
    assert (logs / "prints_megabytes.log").stat().st_size < 2_000_000
    assert "the last words" in (logs / "prints_megabytes.log").read_text()
    assert "Zo\ufffd" in runs_of(faulty)["stderr_tail"]["speaks_latin"]


def test_moved_elsewhere_it_goes_on_and_retry_makes_exactly_those_runs_again(faulty, tmp_path):
    """The last test on this benchmark: it takes it away."""
    before = faulty.times()
    moved = tiny(tmp_path / "elsewhere" / "work", *ENDS)
    shutil.rmtree(moved.folder)
    shutil.move(faulty.folder, moved.folder)
    for file in moved.results.rglob("*"):
        if file.is_file() and file.suffix in (".json", ".csv", ".html"):
            assert str(faulty.folder).encode() not in file.read_bytes(), file
    again = moved.snakemake()
    assert again.returncode == 1
    assert f"2 declined, {len(BAD)} failed" in again.stdout
    assert moved.times() == before, "a second start does nothing, wherever it is"

    unknown = dgnbench(moved, "retry", "results/tiny", "--status", "time_out")
    assert unknown.returncode == 2
    assert "no status named 'time_out'; did you mean 'timeout'?" in unknown.stderr
    said = dgnbench(moved, "retry", "results/tiny", "--status", "timeout,lost")
    assert said.stdout.strip() == "the next start makes 3 runs again: 2 timeout, 1 lost"
    again = moved.snakemake()
    assert f"2 declined, {len(BAD)} failed" in again.stdout
    after = moved.times()
    made = {name.split("/")[-2] for name in after
            if name.endswith("run.json") and after[name] != before[name]}  # fmt: skip
    assert made == {"too_slow", "ignores_term", "killed_from_outside"}
    outputs = {name for name in before if name.endswith(("output.h5ad", ".h5ad"))}
    assert {name for name in outputs if after[name] != before[name]} == set()


# ------------------------------------------------------------------------------------- SIGKILL


def test_a_killed_supervisor_and_a_killed_method_are_made_again_by_the_same_start(tmp_path):
    go = tmp_path / "go"
    here = tiny(tmp_path / "work", "waits@who=1", "waits@who=2")
    process = subprocess.Popen(
        here.command(), cwd=here.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"DGNBENCH_ROOT": str(ROOT), "TEST_GO": str(go)},
    )  # fmt: skip
    try:

        def of(method):
            return of_runs_below(here.folder, method)

        (worker,) = wait_for(lambda: of("waits@who=1"))
        supervisor = worker.parent()
        assert "fit" in supervisor.cmdline()
        supervisor.send_signal(signal.SIGKILL)
        wait_for(lambda: worker not in of("waits@who=1"), 30)
        (worker,) = wait_for(lambda: of("waits@who=2"))
        wait_for(lambda: (group_of(here) / "waits@who=2" / "attempts.json").is_file())
        worker.send_signal(signal.SIGKILL)
        go.touch()
        said = process.communicate(timeout=500)[0]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said
    assert ", 1 declined, 0 failed" in said
    runs = runs_of(here)
    assert runs["attempts"][["waits@who=1", "waits@who=2"]].astype(int).eq(2).all()
    for method, reason in (("waits@who=1", "nobody was left"), ("waits@who=2", "SIGKILL")):
        record = json.loads((group_of(here) / method / "run.json").read_text())
        assert reason in record["earlier_attempts"][0]["reason"]
        assert record["earlier_attempts"][0]["status"] == "lost"


# ----------------------------------------------------------------------------------------- disks


@pytest.fixture
def disk(tmp_path):
    """A small file system for `results`, which only root can mount."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    folder = tmp_path / "work" / "results"
    folder.mkdir(parents=True)

    def mount(options):
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    mounted = mount("size=6m")
    if mounted.returncode != 0:
        pytest.skip(f"this root cannot mount: {mounted.stderr.strip()}")
    yield lambda options: mount(f"remount,{options}").check_returncode()
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_read_only_and_a_full_disk_are_told_in_words_and_nothing_is_lost(tmp_path, disk):
    here = tiny(tmp_path / "work", "pca")
    disk("ro")
    refused = here.snakemake()
    assert refused.returncode == 2
    assert "results/tiny: cannot be written to: Read-only file system; make it" in refused.stdout
    assert "Traceback" not in refused.stdout

    disk("rw,size=6m")  # for problem, solution and two or three outputs
    full = here.snakemake()
    assert full.returncode == 1
    assert "could not be written: No space left on device" in full.stdout
    assert "Traceback" not in full.stdout
    assert not list(here.results.rglob("*.part*"))
    records = {f: json.loads(f.read_text()) for f in here.results.rglob("run.json")}
    good = {f.parent.name: f.stat().st_mtime_ns for f, r in records.items() if r["status"] == "ok"}
    assert good
    for file, record in records.items():
        assert (file.parent / "output.h5ad").exists() == (record["status"] == "ok")

    disk("rw,size=60m")
    said = dgnbench(here, "retry", "results/tiny", "--status", "failed")
    assert "runs again" in said.stdout, said.stderr
    done = here.snakemake()
    assert done.returncode == 0, done.stdout
    assert ", 1 declined, 0 failed" in done.stdout
    for method, written in good.items():
        assert (group_of(here) / method / "run.json").stat().st_mtime_ns == written
