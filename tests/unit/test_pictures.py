"""Figures of the report, on made-up results: what every size and every failure looks like."""

from __future__ import annotations

import base64
import io
import re
import shutil
from itertools import pairwise, product

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from PIL import Image

from dgnbench import pictures as pictures_module
from dgnbench.pictures import Failed, colours, pictures, short, short_apart
from dgnbench.results import Results
from dgnbench.storage import write_matrix, write_parts
from tests.conftest import ROOT

NAMES = (
    "cost", "denoising", "embeddings", "generated_cells", "predictions", "replicates", "training",
)  # fmt: skip
TASKS = ("denoising", "generation", "integration", "modality_prediction")
CONTROLS = {
    "denoising": ("zeros", "perfect"),
    "generation": ("mean", "other_half"),
    "integration": ("no_integration", "one_hot"),
    "modality_prediction": ("mean", "perfect"),
}
CELLS, GENES, PROTEINS = 40, 12, 7


def _parts(task, types, rng):
    """Problem and solution of a tiny dataset."""
    kinds = rng.integers(types, size=CELLS)
    rates = rng.gamma(2.0, 1.0, size=(types, GENES))[kinds] * rng.uniform(0.5, 2, (CELLS, 1))
    obs = pd.DataFrame(
        {
            "batch": pd.Categorical([f"b{i % 3}" for i in range(CELLS)]),
            "cell_type": pd.Categorical([f"a cell type with number {k}" for k in kinds]),
        },
        index=[f"cell_{i}" for i in range(CELLS)],
    )
    counts = AnnData(rng.poisson(rates).astype(np.float32), obs=obs)
    counts.var_names = [f"gene_{i}" for i in range(GENES)]
    if task == "denoising":
        truth = counts.copy()
        truth.layers["mean"] = rates.astype(np.float32)
        return {"counts": counts}, {"truth": truth}
    if task == "generation":
        return {"train": counts}, {"truth": counts, "train": counts, "other": counts}
    if task == "modality_prediction":
        proteins = AnnData(np.log1p(rates[:, :PROTEINS]).astype(np.float32), obs=obs)
        return {"test_source": counts}, {"truth": proteins}
    return {"counts": counts}, {"truth": counts}


def _output(task, solution, rng):
    truth = solution["truth"].X
    if task == "integration":  # of two dimensions, which need no UMAP
        return rng.normal(size=(CELLS, 2)).astype(np.float32)
    if task == "modality_prediction":
        return (truth + rng.normal(scale=0.3, size=truth.shape)).astype(np.float32)
    return rng.poisson(truth + 0.2).astype(np.float32)


def made_up(
    folder, *, tasks=TASKS, methods=3, datasets=1, replicates=1, types=3, label="Method {}",
    status="ok", scored=True, columns=(),
) -> Results:  # fmt: skip
    """A finished benchmark in `folder`."""
    rng = np.random.default_rng(0)
    names = [f"m{i}" for i in range(methods)] + ["a_baseline"]
    data = [f"d{i}" for i in range(datasets)]
    labels = {name: label.format(name) for name in names}
    runs, scores = [], []
    for task, dataset, replicate in product(tasks, data, range(replicates)):
        group = folder / task / dataset / f"r{replicate}"
        problem, solution = _parts(task, types, rng)
        write_parts(group / "problem", problem)
        write_parts(group / "solution", solution)
        roles = dict.fromkeys(names, "method") | {"a_baseline": "baseline"}
        roles |= dict(zip(CONTROLS[task], ("floor", "ceiling"), strict=True))
        for method, role in roles.items():
            key = {"task": task, "dataset": dataset, "replicate": replicate, "method": method}
            cost = float(rng.lognormal(2, 1.5))
            runs.append(
                {**key, "role": role, "status": status, "reason": "", "seconds_fit": cost,
                 "seconds_predict": 0.1, "peak_rss_mb": 100 + cost, "peak_gpu_mb": 0.0,
                 "device": "cpu", "uses_labels": "False", **dict.fromkeys(columns, 1000 * cost)}
            )  # fmt: skip
            value = {"floor": 0.0, "ceiling": 1.0}.get(role, float(rng.normal(0.5, 0.3)))
            scores.append(
                {**key, "role": role, "metric": "quality", "scaled": value if scored else np.nan,
                 "value": value, "status": "ok", "reason": "", "primary": True, "direction": "max",
                 "uses_labels": False}
            )  # fmt: skip
            if status == "ok" and replicate == 0:
                write_matrix(group / method / "output.h5ad", _output(task, solution, rng))
                if role == "method":
                    loss = {"epoch": range(5), "loss": rng.uniform(1, 9, 5), "kl": [np.nan] * 5}
                    pd.DataFrame(loss).to_csv(group / method / "history.csv", index=False)
    methods_of_all = set(pd.DataFrame(runs)["method"])
    roles = {run["method"]: run["role"] for run in runs}
    manifest = {
        "cards": {
            "tasks": {task: {"label": task.title(), "primary": "quality"} for task in tasks},
            "methods": {
                m: {"label": labels.get(m, m), "role": roles[m]} for m in sorted(methods_of_all)
            },
            "datasets": {d: {"label": label.format(d)} for d in data},
            "metrics": {t: {"tasks": [t], "metrics": {"quality": {"label": "Quality"}}} for t in tasks},
        }
    }  # fmt: skip
    return Results(folder, pd.DataFrame(runs), pd.DataFrame(scores), manifest)


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """The figures that need no more than tables, outputs and cards, beside each other."""
    folder = tmp_path_factory.mktemp("figures")
    for name in NAMES:
        shutil.copy(ROOT / "reports" / "figures" / f"{name}.py", folder)
    return folder


