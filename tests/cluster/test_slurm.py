"""A benchmark through a real Slurm: who lands where, and what becomes of jobs that are ended.

One benchmark, with the controller restarted in the middle, because a job through Slurm takes six to
eight seconds of its own.
"""

from __future__ import annotations

import os
import subprocess
import time

import pandas as pd
import pytest

from tests.cluster.slurm import QUICK
from tests.conftest import PLANTED, ROOT
from tests.workflow.conftest import Workdir

DATASET = "simulated_batches@n_cells=300@n_genes=100"  # a name as long as they come


def through_slurm(here: Workdir, *more: str) -> subprocess.Popen:
    profile = str(ROOT / "profiles" / "slurm")
    command = [*here.command(*QUICK, *more)]
    command[command.index("--workflow-profile") + 1] = profile
    del command[command.index("--cores") : command.index("--cores") + 2]
    return subprocess.Popen(
        command, cwd=here.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=os.environ | {"DGNBENCH_ROOT": str(ROOT), "TEST_GO": str(here.folder / "go")},
    )  # fmt: skip


def wait_for(condition, process, what, seconds=420):
    limit = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < limit, f"after {seconds} s: {what}"
        assert process.poll() is None, f"ended before {what}:\n{process.stdout.read()}"
        time.sleep(0.5)
    return found


@pytest.fixture(scope="module")
def benchmark(slurm, tmp_path_factory):
    """Folder, output and jobs of a benchmark in which a job was cancelled and slurmctld restarted."""
    here = Workdir(
        tmp_path_factory.mktemp("benchmark"),
        {
            "benchmark": "tiny", "smoke": True, "tasks": ["denoising"],
            "datasets": {DATASET: None},
            "methods": ["waits", "pca", "wants_gpu", "too_slow", "too_hungry"],
            "component_paths": [str(PLANTED)],
            "retries": {"out_of_memory": 0, "timeout": 0, "lost": 1},
        },
    )  # fmt: skip
    process = through_slurm(here)

    def waiting():
        return [job for job in slurm.jobs()
                if job["comment"].endswith("_waits") and job["state"] == "RUNNING"]  # fmt: skip

    first = wait_for(waiting, process, "`waits` runs")[0]
    log = here.folder / f"logs/tiny/denoising/{DATASET}/r0/waits.log"
    wait_for(log.exists, process, "`waits` has begun")
    slurm.ask("scancel", first["id"])
    wait_for(lambda: [j for j in waiting() if j["id"] != first["id"]], process, "it runs again")
    slurm.stop("slurmctld")
    time.sleep(3)  # Snakemake asks in vain meanwhile
    slurm.start_controller()
    (here.folder / "go").touch()  # what `waits` waits for
    output, _ = process.communicate(timeout=900)
    return here, output, process.returncode, slurm.jobs()


def test_only_runs_that_ask_for_a_gpu_land_on_the_gpu_partition(benchmark):
    jobs = benchmark[3]
    with_gpu = {
        job["comment"].rsplit("_wildcards_")[-1] for job in jobs if job["partition"] == "gpu"
    }
    assert with_gpu == {f"denoising_{DATASET}_0_wants_gpu"}
    assert {job["gpus"] for job in jobs if job["partition"] == "gpu"} == {"1"}
    assert {job["gpus"] for job in jobs if job["partition"] == "cpu"} == {"0"}
    rules = {job["comment"].split("_wildcards_")[0] for job in jobs}
    assert rules == {"rule_prepare", "rule_split", "rule_fit", "rule_score"}  # the rest is local


def test_every_run_has_its_row_and_its_right_status(benchmark):
    here, output, code, _ = benchmark
    runs = pd.read_csv(here.results / "runs.csv").set_index("method")
    assert runs["status"][["pca", "wants_gpu", "mean", "perfect"]].eq("ok").all(), output
    assert runs["status"]["too_slow"] == "timeout"
    assert runs["status"]["too_hungry"] == "out_of_memory"
    assert "limit is" in runs["reason"]["too_slow"]
    assert code == 1
    assert ", 0 declined, 2 failed" in output
    assert "Traceback" not in output


def test_a_cancelled_job_is_submitted_again_and_counts(benchmark):
    here, output, _, jobs = benchmark
    states = [job["state"] for job in jobs if job["comment"].endswith("_waits")]
    assert sorted(states) == ["CANCELLED", "COMPLETED"]
    runs = pd.read_csv(here.results / "runs.csv").set_index("method")
    assert runs["status"]["waits"] == "ok", output


def test_the_next_start_submits_nothing(benchmark, slurm):
    here, *_ = benchmark
    before = len(slurm.jobs())
    process = through_slurm(here)
    output, _ = process.communicate(timeout=300)
    assert ", 0 declined, 2 failed" in output
    assert len(slurm.jobs()) == before
