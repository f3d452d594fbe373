"""Integration metrics equal scib-metrics' own Benchmarker; what it would score in silence is an error."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits

from dgnbench.cards import read_house, read_method
from dgnbench.contract import Estimate
from dgnbench.embedding import clusters, own, scib, silhouettes, threefry
from dgnbench.embedding.neighbours import nearest
from dgnbench.runner import fit
from dgnbench.scoring import keep_compilations, load_metrics, score, without_tensorflow
from dgnbench.shared import Shared
from dgnbench.storage import sha256, write_json, write_matrix

FAMILY = read_house().metrics["integration"]
METRICS = load_metrics(FAMILY)

NAMES = {
    "Isolated labels": "isolated_labels",
    "KMeans NMI": "nmi_kmeans",
    "KMeans ARI": "ari_kmeans",
    "Silhouette label": "silhouette_label",
    "cLISI": "clisi",
    "BRAS": "bras",
    "iLISI": "ilisi",
    "KBET": "kbet",
    "Graph connectivity": "graph_connectivity",
    "PCR comparison": "pcr_comparison",
    "Bio conservation": "bio_conservation",
    "Batch correction": "batch_correction",
    "Total": "total",
}


@pytest.fixture(scope="module", autouse=True)
def as_in_a_scoring_process():
    keep_compilations()
    with without_tensorflow(), threadpool_limits(1):  # small matrices: threads would only wait
        yield


@pytest.fixture(scope="module")
def case():
    """400 cells of 4 types in 3 batches, Poisson counts, and an embedding with some of both."""
    rng = np.random.default_rng(0)
    cell_type, batch = rng.integers(4, size=400), rng.integers(3, size=400)
    log_rate = rng.normal(0, 0.8, (4, 120))[cell_type] + rng.normal(0, 0.4, (3, 120))[batch]
    obs = pd.DataFrame(
        {"cell_type": [f"type {t}" for t in cell_type], "batch": [f"b{b}" for b in batch]}
    ).astype("category")
    obs.index = obs.index.astype(str)
    truth = AnnData(rng.poisson(np.exp(log_rate)).astype(np.float32), obs=obs)
    embedding = (
        rng.normal(0, 1.5, (4, 8))[cell_type]
        + rng.normal(0, 0.5, (3, 8))[batch]
        + rng.normal(0, 1, (400, 8))
    ).astype(np.float32)
    return {"truth": truth}, embedding


@pytest.fixture(scope="module")
def theirs(case):
    from scib_metrics.benchmark import BatchCorrection, Benchmarker, BioConservation

    solution, embedding = case
    data = solution["truth"].copy()
    log = METRICS.log1p_cp10k(data.X)
    data.obsm["before"] = METRICS.principal_components(log, 50, seed=0).transform(log)
    data.obsm["X"] = embedding
    benchmarker = Benchmarker(
        data,
        batch_key="batch",
        label_key="cell_type",
        embedding_obsm_keys=["X"],
        bio_conservation_metrics=BioConservation(nmi_ari_cluster_labels_leiden=False),
        batch_correction_metrics=BatchCorrection(),
        pre_integrated_embedding_obsm_key="before",
        progress_bar=False,
    )
    benchmarker.prepare()
    benchmarker.benchmark()
    return benchmarker.get_results(min_max_scale=False).loc["X"]


@pytest.mark.parametrize("engine", ["own", "scib_metrics"])
@pytest.mark.parametrize(("label", "name"), NAMES.items())
def test_it_equals_the_benchmarker_of_scib_metrics(case, theirs, label, name, engine):
    solution, embedding = case
    ours = getattr(METRICS, name)(solution, embedding, Shared(engine=engine))
    assert 0 < ours < 1, "a value at a bound would compare nothing"
    assert ours == pytest.approx(float(theirs[label]), abs=1e-5)


def test_every_number_of_the_card_is_compared():
    assert set(NAMES.values()) == set(FAMILY.metrics)


def test_silhouette_label_is_scikit_learn_s(case):
    solution, embedding = case
    expected = (silhouette_score(embedding, solution["truth"].obs["cell_type"]) + 1) / 2
    ours = METRICS.silhouette_label(solution, embedding, Shared())
    assert ours == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", list(FAMILY.metrics))
def test_turning_and_stretching_an_embedding_changes_nothing(case, name):
    solution, embedding = case
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))
    turned = (3 * embedding @ turn).astype(np.float32)
    before = getattr(METRICS, name)(solution, embedding, Shared())
    after = getattr(METRICS, name)(solution, turned, Shared())
    assert after == pytest.approx(before, abs=0.02)  # k-means starts from other cells


@pytest.mark.parametrize("key", ["cell_type", "batch"])
def test_missing_or_single_labels_are_an_error_not_a_score(case, key):
    solution, embedding = case
    truth = solution["truth"].copy()
    truth.obs[key] = "same"
    with pytest.raises(ValueError, match=f"one {key} only"):
        METRICS.bras({"truth": truth}, embedding, Shared())
    truth.obs[key] = [None, *["a", "b"] * 199, "a"]
    with pytest.raises(ValueError, match=f"1 cells have no {key}"):
        METRICS.bras({"truth": truth}, embedding, Shared())


DEGENERATE = {
    "constant": "np.full((n, 3), 0.7)",
    "not_finite": "np.full((n, 3), np.nan)",
    "half_finite": "np.where(np.arange(n)[:, None] % 2, np.inf, rng.normal(size=(n, 3)))",
    "line": "np.outer(rng.normal(size=n), [1.0, 2.0, -1.0]) + 5",
    "one_dimension": "rng.normal(size=(n, 1))",
}
CARD = """
label: Degenerate
summary: A planted fault, for this test only.
reference: "none: a planted fault"
role: method
uses_labels: false
tasks: [integration]
env: core
params: {}
smoke: {}
resources: {gpu: 0, mem_mb: 3000, runtime: 2}
"""


def scored(group, method):
    rows = score("integration", "simulated", 0, "total", [FAMILY], group, [method])
    assert {row["metric"] for row in rows} == set(FAMILY.metrics)
    return rows


@pytest.mark.parametrize("name", ["constant", "not_finite", "line"])
def test_a_degenerate_embedding_gets_a_status_and_no_score_from_run_to_table(
    groups, tmp_path, name
):
    folder = tmp_path / "methods" / name
    folder.mkdir(parents=True)
    (folder / "method.yaml").write_text(CARD)
    (folder / "method.py").write_text(
        "import numpy as np\n\n\ndef integration(counts, *, seed):\n"
        f"    n, rng = counts.n_obs, np.random.default_rng(seed)\n"
        f"    return {DEGENERATE[name]}\n"
    )
    card = read_method(folder / "method.yaml", name)
    group = tmp_path / "r0"
    group.mkdir()
    (group / "solution").symlink_to(groups("integration") / "solution")
    fit(
        card, name, "integration", groups("integration") / "problem", group / "solution",
        group / name, seed=0, params={}, resources=card.resources,
    )  # fmt: skip
    for row in scored(group, name):
        assert (row["status"], row["value"]) == ("invalid_output", "")
        assert "degenerate" in row["reason"] or "not finite" in row["reason"]


@pytest.mark.parametrize(("name", "values"), DEGENERATE.items())
def test_a_degenerate_embedding_that_no_check_has_stopped_fails_in_every_metric(
    groups, tmp_path, name, values
):
    (tmp_path / "solution").symlink_to(groups("integration") / "solution")
    output = eval(values, {"np": np, "n": 600, "rng": np.random.default_rng(0)})
    write_matrix(tmp_path / name / "output.h5ad", output.astype(np.float32))
    record = {
        "status": "ok", "reason": "", "role": "method", "uses_labels": False,
        "output_sha256": sha256(tmp_path / name / "output.h5ad"),
    }  # fmt: skip
    write_json(tmp_path / name / "run.json", record)
    for row in scored(tmp_path, name):
        assert (row["status"], row["value"]) == ("failed", "")
        assert "degenerate embedding" in row["reason"]


def test_a_constant_or_a_line_with_a_little_noise_scores_as_what_it_is(case):
    """What gets through the checks is worth no more than noise alone."""
    solution, embedding = case
    noise = np.random.default_rng(3).normal(size=embedding.shape)
    line = np.outer(np.random.default_rng(4).normal(size=len(embedding)), np.ones(8))
    real = METRICS.total(solution, embedding, Shared())
    alone = METRICS.total(solution, noise.astype(np.float32), Shared())
    for degenerate in (0.5 + 1e-3 * noise, line + 1e-3 * noise):
        total = METRICS.total(solution, degenerate.astype(np.float32), Shared())
        assert total < alone + 0.05 < real


def made_up(n, labels, batch, n_dimensions=6, seed=0):
    """Cells around a place for their label, shifted a little by their batch."""
    rng = np.random.default_rng(seed)
    place = rng.normal(0, 1.5, (labels.max() + 1, n_dimensions))[labels]
    shift = rng.normal(0, 0.5, (batch.max() + 1, n_dimensions))[batch]
    return (place + shift + rng.normal(size=(n, n_dimensions))).astype(np.float32)


def unbalanced(rng):
    labels = rng.choice(5, 700, p=[0.7, 0.2, 0.06, 0.03, 0.01])
    return labels, rng.choice(3, 700, p=[0.8, 0.15, 0.05])


def with_types_of_one_cell(rng):
    labels = np.concatenate([rng.integers(3, size=300), [3, 4]])
    return labels, rng.integers(3, size=302)


def with_a_batch_missing_in_a_type(rng):
    labels, batch = rng.integers(4, size=400), rng.integers(3, size=400)
    return labels, np.where((labels == 0) & (batch == 2), 0, batch)


def with_a_type_of_one_batch(rng):
    labels, batch = rng.integers(4, size=400), rng.integers(3, size=400)
    return labels, np.where(labels == 1, 1, batch)


def with_fewer_cells_than_neighbours(rng):
    return rng.integers(3, size=60), rng.integers(2, size=60)


def with_types_of_fewer_cells_than_diffusion_components(rng):
    labels = np.repeat(np.arange(6), [40, 60, 80, 200, 300, 20])
    return labels, rng.integers(3, size=700)


CASES = {
    function.__name__: function
    for function in (
        unbalanced, with_types_of_one_cell, with_a_batch_missing_in_a_type, with_a_type_of_one_batch,
        with_fewer_cells_than_neighbours, with_types_of_fewer_cells_than_diffusion_components,
    )
}  # fmt: skip


def by_both(x, labels, batch):
    """All numbers, by our functions and by those of scib-metrics, on one graph."""
    graph = nearest(x, 90)
    before = made_up(len(x), labels, batch, seed=5)
    before[:, 0] += 2 * batch  # else the comparison is below 0, which counts 0

    def numbers(engine):
        return {
            **engine.of_labels(x, labels, batch),
            **engine.of_clusters(x, labels),
            **engine.of_neighbours(graph, labels, batch),
            "bras": engine.bras(x, labels, batch),
            "kbet": engine.kbet(graph.first(50), labels, batch),
            "graph_connectivity": engine.graph_connectivity(graph.first(15), labels),
            "pcr_comparison": engine.pcr_comparison(before, x, batch),
        }

    return numbers(own), numbers(scib)


@pytest.mark.parametrize("name", CASES)
def test_every_number_equals_scib_metrics_on_awkward_data(name):
    labels, batch = CASES[name](np.random.default_rng(7))
    ours, theirs = by_both(made_up(len(labels), labels, batch), labels, batch)
    assert set(ours) == set(METRICS.BIO) | set(METRICS.BATCH)
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert theirs["pcr_comparison"] > 0


def test_every_number_equals_scib_metrics_where_cells_are_duplicated():
    """Cells at one place: their order among the nearest is anyone's, and float32 distances are not 0.

    kBET's last neighbour is then one of several at the same diffusion distance, by the last digits of
    memberships and eigenvectors (beginning both searches alike changes nothing): a few cells more or
    less are accepted. Where no cells coincide it is held to 1e-5, above.
    """
    labels, batch = CASES["unbalanced"](np.random.default_rng(7))
    x = made_up(len(labels), labels, batch)
    x[100:150] = x[:50]
    x[150:200] = x[:50]
    ours, theirs = by_both(x, labels, batch)
    assert ours.pop("kbet") == pytest.approx(theirs.pop("kbet"), abs=0.03)
    assert ours == pytest.approx(theirs, abs=1e-5)


def test_kbet_of_a_sample_of_cells_is_near_that_of_all_and_says_so(monkeypatch):
    from dgnbench.embedding import mixing

    labels, batch = CASES["unbalanced"](np.random.default_rng(7))
    graph = nearest(made_up(len(labels), labels, batch), 50)
    exact = mixing.kbet(graph, batch, labels)
    assert not hasattr(exact, "note")
    monkeypatch.setattr(mixing, "TESTED", 60)
    sampled = mixing.kbet(graph, batch, labels)
    error = float(sampled.note.rsplit(" ", 1)[1])
    assert 0 < error < 0.1
    assert sampled == pytest.approx(exact, abs=4 * error)


@pytest.mark.parametrize("seed", range(5))
def test_k_means_finds_the_clusters_of_scib_metrics_from_every_seed(seed):
    from scib_metrics.utils import KMeans

    labels, batch = CASES["unbalanced"](np.random.default_rng(seed))
    x = made_up(len(labels), labels, batch, seed=seed)
    theirs = KMeans(6, seed=seed).fit(x.copy()).labels_
    assert np.array_equal(clusters.kmeans(x, 6, seed), theirs)


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
@pytest.mark.parametrize("n", [2, 7, 1000, 70_000])
def test_random_numbers_are_those_of_jax(seed, n):
    import jax

    theirs, ours = jax.random.PRNGKey(seed), threefry.key(seed)
    assert np.array_equal(threefry.split(ours, 3), jax.random.split(theirs, 3))
    assert np.array_equal(threefry.uniform(ours, n), jax.random.uniform(theirs, n))
    assert np.array_equal(threefry.permutation(ours, n), jax.random.permutation(theirs, n))
    weights = np.random.default_rng(0).dirichlet(np.ones(n)).astype(np.float32)
    drawn = jax.random.choice(theirs, n, (2,), replace=False, p=weights)
    assert np.array_equal(threefry.choice(ours, 2, weights), drawn)


def test_silhouettes_of_a_sample_lie_within_their_error_of_those_of_all():
    labels, batch = CASES["unbalanced"](np.random.default_rng(1))
    x = made_up(len(labels), labels, batch)
    exact = silhouettes.label_score(silhouettes.by_label(x, labels), labels)
    assert not isinstance(exact, Estimate)
    sampled = silhouettes.by_label(x, labels, exact_up_to=0, sample=200)
    assert 200 <= len(sampled.cells) < 250
    score = silhouettes.label_score(sampled, labels)
    assert 0 < score.error < 0.01
    assert abs(score - exact) < 3 * score.error


def test_every_cell_of_a_sample_has_the_silhouette_it_has_among_all():
    labels, batch = CASES["with_types_of_one_cell"](np.random.default_rng(1))
    x = made_up(len(labels), labels, batch)
    exact = silhouettes.by_label(x, labels)
    sampled = silhouettes.by_label(x, labels, exact_up_to=0, sample=100)
    at = dict(zip(exact.cells, exact.values, strict=True))
    assert sampled.values == pytest.approx([at[cell] for cell in sampled.cells], abs=1e-6)


def test_scoring_imports_neither_jax_nor_tensorflow_nor_scib_metrics(tmp_path):
    code = """
