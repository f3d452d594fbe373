"""Cobolt (Gong, Zhou & Purdom 2021), our own on `dgnbench.nn`, written from the paper alone."""

import numpy as np
import torch
from net import MODALITIES, Cobolt
from sklearn.linear_model import RidgeCV
from torch.nn.functional import one_hot

from dgnbench import nn, progress
from dgnbench.contract import Declined
from dgnbench.matching import largest
from dgnbench.modalities import canonical_log_odds
from dgnbench.nn.counts import Counts
from dgnbench.nn.training import minimise, train, warm_up

AT_ONCE = 1024  # cells, when predicting
ALPHAS = np.logspace(-3, 3, 7)  # of the ridge regressions; ours


def _train(
    source, target, *, seed, n_topics, hidden, epochs, batch_size, learning_rate, warm_up_epochs
):
    device = nn.start(seed)
    counts = {k: Counts.of(x.X, device) for k, x in zip(MODALITIES, (source, target), strict=True)}
    for part, x in zip((source, target), counts.values(), strict=True):
        if not len(x.values):
            raise Declined(f"{part.uns.get('modality', 'a modality')} has no counts at all")
    batch = _one_hot(source, device)
    model = Cobolt(
        {k: counts[k].n_genes for k in MODALITIES}, batch.shape[1], n_topics=n_topics, hidden=hidden
    ).to(device)
    progress.parameters(sum(p.numel() for p in model.parameters()))
    optimiser = torch.optim.Adam(model.parameters(), learning_rate, fused=True)

    def step(rows, epoch):
        losses = model.losses({k: counts[k][rows] for k in MODALITIES}, batch[rows])
        nll, kl = (part.mean() for part in losses)
        minimise(optimiser, nll + warm_up(epoch, warm_up_epochs) * kl)
        return {"loss": nll + kl, "reconstruction": nll, "kl": kl}

    rows = torch.arange(source.n_obs, device=counts["source"].home)
    train([model], [optimiser], step, rows, epochs=epochs, batch_size=batch_size)
    return model, counts


def _one_hot(cells, device):
    """Batches, (cells, n_batches); one column where none is known."""
    if "batch" not in cells.obs:
        return torch.ones(cells.n_obs, 1, device=device)
    _, codes = np.unique(cells.obs["batch"].to_numpy(), return_inverse=True)
    return one_hot(torch.as_tensor(codes, device=device)).float()


def _latent(model, counts):
    """Posterior mean, centred within a cell, which softmax does not see; (cells, n_topics)."""
    first = next(iter(counts.values()))
    blocks = []
    with torch.no_grad():
        for rows in torch.arange(len(first), device=first.home).split(AT_ONCE):
            blocks.append(model.latent({k: part[rows] for k, part in counts.items()}).mean)
    z = torch.cat(blocks)
    return (z - z.mean(1, keepdim=True)).cpu().numpy()


def modality_matching(train_source, train_target, test_source, test_target, *, seed, **params):
    model, counts = _train(train_source, train_target, seed=seed, **params)
    train, test = (train_source, train_target), (test_source, test_target)
    with progress.phase("predict"):
        joint = _latent(model, counts)
        # a modality's own latent is brought to the joint one, by training cells that have both
        to_joint = [RidgeCV(ALPHAS).fit(_latent(model, {k: counts[k]}), joint) for k in MODALITIES]

        def embed(side, part):
            own = Counts.of(part.X, counts["source"].library.device)
            return to_joint[side].predict(_latent(model, {MODALITIES[side]: own}))

        return largest(canonical_log_odds(embed, train, test))


def joint_embedding(source, target, *, seed, **params):
    model, counts = _train(source, target, seed=seed, **params)
    with progress.phase("predict"):
        return _latent(model, counts)
