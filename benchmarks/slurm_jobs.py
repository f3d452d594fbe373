"""What Slurm costs: a benchmark through a Slurm of its own and on the same machine without one.

    python benchmarks/slurm_jobs.py [--config config/smoke.yaml]

Needs root and Debian's slurm-wlm and munge. Starts a Slurm of one node (tests/cluster/slurm.py), runs the
benchmark through the profile for Slurm, then with as many cores by Snakemake alone, in fresh folders, and
prints wall time, jobs, and how long jobs waited and ran.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the tests' Slurm

from tests.cluster.slurm import QUICK, Slurm, why_not  # noqa: E402


def run(folder: Path, config: Path, *options: str) -> float:
    """Seconds of wall time of a whole start."""
    folder.mkdir()
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    begin = time.monotonic()
    subprocess.run(
        [*command, "--configfile", str(config), *options],
        cwd=folder, env=os.environ | {"DGNBENCH_ROOT": str(ROOT)}, check=True,
    )  # fmt: skip
    return time.monotonic() - begin


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=ROOT / "config" / "smoke.yaml")
    config = parser.parse_args().config.resolve()
    if reason := why_not():
        sys.exit(reason)
    profiles = ROOT / "profiles"
    with tempfile.TemporaryDirectory(prefix="dgnbench-slurm-") as name:
        base = Path(name)
        (base / "slurm").mkdir()
        with Slurm(base / "slurm") as slurm:
            version = slurm.ask("sinfo", "--version").strip()
            options = ["--workflow-profile", str(profiles / "slurm"), *QUICK]
            through = run(base / "through", config, *options)
            jobs = slurm.jobs()
        plain = ["--workflow-profile", str(profiles / "default"), "--cores", str(os.cpu_count())]
        without = run(base / "without", config, *plain)
        runs = {
            kind: pd.concat([pd.read_csv(f) for f in (base / kind).glob("results/*/runs.csv")])
            for kind in ("through", "without")
        }
    ran = [job["seconds"] for job in jobs]
    print(f"\n{version}, {os.cpu_count()} cores, {config.name}: {len(runs['through'])} runs")
    for kind, wall in (("through", through), ("without", without)):
        total = runs[kind]["seconds_total"]
        print(
            f"{kind} Slurm: {wall:.0f} s of wall time, {dict(runs[kind]['status'].value_counts())}, "
            f"supervised {total.sum():.0f} s (median of a run {total.median():.1f} s)"
        )
    print(f"ratio of wall times: {through / without:.2f}")
    print(
        f"{len(jobs)} jobs of Slurm, median {statistics.median(ran):.0f} s (least {min(ran):.0f} s); "
        f"{(through - without) * os.cpu_count() / len(jobs):.1f} core-seconds more a job"
    )


if __name__ == "__main__":
    main()
