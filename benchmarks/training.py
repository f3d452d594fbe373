"""Training own_scvi beside scvi-tools' SCVI: CPU seconds, wall time, peak memory, held-out ELBO.

    python benchmarks/training.py --likelihoods nb zinb --rounds 3

The same simulated counts, epochs, batch size and seeds for both; A B A B, each training in a process of
its own, on one thread. The clock starts after the imports and a first epoch on a few cells (compilation
there, Lightning's and torch's lazy imports here). Both models are judged by one function, on cells that
neither has seen: scvi-tools' weights are loaded into our network, which gives the same likelihood
(tests/reference/test_own_scvi.py).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

METHOD = Path(__file__).parents[1] / "methods" / "own_scvi"
MODEL = {"n_latent": 10, "n_hidden": 128, "n_layers": 1, "dropout_rate": 0.1}
HELD_OUT, DRAWS = 1000, 10


def simulate(cells: int, genes: int) -> Any:
    """Counts of 8 types in 3 batches, 7 % of them not zero."""
    import anndata
    import pandas as pd
    from scipy import sparse

    rng = np.random.default_rng(0)
    base = np.exp(rng.normal(0, 1.5, genes))
    types = base * np.exp(rng.normal(0, 0.7, (8, genes)) * (rng.random((8, genes)) < 0.2))
    batches = np.exp(rng.normal(0, 0.3, (3, genes)))
    kind, batch = rng.integers(8, size=cells), rng.integers(3, size=cells)
    library = np.exp(rng.normal(5.22, 0.35, cells))
    theta = np.exp(rng.normal(0.5, 0.7, genes))
    blocks = []
    for some in np.array_split(np.arange(cells), max(1, cells // 1000)):
        mean = types[kind[some]] * batches[batch[some]]
        mean *= (library[some] / mean.sum(axis=1))[:, None]
        blocks.append(sparse.csr_matrix(rng.poisson(rng.gamma(theta, mean / theta)), dtype="f4"))
    obs = pd.DataFrame(
        {"batch": pd.Categorical([f"b{i}" for i in batch])}, index=[f"c{i}" for i in range(cells)]
    )
    return anndata.AnnData(sparse.vstack(blocks).tocsr(), obs=obs)


def own_method() -> Any:
    """``methods/own_scvi/method.py`` as the runner imports it; its `net` with it."""
    sys.path.insert(0, str(METHOD))
    spec = importlib.util.spec_from_file_location("own_scvi", METHOD / "method.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def with_weights_of(module: Any, net: Any, n_batches: int) -> Any:
    """Our `Vae` with the weights of a module of scvi-tools (``SCVI(...).module``), for evaluation."""
    theirs = module.state_dict()
    zero_inflated = module.gene_likelihood == "zinb"
    model = net.Vae(
        module.n_input, n_batches if n_batches > 1 else 0, n_latent=module.n_latent,
        n_hidden=module.n_hidden, n_layers=module.n_layers,
        dropout_rate=module.z_encoder.encoder.fc_layers[0][4].p, zero_inflated=zero_inflated,
    )  # fmt: skip
    names = {
        "latent_mean": "z_encoder.mean_encoder",
        "latent_log_variance": "z_encoder.var_encoder",
        "share": "decoder.px_scale_decoder.0",
        **({"inflation": "decoder.px_dropout_decoder"} if zero_inflated else {}),
    }
    for ours, its in (("encoder", "z_encoder.encoder"), ("decoder", "decoder.px_decoder")):
        for i in range(module.n_layers):
            names[f"{ours}.linears.{i}"] = f"{its}.fc_layers.Layer {i}.0"
            names[f"{ours}.afters.{i}.0"] = f"{its}.fc_layers.Layer {i}.1"
    state = {"log_theta": theirs["px_r"]}
    for name in model.state_dict():
        if name != "log_theta":
            owner, part = name.rsplit(".", 1)
            state[name] = theirs[f"{names[owner]}.{part}"]
    state["encoder.linears.0.weight"] = state["encoder.linears.0.weight"].T.contiguous()
    model.load_state_dict(state)
    return model.eval()


def held_out_elbo(model: Any, counts: Any, batch: Any) -> float:
    """Negative ELBO a cell, a mean over draws of the latent; lower is better."""
    import torch

    torch.manual_seed(0)
    with torch.no_grad():
        return float(
            np.mean([sum(model.losses(counts, batch)).mean().item() for _ in range(DRAWS)])
        )


def train_own(data: Any, method: Any, *, likelihood: str, epochs: int, seed: int) -> Any:
    """Our model, trained on every cell of `data`."""
    method.HELD_OUT = 0.0
    return method._train(
        data, seed=seed, gene_likelihood=likelihood, max_epochs=epochs, batch_size=128,
        learning_rate=1e-3, patience=None, **MODEL,
    )[0]  # fmt: skip


def train_scvi(
    data: Any, *, likelihood: str, epochs: int, seed: int, accelerator: str = "cpu"
) -> Any:
    """The module of scvi-tools, trained on every cell of `data`; as it was drawn, with no epochs."""
    import scvi

    scvi.settings.seed = seed
    scvi.model.SCVI.setup_anndata(data, batch_key="batch")
    model = scvi.model.SCVI(data, gene_likelihood=likelihood, **MODEL)
    if not epochs:
        return model.module
    model.train(
        max_epochs=epochs, batch_size=128, train_size=1.0, accelerator=accelerator, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    return model.module


def memory_mb(line: str) -> float:
    """A line of /proc/self/status in MB: VmRSS, what is resident; VmHWM, its peak."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{line}:")[1].split()[0]) / 1024


