"""Files come from a server, once; later starts, and compute nodes, need no network."""

import json
import shutil

import anndata
import numpy as np
import pytest
import yaml

from dgnbench.fetching import LOCK
from tests.server import Answer, Server


def card(**file) -> dict:
    return {
        "label": "Few cells", "summary": "Some cells of a server.", "kind": "real",
        "organism": "none", "source": "the test", "licence": "unknown", "reference": "none: a test",
        "has": ["rna"], "modalities": ["rna"], "files": {"cells.h5ad": file or None},
        "landing": "https://example.org/cells", "params": {}, "expected": {"n_cells": 80},
    }  # fmt: skip


@pytest.fixture(scope="module")
def cells(tmp_path_factory) -> bytes:
    rng = np.random.default_rng(0)
    made = anndata.AnnData(rng.poisson(rng.gamma(1.0, 2.0, 40), (80, 40)).astype(np.float32))
    made.obs_names = [f"cell{i}" for i in range(80)]
    path = tmp_path_factory.mktemp("served") / "cells.h5ad"
    made.write_h5ad(path)
    return path.read_bytes()


@pytest.fixture
def server(cells):
    with Server({"here.h5ad": cells, "there.h5ad": cells}) as running:
        yield running


@pytest.fixture
def make(workdir, tmp_path, server):
    """A working directory with datasets `here` and `there` of the server, and `by_hand`."""

    def make(*datasets: str, **config):
        for name in ("here", "there", "by_hand"):
            place = tmp_path / "components" / "datasets" / name / "dataset.yaml"
            place.parent.mkdir(parents=True)
            url = [f"https://data.example.org/{name}.h5ad"]
            place.write_text(yaml.safe_dump(card() if name == "by_hand" else card(urls=url)))
        return workdir(
            datasets=dict.fromkeys(datasets),
            component_paths=[str(tmp_path / "components")],
            cache_dir=str(tmp_path / "cache"),
            manual_dir=str(tmp_path / "manual"),
            rewrite_urls={"https://data.example.org": server.url},
            timeout=5,
            wait=0.01,
            **config,
        )

    return make


def written(here) -> dict[str, int]:
    """When the files of datasets and runs were last written."""
    kept = [*here.folder.glob("data/**/*"), *here.results.rglob("run.json")]
    return {str(file): file.stat().st_mtime_ns for file in kept if file.is_file()}


def test_what_was_prefetched_runs_without_a_network_and_only_once(make, server, tmp_path):
    here = make("here")
    done = here.snakemake("--", "prefetch")
    assert done.returncode == 0, done.stdout
    assert len(server.requests) == 1
    assert (tmp_path / "components" / "datasets" / "here" / LOCK).is_file()
    assert not (here.folder / "data" / "prepared").exists()
    server.stop()

    shutil.rmtree(here.folder / "data")
    here.config["offline"] = True
    here.write()
    done = here.snakemake("--", "prefetch")  # from the cache
    assert done.returncode == 0, done.stdout
    shutil.rmtree(tmp_path / "cache")  # which a compute node may not see
    done = here.snakemake()
    assert done.returncode == 0, done.stdout
    assert ", 1 declined, 0 failed" in done.stdout
    assert (here.results / "report.html").is_file()

    before = here.times(), written(here)
    assert any(file.endswith("run.json") for file in before[1])
    done = here.snakemake()
    assert done.returncode == 0, done.stdout
    assert (here.times(), written(here)) == before

    here.config |= {"offline": False, "cache_dir": str(tmp_path / "another")}
    here.write()
    done = here.snakemake()
    assert done.returncode == 0, done.stdout
    assert written(here) == before[1]


def test_offline_names_every_missing_file_of_every_dataset_before_any_job(make, server):
    here = make("here", "there", "by_hand", offline=True)
    done = here.snakemake()
    assert done.returncode == 2
    for name in ("here", "there", "by_hand"):
        assert f"{name}: cells.h5ad " in done.stdout
    assert "https://data.example.org/there.h5ad" in done.stdout
    assert "snakemake prefetch" in done.stdout
    assert "Traceback" not in done.stdout
    assert not server.requests
    assert not [file for room in ("data", "logs", "results") for file in here.folder.glob(room)]


def test_a_file_that_only_a_person_can_bring_is_said_before_any_job(make, server, cells, tmp_path):
    here = make("here", "by_hand")
    done = here.snakemake()
    assert done.returncode == 2
    place = tmp_path / "manual" / "by_hand" / "cells.h5ad"
    assert "fetch it by hand from https://example.org/cells" in done.stdout
    assert str(place) in done.stdout
    assert "Traceback" not in done.stdout
    assert not server.requests

    place.parent.mkdir(parents=True)
    place.write_bytes(cells)
    done = here.snakemake("--", "prefetch")
    assert done.returncode == 0, done.stdout
    source = json.loads((here.folder / "data" / "raw" / "by_hand" / "source.json").read_text())
    assert source["cells.h5ad"]["url"] == "https://example.org/cells"


def test_a_dataset_that_cannot_be_fetched_does_not_stop_the_others(make, server):
    server.answers["there.h5ad"] = Answer(body=b"<html>Please log in</html>")
    here = make("here", "there")
    done = here.snakemake()
    assert done.returncode == 1
    for place in (done.stdout, (here.folder / "logs" / "fetch" / "there.log").read_text()):
        assert "dataset there: cells.h5ad could not be had; nothing was kept" in place
        assert f"{server.url}/there.h5ad: it is a web page" in place
        assert "Traceback" not in place
    assert (here.results / "denoising" / "here" / "r0" / "scores.csv").is_file()
    assert not (here.folder / "data" / "raw" / "there").exists()

    before = written(here)
    server.answers.clear()
    done = here.snakemake()
    assert done.returncode == 0, done.stdout
    after = written(here)
    assert {file: after[file] for file in before} == before
    assert len(server.asked("here.h5ad")) == 1
