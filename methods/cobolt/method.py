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
    """The model, counts and, of every source cell, its row of the target, −1 where it has none."""
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
    place = target.obs_names.get_indexer(source.obs_names)
    place = torch.as_tensor(place, device=counts["source"].home)

    def step(rows, epoch):
        has_both = place[rows] >= 0
        if has_both.sum() == 1:  # BatchNorm cannot use one cell; its RNA can go with the others
            has_both[:] = False
        losses = []
        if has_both.any():
            both = rows[has_both]
            cells = {"source": counts["source"][both], "target": counts["target"][place[both]]}
            losses.append(model.losses(cells, batch[both]))
        if (~has_both).sum() > 1:
            one = rows[~has_both]
            losses.append(model.losses({"source": counts["source"][one]}, batch[one]))
        nll, kl = (torch.cat(parts).mean() for parts in zip(*losses, strict=True))
        minimise(optimiser, nll + warm_up(epoch, warm_up_epochs) * kl)
        return {"loss": nll + kl, "reconstruction": nll, "kl": kl}

    rows = torch.arange(source.n_obs, device=place.device)
    train([model], [optimiser], step, rows, epochs=epochs, batch_size=batch_size)
    return model, counts, place


def _one_hot(cells, device):
    """Batches, (cells, n_batches); one column where none is known."""
    if "batch" not in cells.obs:
        return torch.ones(cells.n_obs, 1, device=device)
    _, codes = np.unique(cells.obs["batch"].to_numpy(), return_inverse=True)
    return one_hot(torch.as_tensor(codes, device=device)).float()


def _latent(model, counts, rows=None):
    """Posterior mean, centred within a cell, which softmax does not see; (cells, n_topics).

    `counts` and, where not all, `rows` are a dict by modality.
    """
    rows = rows or {k: torch.arange(len(part), device=part.home) for k, part in counts.items()}
    blocks = []
    with torch.no_grad():
        for some in zip(*(rows[k].split(AT_ONCE) for k in counts), strict=True):
            cells = {k: part[r] for (k, part), r in zip(counts.items(), some, strict=True)}
            blocks.append(model.latent(cells).mean)
    z = torch.cat(blocks)
    return (z - z.mean(1, keepdim=True)).cpu().numpy()


def modality_matching(train_source, train_target, test_source, test_target, *, seed, **params):
    model, counts, _ = _train(train_source, train_target, seed=seed, **params)
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
    model, counts, place = _train(source, target, seed=seed, **params)
    with progress.phase("predict"):
        both = torch.nonzero(place >= 0).flatten()
        joint = _latent(model, counts, {"source": both, "target": place[both]})
        if len(both) == len(place):
            return joint
        of_source = _latent(model, {"source": counts["source"]})
        both = both.cpu().numpy()
        z = RidgeCV(ALPHAS).fit(of_source[both], joint).predict(of_source)
        z[both] = joint
        return z


mosaic_embedding = joint_embedding
