"""Real Snakemake runs, as a user starts them, in a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import PLANTED, ROOT

SNAKEMAKE = [
    sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2",
    "--workflow-profile", str(ROOT / "profiles" / "default"),
]  # fmt: skip


class Workdir:
    """A working directory with a config, and Snakemake started in it."""

    def __init__(self, folder: Path, config: dict) -> None:
        self.folder, self.config = folder, config
        self.write()

    def write(self) -> None:
        (self.folder / "config.yaml").write_text(yaml.safe_dump(self.config, sort_keys=False))

    def command(self, *more: str) -> list[str]:
        return [*SNAKEMAKE, "--configfile", str(self.folder / "config.yaml"), *more]

    def snakemake(self, *more: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.command(*more), cwd=self.folder, env=os.environ | {"DGNBENCH_ROOT": str(ROOT)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, check=False,
        )  # fmt: skip

    @property
    def results(self) -> Path:
        return self.folder / "results" / self.config["benchmark"]

    def times(self) -> dict[str, int]:
        """When each result was last written."""
        return {
            str(file.relative_to(self.results)): file.stat().st_mtime_ns
            for file in self.results.rglob("*")
            if file.is_file()
        }


@pytest.fixture
def workdir(tmp_path):
    def make(**config) -> Workdir:
        return Workdir(
            tmp_path,
            {
                "benchmark": "tiny",
                "smoke": True,
                "tasks": ["denoising"],
                "datasets": {"pbmc68k_reduced": None},
                "methods": ["pca"],
                "component_paths": [str(PLANTED)],
                **config,
            },
        )

    return make