import sys, numpy as np, pandas as pd
from anndata import AnnData
from dgnbench.cards import read_house
from dgnbench.scoring import load_metrics
from dgnbench.shared import Shared
rng = np.random.default_rng(0)
obs = pd.DataFrame({"cell_type": list("ab") * 50, "batch": list("ccdd") * 25})
truth = AnnData(rng.poisson(2.0, (100, 60)).astype("f4"), obs=obs.set_axis(map(str, range(100))))
total = load_metrics(read_house().metrics["integration"]).total
total({"truth": truth}, rng.normal(size=(100, 5)).astype("f4"), Shared())
print(*[n for n in ("jax", "tensorflow", "torch", "scib_metrics", "umap") if n in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_neighbours_are_exact_and_a_cell_is_its_own_first():
    x = np.random.default_rng(2).normal(size=(50, 3))
    x[7] = x[3]  # a duplicated cell
    found = nearest(x, 10)
    indices, distances = found.indices, found.distances
    full = np.linalg.norm(x[:, None] - x[None], axis=2)
    assert np.allclose(distances, np.sort(full, axis=1)[:, :10], atol=1e-6)
    assert (indices[:, 0] == np.arange(50)).all()
    assert (distances[:, 0] == 0).all()
    assert all(len(set(row)) == 10 for row in indices)


def test_an_approximate_search_tells_its_recall_and_is_refused_when_it_finds_too_little(
    monkeypatch,
):
    from dgnbench.embedding import neighbours

    x = np.random.default_rng(2).normal(size=(3000, 5))
    exact, found = nearest(x, 15), nearest(x, 15, exact_up_to=0)
    shared = [len(set(a) & set(b)) for a, b in zip(exact.indices, found.indices, strict=True)]
    assert 0.95 < found.recall <= 1
    assert np.mean(shared) / 15 == pytest.approx(found.recall, abs=0.01)
    assert (found.indices[:, 0] == np.arange(3000)).all()
    monkeypatch.setattr(neighbours, "_roughly", lambda x, k: (exact.indices[::-1], exact.distances))
    with pytest.raises(ValueError, match="approximate search found"):
        nearest(x, 15, exact_up_to=0)
