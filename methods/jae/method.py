"""JAE (Liu, Zeng & Xu, NeurIPS 2021), our own on `dgnbench.nn`."""

import math

import numpy as np
import torch
from net import Jae
from torch.nn.functional import cross_entropy, log_softmax

from dgnbench import nn, progress
from dgnbench.contract import Declined
from dgnbench.nn.training import minimise, train
from dgnbench.transforms import log1p_cp10k, principal_components

VALIDATION_SHARE = 0.1


def _features(part, n_components, seed):
    """Components of log10(1 + CP10k), or all features where there are no more; spread of the first is 1."""
    x = log1p_cp10k(part.X) / math.log(10)
    if part.n_vars > n_components:
        pca = principal_components(x, n_components, seed)
        x = pca.transform(x)
    else:
        x = x.toarray()
        x = x - x.mean(axis=0)
    spread = x.std(axis=0).max()
    if spread == 0:
        raise Declined(f"{part.uns['modality']} is the same in every cell")
    return x / spread


def _known(labels, n_cells, fraction, seed):
    """Cell types from 0, and -1 where there is none or it is not to be used; how many types."""
    if labels is None:
        return np.full(n_cells, -1), 1
    known, names = labels.obs["cell_type"], labels.obs["cell_type"].dropna().unique()
    codes = np.array([{n: i for i, n in enumerate(sorted(names))}.get(k, -1) for k in known])
    codes[np.random.default_rng(seed).random(len(codes)) >= fraction] = -1
    return codes, max(1, len(names))


def joint_embedding(
    source, target, *, labels=None, seed, n_components, hidden, n_free, dropout, weight_reconstruction,
    weight_types, weight_batches, label_fraction, epochs, batch_size, learning_rate, patience,
):  # fmt: skip
    device = nn.start(seed)
    x = np.hstack([_features(part, n_components, seed) for part in (source, target)])
    x = torch.as_tensor(x, dtype=torch.float32, device=device)
    codes, n_types = _known(labels, len(x), label_fraction, seed)
    codes = torch.as_tensor(codes, device=device)
    n_batches = source.obs["batch"].nunique() if "batch" in source.obs else 0
    model = Jae(x.shape[1], n_types + n_batches + n_free, hidden, dropout).to(device)
    progress.parameters(sum(p.numel() for p in model.parameters()))
    optimiser = torch.optim.Adam(model.parameters(), learning_rate)

    def losses(rows):
        latent, back = model(x[rows])
        wanted, n_known = codes[rows], (codes[rows] >= 0).sum().clamp(min=1)
        summed = cross_entropy(latent[:, :n_types], wanted, ignore_index=-1, reduction="sum")
        parts = {"reconstruction": (back - x[rows]).square().mean(), "types": summed / n_known}
        loss = weight_reconstruction * parts["reconstruction"] + weight_types * parts["types"]
        if n_batches:  # nothing of the batch is to be read there: cross entropy with even shares
            logits = latent[:, n_types : n_types + n_batches]
            parts["batches"] = -log_softmax(logits, 1).mean()
            loss = loss + weight_batches * parts["batches"]
        return {"loss": loss, **parts}

    def step(rows, epoch):
        logged = losses(rows)
        minimise(optimiser, logged["loss"])
        return logged

    order = torch.randperm(len(x), device=device)
    held_out, learnt_from = order.tensor_split([max(1, int(VALIDATION_SHARE * len(x)))])
    train(
        [model], [optimiser], step, learnt_from, epochs=epochs, batch_size=batch_size,
        validate=lambda: losses(held_out)["loss"].item(), patience=patience,
    )  # fmt: skip
    with progress.phase("predict"), torch.no_grad():
        return model.encoder(x).cpu().numpy()
