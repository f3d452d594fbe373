"""Scores of a group: kept where nothing changed, rows for whatever fails."""

import json
import math
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from dgnbench.cards import core_files, read_house
from dgnbench.contract import Estimate, NotApplicable
from dgnbench.scoring import evaluate, score, score_key
from dgnbench.shared import Shared
from dgnbench.storage import sha256, write_json, write_matrix
from tests.conftest import ROOT

METRIC = SimpleNamespace(
    **dict.fromkeys(read_house().metrics["integration"].metrics, lambda *_: 0.0)
)
FAMILIES = list(read_house().metrics_of("denoising").values())


def _run(group, method, output):
    write_matrix(group / method / "output.h5ad", output)
    record = {
        "status": "ok", "reason": "", "role": "method", "uses_labels": False,
        "output_sha256": sha256(group / method / "output.h5ad"),
    }  # fmt: skip
    write_json(group / method / "run.json", record)


@pytest.fixture
def group(groups, tmp_path):
    from dgnbench.storage import read_parts

    source = groups("denoising")
    here = tmp_path / "pbmc68k_reduced" / "r0"
    here.mkdir(parents=True)
    (here / "solution").symlink_to(source / "solution")
    raw = read_parts(source / "problem")["counts"].X
    _run(here, "a", raw)
    _run(here, "b", np.full(raw.shape, 0.1, dtype=np.float32))
    return here


def scored(group):
    return score("denoising", "pbmc68k_reduced", 0, "poisson_nll", FAMILIES, group, ["a", "b"])


def values(rows, method):
    return {row["metric"]: row["value"] for row in rows if row["method"] == method}


def test_one_changed_output_is_scored_again_alone(group):
    first = scored(group)
    before = (group / "a" / "scores.csv").stat().st_mtime_ns
    _run(group, "b", np.full((700, 765), 0.2, dtype=np.float32))
    second = scored(group)
    assert (group / "a" / "scores.csv").stat().st_mtime_ns == before
    assert values(first, "a") == values(second, "a")
    assert values(first, "b") != values(second, "b")


def test_another_engine_or_a_change_of_core_code_that_metrics_use_is_another_key(monkeypatch):
    from dgnbench import cards, scoring

    families = [read_house().metrics["integration"]]
    run = {"status": "ok", "reason": "", "output_sha256": "x", "role": "method"}
    keys = [score_key(families, run, "s", "total", engine) for engine in ("own", "scib_metrics")]
    used = {str(f.relative_to(cards.__file__[:-9])) for f in core_files(families[0].folder)}
    assert {"embedding/compiled.py", "compiling.py", "transforms.py"} <= used
    assert not used & {"cli.py", "scoring.py", "nn/kernels.py"}
    real = scoring.sha256
    monkeypatch.setattr(
        scoring, "sha256", lambda f: "changed" if f.name == "compiled.py" else real(f)
    )
    keys.append(score_key(families, run, "s", "total"))
    assert len(set(keys)) == 3


def test_the_engine_of_the_config_reaches_the_metrics(monkeypatch, tmp_path):
    from dgnbench import cli, scoring
    from dgnbench.plan import make_plan

    config = {"benchmark": "b", "tasks": ["integration"], "datasets": {"simulated_batches": None}}
    plan = make_plan({**config, "methods": ["pca"], "engine": "scib_metrics"})
    seen = []
    monkeypatch.setattr(scoring, "load_metrics", lambda family: METRIC)
    monkeypatch.setattr(scoring, "read_parts", lambda folder: {})
    METRIC.total = lambda solution, output, shared: seen.append(shared.engine) or 0.0
    (tmp_path / "solution").mkdir()
    _run(tmp_path, "pca", np.ones((3, 2), dtype=np.float32))
    cli._score_group(plan, "integration", "simulated_batches", 0, tmp_path, ["pca"])
    assert seen == ["scib_metrics"]


def test_what_a_sampled_score_says_of_itself_stands_in_its_row(monkeypatch, tmp_path):
    from dgnbench import scoring

    sampled = SimpleNamespace(
        **{**METRIC.__dict__, "bras": lambda *_: Estimate(0.5, 0.003, 20, 50)}
    )
    monkeypatch.setattr(scoring, "load_metrics", lambda family: sampled)
    monkeypatch.setattr(scoring, "read_parts", lambda folder: {})
    (tmp_path / "solution").mkdir()
    _run(tmp_path, "pca", np.ones((3, 2), dtype=np.float32))
    families = [read_house().metrics["integration"]]
    score("integration", "d", 0, "total", families, tmp_path, ["pca"])
    table = pd.read_csv(tmp_path / "pca" / "scores.csv").set_index("metric")
    assert table.loc["bras", ["value", "note"]].tolist() == [
        0.5,
        "20 of 50 cells, standard error 0.003",
    ]
    assert table["note"].notna().sum() == 1


def test_an_output_that_was_changed_behind_our_back_is_no_score(group):
    output = group / "a" / "output.h5ad"
    output.write_bytes(output.read_bytes() + b"x")
    rows = [row for row in scored(group) if row["method"] == "a"]
    assert {row["status"] for row in rows} == {"failed"}
    assert all("checksums differ" in row["reason"] for row in rows)


def test_a_run_that_failed_has_a_row_for_every_metric(group):
    record = json.loads((group / "a" / "run.json").read_text())
    write_json(group / "a" / "run.json", {**record, "status": "timeout", "reason": "too slow"})
    rows = [row for row in scored(group) if row["method"] == "a"]
    assert len(rows) == len(FAMILIES[0].metrics)
    assert {(row["status"], row["value"], row["reason"]) for row in rows} == {
        ("timeout", "", "too slow")
    }


@pytest.mark.parametrize(
    ("result", "status", "reason"),
    [
        (lambda *_: 1 / 0, "failed", "ZeroDivisionError"),
        (lambda *_: math.inf, "failed", "returned inf"),
        (lambda *_: math.nan, "failed", "returned nan"),
    ],
)
def test_whatever_a_metric_does_becomes_a_status(result, status, reason):
    value, told, why = evaluate(result, {}, None, Shared())
    assert math.isnan(value)
    assert told == status
    assert reason in why


def test_a_metric_without_meaning_says_so():
    def metric(solution, output, shared):
        raise NotApplicable("no mean")

    assert evaluate(metric, {}, None, Shared())[1:] == ("not_applicable", "no mean")


@pytest.mark.parametrize("own", [None, "/somewhere/else"])
def test_compilations_are_kept_in_the_cache_folder_unless_told_otherwise(own, tmp_path):
    code = (
        "from dgnbench.scoring import keep_compilations; keep_compilations();"
        "import os; print(os.environ['JAX_COMPILATION_CACHE_DIR'])"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    if own:
        environment["JAX_COMPILATION_CACHE_DIR"] = own
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.strip() == (own or str(tmp_path / "dgnbench" / "jax"))
