"""The profile for Kubernetes, through a stand-in for `kubectl`: what a cluster is asked, what comes of it.

No Kubernetes is started here. The stand-in runs each job as a process, so that submission, states and
the way back to Snakemake are real.
"""

import json
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import yaml

from tests.conftest import PLANTED, ROOT
from tests.workflow.conftest import Workdir

PROFILE = ROOT / "profiles" / "kubernetes"


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    """Results and jobs of a small benchmark."""
    base = tmp_path_factory.mktemp("kubernetes")
    state, programs, folder = base / "state", base / "bin", base / "work"
    for made in (state, programs, folder):
        made.mkdir()
    shutil.copy(ROOT / "tests" / "cluster" / "kubectl.py", programs / "kubectl")
    (programs / "kubectl").chmod(0o755)
    here = Workdir(
        folder,
        {
            "benchmark": "tiny", "smoke": True, "tasks": ["denoising"],
            "datasets": {"pbmc68k_reduced": None}, "methods": ["pca", "wants_gpu", "raises"],
            "component_paths": [str(PLANTED)],
        },
    )  # fmt: skip
    shutil.copytree(PROFILE, folder / "profiles" / "kubernetes")
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--workflow-profile",
        "profiles/kubernetes", "--configfile", "config.yaml", "--latency-wait", "20",
        "--seconds-between-status-checks", "1",
    ]  # fmt: skip
    path = f"{programs}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600,
        env=os.environ | {"DGNBENCH_ROOT": str(ROOT), "PATH": path, "KUBECTL_STATE": str(state)},
    )  # fmt: skip
    jobs = [json.loads(file.read_text()) for file in state.glob("*.json")]
    return here, done, jobs


def test_every_run_has_its_row_and_status(benchmark):
    here, done, _ = benchmark
    runs = pd.read_csv(here.results / "runs.csv").set_index("method")
    assert runs["status"][["pca", "wants_gpu", "mean"]].eq("ok").all(), done.stdout
    assert runs["status"]["raises"] == "failed"
    assert ", 1 declined, 1 failed" in done.stdout


def test_gpus_and_memory_of_a_card_become_the_request_and_nobody_else_gets_a_gpu(benchmark):
    jobs = benchmark[2]
    assert {job["metadata"]["name"].split("-")[1] for job in jobs} == {
        "prepare",
        "split",
        "fit",
        "score",
    }
    sizes = []
    for job in jobs:
        pod = job["spec"]["template"]["spec"]
        container = pod["containers"][0]
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == "dgnbench"
        assert container["volumeMounts"][0]["mountPath"] == "/work"
        sizes.append(container["resources"]["limits"])
    assert [size["nvidia.com/gpu"] for size in sizes if "nvidia.com/gpu" in size] == ["1"]
    with_gpu = next(size for size in sizes if "nvidia.com/gpu" in size)
    card = yaml.safe_load((PLANTED / "methods" / "wants_gpu" / "method.yaml").read_text())
    assert with_gpu["memory"] == f"{card['resources']['mem_mb'] + 500}Mi"
