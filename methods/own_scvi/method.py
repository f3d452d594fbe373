"""scVI (Lopez et al. 2018), our own on `dgnbench.nn`."""

import numpy as np
import torch
from net import Vae
from scipy import sparse
from torch.nn.functional import one_hot

from dgnbench import nn, progress
from dgnbench.nn.counts import Counts
from dgnbench.nn.training import minimise, split, train, warm_up

HELD_OUT = 0.1  # of the cells: scvi-tools trains on nine tenths
WARM_UP = 400  # epochs until the KL term has its full weight (scvi-tools, TrainingPlan)
AT_ONCE = 1024  # cells, when predicting


def _train(
    cells, *, seed, gene_likelihood, max_epochs, batch_size, learning_rate, patience, **params
):
    if gene_likelihood not in ("nb", "zinb"):
        raise ValueError(f"gene_likelihood: wanted nb or zinb, got {gene_likelihood!r}")
    device = nn.start(seed)
    counts, batch = Counts.of(cells.X, device), _batch(cells, device)
    epochs = max_epochs or max(1, min(round(20000 / cells.n_obs * 400), 400))  # as scvi-tools
    model = Vae(cells.n_vars, batch.shape[1], zero_inflated=gene_likelihood == "zinb", **params)
    model.to(device)
    progress.parameters(sum(p.numel() for p in model.parameters()))
    optimiser = torch.optim.Adam(  # eps and decay of scvi-tools, TrainingPlan
        model.parameters(), learning_rate, eps=0.01, weight_decay=1e-6, fused=True,
        capturable=device.type == "cuda",
    )  # fmt: skip
    learnt_from, held_out = split(len(counts), HELD_OUT, batch_size, counts.home)

    def step(rows, epoch):
        reconstruction, kl = (part.mean() for part in model.losses(counts[rows], batch[rows]))
        minimise(optimiser, reconstruction + warm_up(epoch, WARM_UP) * kl)
        return {"loss": reconstruction + kl, "reconstruction": reconstruction, "kl": kl}

    def validate():
        parts = [model.losses(counts[rows], batch[rows]) for rows in held_out.split(AT_ONCE)]
        return torch.cat([reconstruction + kl for reconstruction, kl in parts]).mean().item()

    train(
        [model], [optimiser], step, learnt_from, epochs=epochs, batch_size=batch_size,
        validate=None if patience is None else validate, patience=patience, recorded=True,
    )  # fmt: skip
    return model, counts, batch


def _batch(cells, device):
    """One-hot (cells, n_batches); no column where there is but one batch."""
    if "batch" not in cells.obs:
        return torch.zeros(cells.n_obs, 0, device=device)
    names, codes = np.unique(cells.obs["batch"].to_numpy(), return_inverse=True)
    hot = one_hot(torch.as_tensor(codes, device=device), len(names)).float()
    return hot if len(names) > 1 else hot[:, :0]


def _predict(function, counts, batch, rows=None):
    rows = torch.arange(len(counts), device=counts.home) if rows is None else rows
    with torch.no_grad():
        for some in rows.split(AT_ONCE):
            yield function(counts[some], batch[some]).cpu().numpy()


def integration(counts, *, seed, n_samples, **params):
    model, *cells = _train(counts, seed=seed, **params)
    with progress.phase("predict"):
        return np.concatenate(list(_predict(lambda x, _: model.latent(x).mean, *cells)))


def denoising(counts, *, seed, n_samples, **params):
    model, *cells = _train(counts, seed=seed, **params)
    with progress.phase("predict"):

        def mean(x, b):
            return sum(model.expected(x, b) for _ in range(n_samples)) / n_samples

        return np.concatenate(list(_predict(mean, *cells)))


def generation(train, request, *, seed, n_samples, **params):
    model, counts, batch = _train(train, seed=seed, **params)
    with progress.phase("predict"):
        drawn = np.random.default_rng(seed).integers(train.n_obs, size=request.n_obs)
        rows = torch.as_tensor(drawn, device=counts.home)
        blocks = _predict(model.draw, counts, batch, rows)
        return sparse.vstack([sparse.csr_matrix(block) for block in blocks], format="csr")