def one(which: str, likelihood: str, seed: int, given: argparse.Namespace) -> dict[str, float]:
    """Train one model in this process; what it took and how good it is."""
    import torch

    warnings.filterwarnings("ignore")
    torch.set_num_threads(given.threads)
    data = simulate(given.cells + HELD_OUT, given.genes)
    train, held_out = data[: given.cells].copy(), data[given.cells :].copy()
    method = own_method()
    if which == "scvi":
        logging.disable(logging.WARNING)

        def fit(cells: Any, epochs: int) -> Any:
            return train_scvi(cells, likelihood=likelihood, epochs=epochs, seed=seed)
    else:

        def fit(cells: Any, epochs: int) -> Any:
            return train_own(cells, method, likelihood=likelihood, epochs=epochs, seed=seed)

    fit(train[:256].copy(), 1)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = memory_mb("VmRSS")
    wall, cpu = time.perf_counter(), time.process_time()
    model = fit(train, given.epochs)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = memory_mb("VmHWM")
    if which == "scvi":
        model = with_weights_of(model, sys.modules["net"], 3)
    counts, batch = method.Counts.of(held_out.X), method._batch(held_out, torch.device("cpu"))
    elbo = held_out_elbo(model, counts, batch)
    return {"cpu_s": cpu, "wall_s": wall, "peak_mb": peak, "grown_mb": peak - before, "elbo": elbo}


def main() -> None:
    """Print every training as it ends, then the ratios of the pairs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--likelihoods", nargs="+", default=["nb", "zinb"])
    parser.add_argument("--rounds", type=int, default=3, help="pairs a likelihood; the seeds")
    parser.add_argument("--cells", type=int, default=9000)
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one", nargs=3, metavar=("WHICH", "LIKELIHOOD", "SEED"), help="internal")
    given = parser.parse_args()
    if given.one:
        which, likelihood, seed = given.one
        print(json.dumps(one(which, likelihood, int(seed), given)))
        return
    for likelihood in given.likelihoods:
        rows: dict[str, list[dict[str, float]]] = {"scvi": [], "own_scvi": []}
        for seed in range(given.rounds):
            for which, done in rows.items():
                command = [
                    sys.executable,
                    __file__,
                    *sys.argv[1:],
                    "--one",
                    which,
                    likelihood,
                    f"{seed}",
                ]
                said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                done.append(json.loads(said.splitlines()[-1]))
                figures = "  ".join(f"{k} {v:8.2f}" for k, v in done[-1].items())
                print(f"{likelihood:<5} {which:<9} seed {seed}  {figures}", flush=True)
        for what in ("cpu_s", "wall_s", "peak_mb", "grown_mb", "elbo"):
            pairs = [a[what] / b[what] for a, b in zip(*rows.values(), strict=True)]
            print(
                f"{likelihood:<5} scvi / own_scvi, {what:<8} median {statistics.median(pairs):.3f} "
                f"(min {min(pairs):.3f}, max {max(pairs):.3f})"
            )


if __name__ == "__main__":
    main()
