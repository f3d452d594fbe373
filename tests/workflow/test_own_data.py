"""A user's own files join by their path, wherever they lie."""

import pandas as pd

from dgnbench import data
from dgnbench.cards import read_house


def test_own_files_of_one_and_two_modalities_join_by_path(workdir, tmp_path):
    card = read_house().datasets["simulated_cite"]
    both = data.load(card, {**card.params, "n_cells": 200, "n_genes": 80})
    folder = tmp_path / "my lab's data"
    folder.mkdir()
    both.write_h5mu(folder / "both.h5mu")
    rna = both["rna"].copy()
    rna.obs["donor"] = rna.obs.pop("batch")
    rna.write_h5ad(folder / "rna.h5ad")
    here = workdir(
        tasks=["denoising", "modality_prediction"],
        methods=["pca", "ridge"],
        datasets={
            "mine": {"path": str(folder / "rna.h5ad"), "batch": "donor", "label": "My cells"},
            "paired": {
                "path": str(folder / "both.h5mu"), "batch": "batch", "second_modality": "protein",
                "tasks": ["modality_prediction"],
            },
        },
    )  # fmt: skip
    done = here.snakemake()
    assert done.returncode == 0, done.stdout
    runs = pd.read_csv(here.results / "runs.csv")
    asked = set(zip(runs["task"], runs["dataset"], strict=True))
    assert asked == {("denoising", "mine"), ("modality_prediction", "paired")}
    assert set(runs.loc[runs["status"] == "declined", "method"]) == {"noiseless_mean"}
    assert set(runs["status"]) == {"ok", "declined"}  # the layer "mean" of a file is not the truth
    assert "My cells" in (here.results / "report.html").read_text()


def test_own_data_that_are_no_counts_are_one_message_and_grey_cells_beside_the_rest(
    workdir, tmp_path
):
    card = read_house().datasets["simulated_batches"]
    made = data.load(card, {**card.params, "n_cells": 60, "n_genes": 30})
    made.X = made.X * 0.5
    made.write_h5ad(tmp_path / "halves.h5ad")
    here = workdir(
        datasets={"halves": {"path": str(tmp_path / "halves.h5ad")}, "pbmc68k_reduced": None}
    )
    done = here.snakemake()
    assert done.returncode == 1
    assert "values that are not integers" in done.stdout
    assert "`counts:`" in done.stdout
    assert "Traceback" not in done.stdout
    runs = pd.read_csv(here.results / "runs.csv")
    grey = runs[runs["dataset"] == "halves"]
    assert set(grey["status"]) == {"failed"}
    assert f", 1 declined, {len(grey)} failed" in done.stdout
    assert grey["reason"].str.contains("no prepare: .* not integers").all()
    scores = pd.read_csv(here.results / "scores.csv")
    assert scores.loc[scores["dataset"] == "halves", "value"].isna().all()
    assert (
        scores.loc[(scores["dataset"] != "halves") & (scores["method"] == "pca"), "value"]
        .notna()
        .any()
    )
    assert "not integers" in (here.results / "report.html").read_text()

    del here.config["datasets"]["halves"]
    here.write()
    again = here.snakemake()
    assert again.returncode == 0, again.stdout
    assert ", 1 declined, 0 failed" in again.stdout
