"""Outputs compared number by number, reports that seal themselves, checkouts that say what changed."""

import json
import subprocess

import numpy as np
import pytest
from scipy import sparse

from dgnbench import provenance
from dgnbench.contract import DgnbenchError
from dgnbench.plan import make_plan
from dgnbench.provenance import compared, seal, verify
from dgnbench.storage import sha256, write_json, write_matrix
from dgnbench.surroundings import checkout, installed, machine


@pytest.fixture
def pair(tmp_path):
    def write(before, after):
        write_matrix(tmp_path / "before.h5ad", before)
        write_matrix(tmp_path / "after.h5ad", after)
        return compared(tmp_path / "before.h5ad", tmp_path / "after.h5ad")

    return write


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("rows_at_once", [3, 1000])
def test_the_largest_difference_is_told_with_its_relative_size_and_the_correlation(
    pair, monkeypatch, kind, rows_at_once
):
    monkeypatch.setattr(provenance, "ROWS_AT_ONCE", rows_at_once)
    before = np.random.default_rng(0).normal(1000, 1, (10, 4))
    after = before + np.random.default_rng(1).normal(0, 1, (10, 4))
    same, said = pair(kind(before), kind(after))
    assert not same
    largest = np.abs(before - after).max()
    assert f"largest difference {largest:.3g}" in said
    assert f"relative {largest / before.max():.3g}" in said
    assert f"correlation {np.corrcoef(before.ravel(), after.ravel())[0, 1]:.6f}" in said


def test_equal_values_in_another_form_are_identical(pair):
    same, said = pair(np.eye(3), sparse.csr_matrix(np.eye(3)))
    assert same
    assert said == "identical values in another file"


def test_outputs_without_any_spread_have_no_correlation(pair):
    assert "relative undefined, correlation undefined" in pair(np.zeros((2, 2)), np.ones((2, 2)))[1]


def test_another_shape_is_told_before_any_number(pair):
    assert pair(np.zeros((3, 2)), np.zeros((3, 4))) == (False, "shape (3, 2) became (3, 4)")


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results" / "one"
    folder.mkdir(parents=True)
    (folder / "runs.csv").write_text("task\n")
    files = {"runs.csv": sha256(folder / "runs.csv")}
    write_json(folder / "manifest.json", {"files": files, "inputs": {}, "unfinished": {}})
    (folder / "report.html").write_text("<html></html>\n")
    (folder / "figures").mkdir()
    (folder / "figures" / "cost.svg").write_text("<svg/>")
    seal(folder / "report.html", folder / "manifest.json")
    return folder


def test_a_sealed_report_is_as_it_was_and_any_edit_of_it_is_seen(results):
    assert verify(results).faults == []
    page = results / "report.html"
    whole = page.read_text()
    for edited in (whole + " ", "x" + whole, whole.partition("<!--")[0], ""):
        page.write_text(edited)
        (fault,) = verify(results).faults
        assert fault.startswith("changed  report.html")
    page.unlink()
    assert verify(results).faults[0].startswith("missing  report.html")


@pytest.mark.parametrize("file", ["cost.svg", "another.svg"])
def test_an_edited_figure_and_one_that_the_report_did_not_have_are_seen(results, file):
    (results / "figures" / file).write_text("<svg></svg>")
    assert verify(results).faults == ["changed  figures/: not what report.html was made with"]


def test_a_run_that_saw_another_problem_is_named(results):
    run = results / "denoising" / "d" / "r0" / "pca" / "run.json"
    write_json(run, {"problem_sha256": "0" * 64})
    told = json.loads((results / "manifest.json").read_text())
    told["files"]["denoising/d/r0/pca/run.json"] = sha256(run)
    write_json(results / "manifest.json", told)
    assert any("its run saw another problem" in fault for fault in verify(results).faults)


def test_fetched_and_prepared_data_keep_the_checksums_that_their_makers_wrote_down(tmp_path):
    plan = make_plan(
        {"benchmark": "b", "tasks": ["denoising"], "datasets": {"pbmc3k": None}, "methods": ["pca"]}
    )
    told = {"sha256": "1" * 64, "url": "https://a/b", "standing": "pinned", "time": "2031"}
    source = {"counts.tar.gz": {**told, "name": "counts.tar.gz", "path": "/somebody/s/cache"}}
    write_json(tmp_path / "data" / "raw" / "pbmc3k" / "source.json", source)
    prepared = tmp_path / "data" / "prepared"
    prepared.mkdir()
    (prepared / "pbmc3k.h5ad").write_text("cells")
    inputs = provenance._inputs(plan, tmp_path / "results" / "b", prepared)
    assert inputs["data/raw/pbmc3k/counts.tar.gz"] == told
    assert inputs["data/prepared/pbmc3k.h5ad"]["sha256"] == sha256(prepared / "pbmc3k.h5ad")
    split = tmp_path / "results" / "b" / "denoising" / "pbmc3k" / "r0" / "split.json"
    write_json(split, {"prepared_sha256": "2" * 64})  # what the problems were made from
    inputs = provenance._inputs(plan, tmp_path / "results" / "b", prepared)
    assert inputs["data/prepared/pbmc3k.h5ad"]["sha256"] == "2" * 64


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_broken_or_older_manifest_is_one_message(results, text):
    (results / "manifest.json").write_text(text)
    with pytest.raises(DgnbenchError, match="not a manifest that can be checked"):
        verify(results)


def test_a_run_without_what_a_repetition_needs_is_one_message(results):
    write_json(results / "run.json", {"task": "denoising", "method": "pca", "seed": 0})
    with pytest.raises(DgnbenchError, match="lacks params, resources, component"):
        provenance.rerun(results, results)
    with pytest.raises(DgnbenchError, match=r"no run\.json here"):
        provenance.rerun(results / "elsewhere", results)


def test_a_checkout_is_clean_until_a_file_is_changed_or_new(tmp_path):
    def git(*words):
        who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", tmp_path, *who, *words], check=True, capture_output=True)

    assert checkout(tmp_path) == {"commit": "unknown", "clean": None, "changed": []}
    git("init")
    (tmp_path / "a.py").write_text("1")
    git("add", ".")
    git("commit", "-m", "first")
    made = checkout(tmp_path)
    assert made["clean"]
    assert len(made["commit"]) == 40
    (tmp_path / "a.py").write_text("2")
    (tmp_path / "b.py").write_text("1")
    assert checkout(tmp_path)["changed"] == [" M a.py", "?? b.py"]
    assert not checkout(tmp_path)["clean"]


def test_machine_and_packages_are_told():
    assert machine()["cores"] >= 1
    assert installed()["numpy"] == np.__version__
