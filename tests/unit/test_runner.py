"""The supervisor: whatever a method does, one record tells it, and nothing is left running."""

import json
import subprocess
import sys
import time

import psutil
import pytest

from dgnbench.cards import read_house
from dgnbench.runner import fit, supervise
from tests.conftest import PLANTED


@pytest.fixture(scope="module")
def house():
    return read_house([PLANTED])


@pytest.fixture
def run(house, groups, tmp_path):
    def run_one(method):
        card = house.methods[method]
        group = groups("denoising")
        record = fit(
            card, method, "denoising", group / "problem", group / "solution", tmp_path / method,
            seed=0, params=card.params, resources=card.resources,
        )  # fmt: skip
        assert record == json.loads((tmp_path / method / "run.json").read_text())
        assert (tmp_path / method / "output.h5ad").exists() == (record["status"] == "ok")
        assert not list((tmp_path / method).glob("*.part*"))
        return record

    return run_one


@pytest.mark.parametrize(
    ("method", "status", "said"),
    [
        ("raises", "failed", "ValueError: the matrix <b>is</b> singular (method.py line 2)"),
        ("wrong_shape", "invalid_output", "wanted shape"),
        ("gives_nan", "invalid_output", "not finite"),
        ("negative", "invalid_output", "negative"),
        ("calls_exit", "failed", "sys.exit(3)"),
        ("exits_hard", "failed", "exit code 4"),
        ("killed", "failed", "SIGSEGV"),
        ("too_slow", "timeout", "the limit is 6 s"),
        ("too_hungry", "out_of_memory", "the limit is 2850 MB"),
        ("out_of_memory_error", "out_of_memory", "cannot allocate"),
        ("declines", "declined", "needs two batches"),
    ],
)
def test_a_faulty_method_becomes_a_status_with_its_reason(run, method, status, said):
    record = run(method)
    assert record["status"] == status
    assert said in record["reason"]


def test_a_timed_out_run_leaves_no_process_behind(run):
    run("too_slow")
    strays = [p for p in psutil.process_iter(["cmdline"])
              if "dgnbench-stray" in " ".join(p.info["cmdline"] or [])]  # fmt: skip
    assert strays == []


def test_a_killed_supervisor_takes_its_method_along(groups, tmp_path):
    """Without a supervisor nobody would hold the method to its limits."""
    group = groups("denoising")
    command = [
        sys.executable, "-m", "dgnbench", "fit", "denoising", "too_slow", "--group", str(group),
        "--output", str(tmp_path / "too_slow"), "--seed", "0", "--component-path", str(PLANTED),
    ]  # fmt: skip
    supervisor = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 60
    while not (children := supervisor.children()) and time.monotonic() < limit:
        time.sleep(0.1)
    time.sleep(1)  # the worker asks for it as its first deed, once Python has started
    supervisor.kill()
    supervisor.wait()
    assert psutil.wait_procs(children, timeout=5)[1] == []


def test_a_signal_without_a_name_is_told_by_its_number():
    assert supervise._from_exit(-40, 10, 100) == ("failed", "killed by signal number 40")
    assert supervise._from_exit(-11, 10, 100) == ("failed", "killed by signal SIGSEGV")


def test_a_method_that_prints_megabytes_is_ok_and_its_log_stays_small(run, tmp_path):
    assert run("prints_megabytes")["status"] == "ok"
    log = tmp_path / "prints_megabytes" / "log.txt"
    assert log.stat().st_size < 2_000_000
    assert "the last words" in log.read_text()


def test_a_run_records_what_it_cost_and_what_it_used(run):
    record = run("speaks_shell")
    assert record["status"] == "ok", record["reason"]
    assert record["peak_rss_mb"] > 20
    assert record["seconds_total"] > 0
    assert len(record["output_sha256"]) == 64
    assert record["versions"]["anndata"]


def test_a_newer_run_removes_the_older_output(house, groups, tmp_path):
    (tmp_path / "output.h5ad").write_text("an older one")
    card, group = house.methods["raises"], groups("denoising")
    fit(
        card, "raises", "denoising", group / "problem", group / "solution", tmp_path,
        seed=0, params={}, resources=card.resources,
    )  # fmt: skip
    assert not (tmp_path / "output.h5ad").exists()
