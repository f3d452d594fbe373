"""Cross-modal autoencoders (Yang et al. 2021), our own on `dgnbench.nn`."""

import numpy as np
import torch
from net import MODALITIES, CrossModalAutoencoder, critic_error

from dgnbench import nn, progress
from dgnbench.contract import Declined
from dgnbench.matching import largest
from dgnbench.modalities import canonical_log_odds
from dgnbench.nn.adversarial import critic_network
from dgnbench.nn.counts import Counts
from dgnbench.nn.training import minimise, train
from dgnbench.transforms import log1p_cp10k

AT_ONCE = 1024  # cells, when predicting
HELD_OUT = 0.2  # of the cells, where training ends by how well they are predicted


def _values(part, device):
    values = Counts.of(log1p_cp10k(part.X), device)
    if not len(values.values):
        raise Declined(f"{part.uns.get('modality', 'a modality')} has no counts at all")
    return values


def _train(
    source, target, device, *, n_latent, width, n_layers, critic_hidden, epochs, batch_size,
    learning_rate, weight_decay, reconstruction, gan, supervision, noise, patience,
):  # fmt: skip
    """The trained model; with a `patience` the one that predicts held-out targets best."""
    values = {"source": source, "target": target}
    n_features = {k: values[k].n_genes for k in MODALITIES}
    widths = {k: min(width, n_features[k]) for k in MODALITIES}
    model = CrossModalAutoencoder(n_features, widths, n_latent=n_latent, n_layers=n_layers).to(
        device
    )
    critic = critic_network(n_latent, critic_hidden).to(device)
    progress.parameters(sum(p.numel() for n in (model, critic) for p in n.parameters()))
    optimiser, critic_optimiser = (
        torch.optim.Adam(
            network.parameters(),
            learning_rate,
            betas=(0.5, 0.999),
            weight_decay=weight_decay,
            fused=True,
        )
        for network in (model, critic)
    )

    def step(rows, epoch):
        error, apart, fooled, z = model.losses(
            {k: values[k][rows] for k in MODALITIES}, critic, noise
        )
        minimise(optimiser, reconstruction * error + supervision * apart + gan * fooled)
        told = critic_error(critic, *(z[k].detach() for k in MODALITIES))
        minimise(critic_optimiser, told)
        return {"loss": error, "apart": apart, "critic_loss": told}

    rows = torch.arange(len(source), device=source.home)
    held_out = rows[:0]
    if patience is not None:
        rows = rows[torch.randperm(len(rows), device=rows.device)]
        held_out, rows = rows.tensor_split([max(2, int(HELD_OUT * len(rows)))])

    def validate():
        errors = [
            (model.translate(source[some]) - target[some].dense()).square().mean(1)
            for some in held_out.split(AT_ONCE)
        ]
        return torch.cat(errors).mean().item()

    train(
        [model, critic],
        [optimiser, critic_optimiser],
        step,
        rows,
        epochs=epochs,
        batch_size=batch_size,
        validate=None if patience is None else validate,
        patience=patience,
    )
    return model


def _over(function, values):
    with torch.no_grad():
        rows = torch.arange(len(values), device=values.home).split(AT_ONCE)
        return np.concatenate([function(values[some]).cpu().numpy() for some in rows])


def modality_matching(
    train_source, train_target, test_source, test_target, *, seed, patience, **params
):
    device = nn.start(seed)
    source, target = (_values(part, device) for part in (train_source, train_target))
    model = _train(source, target, device, patience=None, **params)
    train, test = (train_source, train_target), (test_source, test_target)

    def embed(side, part):
        return _over(lambda x: model.encode(MODALITIES[side], x), _values(part, device))

    with progress.phase("predict"):
        return largest(canonical_log_odds(embed, train, test))


def modality_prediction(train_source, train_target, test_source, *, seed, **params):
    device = nn.start(seed)
    scored = Counts.of(np.asarray(train_target.X), device)
    model = _train(_values(train_source, device), scored, device, **params)
    with progress.phase("predict"):
        return _over(model.translate, _values(test_source, device))


rna_prediction = modality_prediction
