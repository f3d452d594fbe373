"""A finished benchmark can be checked file by file and repeated run by run, wherever it lies."""

import hashlib
import json
import os
import shutil
import subprocess
import sys

import pytest

from dgnbench import data
from dgnbench.cards import read_house
from tests.conftest import PLANTED, ROOT
from tests.workflow.conftest import Workdir

MADE_FROM_THE_MANIFEST = {"manifest.json", "report.html"}
STEPS = """import numpy as np

def denoising(counts, *, seed):
    return np.full(counts.shape, 1.0) + np.arange(counts.n_obs)[:, None]
"""


def dgnbench(*words, folder):
    done = subprocess.run(
        [sys.executable, "-m", "dgnbench", *map(str, words)], cwd=folder, text=True, check=False,
        env=os.environ | {"DGNBENCH_ROOT": str(ROOT)}, timeout=600,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished benchmark: a file of the user's own, and another that is broken."""
    folder = tmp_path_factory.mktemp("finished")
    methods = folder / "components" / "methods"
    for name, origin in (("raises", "raises"), ("declines", "declines"), ("steps", "raises")):
        shutil.copytree(PLANTED / "methods" / origin, methods / name)
    (methods / "steps" / "method.py").write_text(STEPS)
    card = read_house().datasets["simulated_batches"]
    cells = data.load(card, {**card.params, "n_cells": 120, "n_genes": 40})
    cells.write_h5ad(folder / "cells.h5ad")
    cells.X = cells.X * 0.5
    cells.write_h5ad(folder / "halves.h5ad")
    here = Workdir(
        folder,
        {
            "benchmark": "tiny",
            "smoke": True,
            "tasks": ["denoising"],
            "datasets": {"cells": {"path": "cells.h5ad"}, "halves": {"path": "halves.h5ad"}},
            "methods": ["pca", "steps", "raises", "declines"],
            "component_paths": [str(folder / "components")],
        },
    )
    done = here.snakemake()
    assert done.returncode == 1, done.stdout
    assert (here.results / "report.html").is_file(), done.stdout
    return here


@pytest.fixture
def moved(finished, tmp_path):
    """A copy of the benchmark alone, in another place and without its data."""
    return shutil.copytree(finished.results, tmp_path / "archive" / "2031" / "tiny")


def manifest_of(results):
    return json.loads((results / "manifest.json").read_text())


def test_the_manifest_names_every_file_by_its_checksum(finished):
    told = manifest_of(finished.results)
    on_disk = {
        str(file.relative_to(finished.results)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in finished.results.rglob("*")
        if file.is_file() and file.name != ".snakemake_timestamp"
    }
    figures = {name for name in on_disk if name.startswith("figures/")}  # the report seals them
    assert figures
    later = {*MADE_FROM_THE_MANIFEST, *figures}
    assert told["files"] == {k: v for k, v in on_disk.items() if k not in later}
    for kind in ("problem/counts.h5ad", "split.json", "pca/output.h5ad", "raises/run.json"):
        assert f"denoising/cells/r0/{kind}" in told["files"]
    for name in ("cells.h5ad", "halves.h5ad", "data/prepared/cells.h5ad"):
        wanted = hashlib.sha256((finished.folder / name).read_bytes()).hexdigest()
        assert told["inputs"][name]["sha256"] == wanted
    assert told["checksums"] == {"cells": told["inputs"]["data/prepared/cells.h5ad"]["sha256"]}


def test_the_manifest_tells_versions_code_machine_seeds_and_the_resolved_config(finished):
    told = manifest_of(finished.results)
    assert {"numpy", "snakemake", "h5py", "pandas"} <= set(told["installed"])
    assert told["run_versions"]["core"]["numpy"] == told["installed"]["numpy"]
    wanted = hashlib.sha256(STEPS.encode()).hexdigest()
    assert told["code"]["methods/steps/method.py"] == wanted
    assert {"src/dgnbench/scoring.py", "methods/pca/method.yaml"} <= set(told["code"])
    assert told["checkout"].keys() == {"commit", "clean", "changed"}
    assert told["machines"][0]["runs"] == len(list(finished.results.rglob("run.json")))
    assert told["seeds"] == [0]
    assert told["config"]["resolved"]["pca"]["params"]


def test_a_partly_failed_benchmark_verifies_and_says_what_was_never_finished(finished):
    code, said = dgnbench("verify", "results/tiny", folder=finished.folder)
    assert code == 0, said
    assert "never finished: denoising/halves/r0: no prepare: " in said
    assert "not checked" not in said
    assert said.splitlines()[-1].startswith("ok: ")


def test_a_wider_config_asks_for_no_new_scores_of_what_is_scored(finished):
    here = Workdir(finished.folder, {**finished.config, "replicates": 2})
    done = here.snakemake("--dry-run", "--quiet", "host")
    planned = [line.split()[1:] for line in done.stdout.splitlines() if "output: " in line]
    files = {name.rstrip(",") for names in planned for name in names}
    assert "results/tiny/config.json" in files
    assert "results/tiny/denoising/cells/r1/scores.csv" in files
    assert {name for name in files if "/cells/r0/" in name} == set()


def test_a_benchmark_that_was_moved_verifies_without_its_data(moved):
    code, said = dgnbench("verify", moved, folder=moved.parent)
    assert code == 0, said
    assert "not here, not checked: the 3 files of data" in said


def test_changed_missing_and_extra_files_are_named(moved):
    group = moved / "denoising" / "cells" / "r0"
    with (group / "pca" / "output.h5ad").open("ab") as handle:
        handle.write(b"!")
    hidden = next((group / "solution").glob("*.h5ad"))
    hidden.unlink()
    (group / "vae").mkdir()
    (group / "vae" / "run.json").write_text("{}")
    table = moved / "scores.csv"
    table.write_text(table.read_text().replace("0.", "1.", 1))
    code, said = dgnbench("verify", moved, folder=moved.parent)
    assert code == 1
    named = {tuple(line.split()[:2]) for line in said.splitlines() if "denoising" in line}
    assert {kind for kind, _ in named} - {"never"} == {"changed", "missing", "extra"}
    assert ("changed", "denoising/cells/r0/pca/output.h5ad:") in named
    assert ("missing", f"denoising/cells/r0/solution/{hidden.name}:") in named
    assert ("extra", "denoising/cells/r0/vae/run.json:") in named
    assert "changed  scores.csv: wanted sha256" in said
    assert said.splitlines()[-1].startswith("4 faults in ")


def test_an_edited_report_and_an_edited_manifest_are_named(moved):
    page = moved / "report.html"
    whole = page.read_text()
    page.write_text(whole.replace("dgnbench report", "our report", 1))
    assert "changed  report.html" in dgnbench("verify", moved, folder=moved.parent)[1]
    page.write_text(whole)
    told = manifest_of(moved)
    told["seeds"] = [1]
    (moved / "manifest.json").write_text(json.dumps(told))
    code, said = dgnbench("verify", moved, folder=moved.parent)
    assert code == 1
    assert "changed  manifest.json: report.html was made from another one" in said


def test_data_that_changed_since_are_named(finished, moved):
    results = shutil.move(moved, moved.parents[1] / "results" / "tiny")
    shutil.copytree(finished.folder / "data" / "prepared", results.parents[1] / "data" / "prepared")
    (results.parents[1] / "data" / "prepared" / "cells.h5ad").write_bytes(b"others")
    code, said = dgnbench("verify", results, folder=results.parent)
    assert code == 1
    assert "changed  data/prepared/cells.h5ad" in said
    assert "missing  cells.h5ad" in said


def test_a_folder_without_a_manifest_is_one_message(tmp_path):
    code, said = dgnbench("verify", tmp_path, folder=tmp_path)
    assert code == 2
    assert "no manifest.json here" in said


def test_a_run_repeated_from_its_record_alone_is_identical(moved):
    run = moved / "denoising" / "cells" / "r0" / "pca"
    for file in [*moved.glob("*.*"), *run.parent.glob("*.*")]:
        file.unlink()
    before = {file: file.read_bytes() for file in moved.rglob("*") if file.is_file()}
    code, said = dgnbench("rerun", run, folder=moved.parent)
    assert code == 0, said
    assert "output:  identical, sha256 " in said
    assert "differs: nothing else" in said
    assert {f: f.read_bytes() for f in moved.rglob("*") if f.is_file()} == before


def test_a_failed_run_that_fails_again_in_the_same_way_is_the_same(moved):
    code, said = dgnbench("rerun", moved / "denoising/cells/r0/raises", folder=moved.parent)
    assert code == 0, said
    assert "output:  again failed: ValueError: the matrix" in said


def test_a_run_whose_method_was_changed_says_so_and_by_how_much(finished, moved, tmp_path):
    run = moved / "denoising" / "cells" / "r0" / "steps"
    record = json.loads((run / "run.json").read_text())
    component = shutil.copytree(record["component"], tmp_path / "steps")
    code = (component / "method.py").read_text()
    (component / "method.py").write_text(code.replace("1.0", "1.5"))
    record |= {"component": str(component), "versions": {**record["versions"], "numpy": "1.0"}}
    (run / "run.json").write_text(json.dumps(record))
    code, said = dgnbench("rerun", run, "--output", tmp_path / "kept", folder=moved.parent)
    assert code == 1
    assert "not identical: largest difference 0.5, relative 0.00417, correlation 1.000000" in said
    assert "the files of the method" in said
    assert "numpy 1.0 → " in said
    assert (tmp_path / "kept" / "output.h5ad").is_file()


def test_a_run_is_not_repeated_on_another_problem(moved):
    run = moved / "denoising" / "cells" / "r0" / "pca"
    (run.parent / "problem" / "more.h5ad").write_bytes(b"")
    code, said = dgnbench("rerun", run, folder=moved.parent)
    assert code == 2
    assert "not the problem that the run saw" in said