def _decoded(picture):
    return base64.b64decode(picture.src.split(",", 1)[1])


@pytest.fixture(scope="module")
def drawn(tmp_path_factory, figures):
    folder = tmp_path_factory.mktemp("benchmark")
    results = made_up(folder, datasets=2, replicates=3, columns=("parameters",))
    return folder, *pictures(results, figures, folder / "figures")


def test_every_figure_file_draws_and_none_fails(drawn):
    _, made, failed = drawn
    assert failed == []
    assert {p.name for p in made} == set(NAMES)


def test_a_picture_is_saved_as_it_is_embedded_and_says_what_it_shows(drawn):
    folder, made, _ = drawn
    assert {p.file for p in made} == set((folder / "figures").iterdir())
    for picture in made:
        kind = {".svg": "svg+xml", ".png": "webp"}[picture.file.suffix]
        if kind == "webp":
            shown, saved = Image.open(io.BytesIO(_decoded(picture))), Image.open(picture.file)
            assert shown.convert("RGB").tobytes() == saved.convert("RGB").tobytes()
        else:
            assert _decoded(picture) == picture.file.read_bytes()
        assert picture.src.startswith(f"data:image/{kind};base64,")
        assert picture.title
        assert len(picture.alt) > 20
        assert picture.width <= 1100
        parts = [p for p in (picture.name, picture.task, picture.dataset) if p]
        assert picture.file.stem.startswith("-".join(parts))


def test_ids_of_svgs_do_not_clash_and_their_text_is_text(drawn):
    svgs = [p.file.read_text() for p in drawn[1] if p.file.suffix == ".svg"]
    assert len(svgs) > 4
    seen: set[str] = set()
    for svg in svgs:
        ids = re.findall(r'\bid="([^"]+)"', svg)
        assert len(ids) == len(set(ids))
        assert not seen & set(ids)
        seen |= set(ids)
        assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)) <= {
            pair for i in ids for pair in ((i, ""), ("", i))
        }
        assert "<text" in svg


def test_the_same_results_give_the_same_pictures(tmp_path, figures):
    results = made_up(tmp_path, tasks=["denoising"])
    first, _ = pictures(results, figures, tmp_path / "figures")
    second, _ = pictures(results, figures, tmp_path / "figures")
    assert [p.src for p in first] == [p.src for p in second]


def test_a_file_that_raises_is_reported_and_the_others_are_drawn(tmp_path, figures):
    own = tmp_path / "own"
    own.mkdir()
    (own / "a_bad.py").write_text(
        "def draw(results):\n    yield from ()\n    raise KeyError('x')\n"
    )
    (own / "b_old.py").write_text("def draw(results):\n    yield 'task', 'title', 'alt', None\n")
    (own / "c_no_python.py").write_text("def draw(results:\n")
    (own / "d_good.py").write_text((figures / "replicates.py").read_text())
    results = made_up(tmp_path, tasks=["denoising"])
    made, failed = pictures(results, own, tmp_path / "figures")
    assert [p.name for p in made] == ["d_good"]
    assert [f.name for f in failed] == ["a_bad", "b_old", "c_no_python"]
    assert failed[0] == Failed("a_bad", "KeyError: 'x' (a_bad.py, line 3)")
    assert "wanted dgnbench.pictures.Drawn" in failed[1].reason
    assert "SyntaxError" in failed[2].reason


