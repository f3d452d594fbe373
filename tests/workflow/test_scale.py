"""What thousands of runs would break: command lines, and the measurement of them itself."""

import os
import subprocess
import sys

from tests.conftest import ROOT

ONE_ARGUMENT = 131_072  # bytes that Linux allows in one, and a job is one argument of bash


def test_no_command_grows_with_the_number_of_methods(workdir):
    digits = "0123456789" * 7
    variants = [f"alra@quantile={i}.{digits}" for i in range(1700)]
    assert len(" ".join(variants)) > ONE_ARGUMENT
    here = workdir(methods=variants)
    done = here.snakemake("--dry-run", "--printshellcmds", "--quiet", "host")
    assert done.returncode == 0, done.stdout[-2000:]
    commands = [line for line in done.stdout.splitlines() if "dgnbench " in line or "cp " in line]
    assert sum("dgnbench fit" in command for command in commands) > 1700
    assert any("dgnbench score" in command for command in commands)
    assert any("config.json" in command and "cp " in command for command in commands)
    assert max(map(len, commands)) < 2_000


def test_the_measurement_of_the_workflow_s_scale_runs_and_its_restart_does_nothing():
    done = subprocess.run(
        [sys.executable, "benchmarks/workflow_scale.py", "--runs", "100"], cwd=ROOT, text=True,
        env=os.environ | {"DGNBENCH_ROOT": str(ROOT)}, timeout=600, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    stages = [line.split()[1] for line in done.stdout.splitlines()[1:]]
    assert stages == ["plan", "one", "restart", "verify", "collect"]
