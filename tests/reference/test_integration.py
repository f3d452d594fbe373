"""Integration metrics equal scib-metrics' own Benchmarker; what it would score in silence is an error."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits

from dgnbench.cards import read_house, read_method
from dgnbench.runner import fit
from dgnbench.scoring import keep_compilations, load_metrics, score, without_tensorflow
from dgnbench.shared import Shared, nearest_neighbors
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


@pytest.mark.parametrize(("label", "name"), NAMES.items())
def test_it_equals_the_benchmarker_of_scib_metrics(case, theirs, label, name):
    solution, embedding = case
    ours = getattr(METRICS, name)(solution, embedding, Shared())
    assert ours == pytest.approx(float(theirs[label]), abs=1e-3)


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


def test_neighbours_are_exact_and_a_cell_is_its_own_first():
    x = np.random.default_rng(2).normal(size=(50, 3))
    x[7] = x[3]  # a duplicated cell
    indices, distances = nearest_neighbors(x, 10)
    full = np.linalg.norm(x[:, None] - x[None], axis=2)
    assert np.allclose(distances, np.sort(full, axis=1)[:, :10], atol=1e-6)
    assert (indices[:, 0] == np.arange(50)).all()
    assert (distances[:, 0] == 0).all()
    assert all(len(set(row)) == 10 for row in indices)