def test_pictures_of_an_earlier_report_are_removed(tmp_path, figures):
    save_to = tmp_path / "figures"
    save_to.mkdir()
    (save_to / "cost-gone.svg").write_text("old")
    results = made_up(tmp_path, tasks=["denoising"], status="failed", scored=False)
    pictures(results, figures, save_to)
    assert list(save_to.iterdir()) == []


@pytest.mark.parametrize(
    "few",
    [
        {"methods": 0, "types": 1},
        {"methods": 1, "scored": False, "tasks": ["denoising", "integration"]},
        {
            "methods": 2,
            "types": 12,
            "label": "{} of $x$ and $y$, fifty letters in all, or a few more",
        },
    ],
    ids=["a baseline, one type", "no score", "long labels, many types"],
)
def test_extremes_are_drawn(tmp_path, few, figures):
    made, failed = pictures(made_up(tmp_path, **few), figures, tmp_path / "figures")
    assert failed == []
    assert made


def test_without_an_ok_run_nothing_is_drawn_and_nothing_fails(tmp_path, figures):
    results = made_up(tmp_path, status="timeout", scored=False)
    assert pictures(results, figures, tmp_path / "figures") == ([], [])


def test_sixty_methods_stay_small_and_within_the_page(tmp_path, figures):
    results = made_up(tmp_path, tasks=["denoising"], methods=60, types=20)
    made, failed = pictures(results, figures, tmp_path / "figures")
    assert failed == []
    assert max(p.width for p in made) <= 1100
    assert max(len(p.src) for p in made) < 700_000
    assert len([p for p in made if p.name == "training" and p.task == "denoising"]) == 5


def test_rasters_of_a_page_that_is_too_heavy_get_fewer_bytes_and_files_stay(drawn):
    _, made, _ = drawn
    rasters = [p for p in made if p.file.suffix == ".png"]
    most = sum(len(p.src) for p in made) - sum(len(p.src) for p in rasters) // 2
    light = pictures_module._within(most, made)
    assert most / 2 < sum(len(p.src) for p in light) <= most
    for before, after in zip(made, light, strict=True):
        assert (before.src == after.src) == (before.file.suffix == ".svg")
        assert (before.width, before.file) == (after.width, after.file)
        if before.src != after.src:
            assert Image.open(io.BytesIO(_decoded(after))).width > 100


def test_clouds_become_rasters_and_few_marks_stay_vectors(drawn):
    suffixes = {p.name: p.file.suffix for p in drawn[1] if p.task != "integration"}
    assert suffixes["replicates"] == suffixes["cost"] == suffixes["training"] == ".svg"


def test_labels_are_shortened_within_and_keep_both_ends():
    label = "a long published name@beta=4"
    assert short(label, 40) == label
    assert short(label, 12).startswith("a long")
    assert short(label, 12).endswith("a=4")
    assert all(len(line) <= 12 for line in short(label, 12, 2).split("\n"))
    assert len(short("unbroken" * 10, 20, 2).split("\n")) == 2
    assert short("$x$", 9) == r"\$x\$"


def test_labels_that_would_look_the_same_are_told_apart():
    labels = [f"a published name {i} with the same words at its end" for i in (1, 2)]
    assert len({short(label, 16) for label in labels}) == 1
    assert [s[:3] for s in short_apart([*labels, "PCA"], 16)] == ["… 1", "… 2", "PCA"]


def test_many_categories_get_ordered_colours():
    from matplotlib.colors import rgb_to_hsv, to_rgb

    assert len(set(colours(8))) == 8
    many = np.array([to_rgb(c) for c in colours(30)])
    light = many @ [0.2126, 0.7152, 0.0722]
    assert all(a < b for a, b in pairwise(light))
    assert rgb_to_hsv(many).shape == (30, 3)
