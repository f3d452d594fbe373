"""own_scvi beside scvi-tools: the same numbers on the same weights, as good after the same epochs."""

import importlib.util
import logging
import sys
import warnings

import anndata
import numpy as np
import pytest
import torch

from dgnbench.cards import root

EPOCHS, GENES, SEEDS = 15, 400, 3
SETS = {"kang_ifnb": "donor", "worm_embryo": "batch", "pbmc68k_reduced_counts": None}


@pytest.fixture(scope="module")
def benchmark():
    """``benchmarks/training.py``, which trains both and brings scvi-tools' weights into ours."""
    spec = importlib.util.spec_from_file_location("training", root() / "benchmarks" / "training.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def method(benchmark):
    loaded = benchmark.own_method()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small matrices: threads would only wait for each other
    yield loaded
    torch.set_num_threads(threads)
    sys.path.remove(str(benchmark.METHOD))
    sys.modules.pop("net")


@pytest.fixture(autouse=True)
def _quiet_lightning():
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


def without_dropout(model, training):
    for layer in model.train(training).modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize("batch_key", [None, "batch"])
@pytest.mark.parametrize("likelihood", ["nb", "zinb"])
def test_on_the_weights_of_scvi_tools_it_gives_their_losses_and_gradients(
    benchmark, method, likelihood, batch_key, n_layers, training
):
    import scvi

    scvi.settings.seed = 0
    data = benchmark.simulate(120, 300)
    scvi.model.SCVI.setup_anndata(data, batch_key=batch_key)
    theirs = scvi.model.SCVI(data, gene_likelihood=likelihood, n_layers=n_layers).module
    if batch_key is None:
        del data.obs["batch"]
        codes = torch.zeros(120, 1, dtype=torch.long)
    else:
        codes = torch.as_tensor(data.obs["batch"].cat.codes.to_numpy()[:, None], dtype=torch.long)
    counts, batch = method.Counts.of(data.X), method._batch(data, torch.device("cpu"))
    ours = benchmark.with_weights_of(theirs, sys.modules["net"], batch.shape[1])
    for model in (ours, theirs):
        without_dropout(model, training)

    x = counts.dense()
    inference = theirs.inference(x, codes)
    torch.manual_seed(1)
    z = inference["qz"].rsample()
    generative = theirs.generative(z, inference["library"], codes)
    expected = theirs.loss({"X": x}, inference, generative, kl_weight=0.3)
    expected.loss.backward()
    torch.manual_seed(1)
    reconstruction, kl = ours.losses(counts, batch)
    (reconstruction + 0.3 * kl).mean().backward()

    close = {"rtol": 1e-5, "atol": 1e-5}
    assert torch.allclose(kl, expected.kl_local["kl_divergence_z"], **close)
    assert torch.allclose(
        reconstruction, expected.reconstruction_loss["reconstruction_loss"], **close
    )
    for parameter in theirs.parameters():  # their gradients, under our names
        parameter.data = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    gradients = benchmark.with_weights_of(theirs, sys.modules["net"], batch.shape[1])
    for (name, mine), its in zip(ours.named_parameters(), gradients.parameters(), strict=True):
        # a bias before a BatchNorm in training has none but what rounding leaves
        assert (mine.grad - its).norm() <= 1e-5 * its.norm() + 1e-5, name


@pytest.mark.parametrize("name", SETS)
def test_its_held_out_elbo_after_equal_epochs_is_that_of_scvi_tools(
    benchmark, method, shared_folder, monkeypatch, name
):
    """From the same weights: where they were drawn makes one per cent in so short a training."""
    data = anndata.read_h5ad(shared_folder / "data" / "kit" / f"{name}.h5ad")
    most = np.sort(np.argsort(-np.asarray((data.X > 0).sum(axis=0)).ravel())[:GENES])
    batches = data.obs[SETS[name]].astype(str).tolist() if SETS[name] else "one"
    data = anndata.AnnData(
        data.X[:, most].astype(np.float32), obs=data.obs[[]].assign(batch=batches)
    )
    held_out = np.random.default_rng(0).random(data.n_obs) < 0.2
    train, rest = data[~held_out].copy(), data[held_out].copy()
    counts, batch = method.Counts.of(rest.X), method._batch(rest, torch.device("cpu"))
    elbos = {"scvi": [], "own_scvi": []}
    for seed in range(SEEDS):
        options = {"likelihood": "zinb", "epochs": EPOCHS, "seed": seed}
        untrained = benchmark.train_scvi(train, **options | {"epochs": 0})
        start = benchmark.with_weights_of(untrained, sys.modules["net"], batch.shape[1])
        monkeypatch.setattr(method, "Vae", lambda *args, start=start, **params: start)
        scvi = benchmark.train_scvi(train, **options)
        own = benchmark.train_own(train, method, **options)
        scvi = benchmark.with_weights_of(scvi, sys.modules["net"], batch.shape[1])
        for which, model in (("scvi", scvi), ("own_scvi", own)):
            elbos[which].append(benchmark.held_out_elbo(model, counts, batch))
    means = {which: np.mean(found) for which, found in elbos.items()}
    print(name, elbos, means)
    assert means["own_scvi"] == pytest.approx(means["scvi"], rel=0.005), elbos


def test_training_goes_on_after_a_kill_and_gives_the_same_latent(method, tmp_path, monkeypatch):
    from dgnbench.cards import read_house
    from dgnbench.nn import training

    card = read_house().methods["own_scvi"]
    params = {**card.params, "max_epochs": 4, "batch_size": 40}
    rng = np.random.default_rng(0)
    counts = anndata.AnnData(rng.poisson(0.5, (100, 30)).astype(np.float32))
    expected = method.integration(counts, seed=3, **params)
    monkeypatch.setenv(training.CHECKPOINT, str(tmp_path / "checkpoint.pt"))
    monkeypatch.setattr(training, "EVERY_S", 0)
    minimise, steps = method.minimise, []

    def killed_half_way(optimiser, loss):
        steps.append(loss)
        if len(steps) == 7:
            raise KeyboardInterrupt
        minimise(optimiser, loss)

    monkeypatch.setattr(method, "minimise", killed_half_way)
    with pytest.raises(KeyboardInterrupt):
        method.integration(counts, seed=3, **params)
    monkeypatch.setattr(method, "minimise", minimise)
    assert np.array_equal(method.integration(counts, seed=3, **params), expected)


def test_it_refuses_a_misspelt_likelihood(method):
    from dgnbench.cards import read_house

    card = read_house().methods["own_scvi"]
    counts = anndata.AnnData(np.eye(4, dtype=np.float32))
    with pytest.raises(ValueError, match="gene_likelihood: wanted nb or zinb, got 'znib'"):
        method.denoising(counts, seed=0, **{**card.params, "gene_likelihood": "znib"})
