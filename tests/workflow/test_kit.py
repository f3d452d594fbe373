"""Real data of every kind join by their path and go through the whole workflow."""

import json

import pandas as pd
import pytest
import yaml

from dgnbench import data
from dgnbench.plan import make_plan
from tests.conftest import ROOT

TINY = ROOT / "tests" / "workflow" / "kit_tiny.yaml"
WHOLE = ROOT / "tests" / "workflow" / "kit.yaml"
MULTIMODAL = ROOT / "tests" / "workflow" / "kit_multimodal.yaml"


@pytest.mark.parametrize(
    ("config", "files"),
    [(TINY, "tiny/*.h5[am][du]"), (WHOLE, "*.h5[am][du]"), (MULTIMODAL, "*.h5mu")],
)
def test_every_set_of_the_kit_is_in_the_config_and_plans(shared_folder, config, files):
    planned = make_plan(yaml.safe_load(config.read_text()), config.name)
    named = {planned.dataset(name).path for name in planned.datasets}
    assert named == set((shared_folder / "data" / "kit").glob(files))


def test_the_tiny_kit_runs_to_a_report(shared_folder, workdir):
    here = workdir(**yaml.safe_load(TINY.read_text()), component_paths=[])
    done = here.snakemake()
    assert done.returncode == 0, done.stdout[-3000:]
    runs = pd.read_csv(here.results / "runs.csv")
    assert set(runs["status"]) <= {"ok", "declined"}
    assert set(runs["dataset"]) == set(here.config["datasets"])
    scores = pd.read_csv(here.results / "scores.csv")
    failed = scores[scores["status"] == "failed"]
    assert failed.empty, failed[["dataset", "method", "metric", "reason"]].to_string()
    assert (here.results / "report.html").stat().st_size > 50_000

    perturbed = data.read(here.folder / "data/prepared/tiny_perturb.h5ad")
    assert set(perturbed.obs["condition"]) == {"ctrl", "stim"}
    assert perturbed.varm["gene_sets"].shape[1] == len(perturbed.uns["gene_sets"]) > 10
    doublets = data.read(here.folder / "data/prepared/tiny_doublets.h5ad")
    assert doublets.obs["doublet"].sum() == 21
    assert data.read(here.folder / "data/prepared/tiny_spatial.h5ad").obsm["spatial"].shape[1] == 2
    chromatin = data.read(here.folder / "data/prepared/tiny_multiome.h5mu")
    assert list(chromatin.mod) == ["rna", "atac"]
    manifest = json.loads((here.results / "manifest.json").read_text())
    assert manifest
