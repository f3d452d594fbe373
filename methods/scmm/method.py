"""scMM (Minoura et al. 2021), our own on `dgnbench.nn`: two VAEs under a mixture of experts."""

import numpy as np
import torch
from net import MODALITIES, PER, Scmm
from scipy import sparse

from dgnbench import nn, progress
from dgnbench.contract import Declined
from dgnbench.matching import largest
from dgnbench.modalities import canonical_log_odds
from dgnbench.nn.counts import Counts
from dgnbench.nn.training import minimise, train, warm_up
from dgnbench.transforms import on_scale

HELD_OUT = 0.2  # of the cells (scMM, main.py)
PUBLISHED = 50 * 12_000  # epochs times cells trained on: scMM's tutorial and its data
MOST_EPOCHS = 400  # with few cells
AT_ONCE = 256  # cells, when predicting
MOST_JUDGED = 2000  # training cells from which the level of predictions is learnt


def _cells(part, counts, device):
    """Counts and counts per ten thousand, as `Counts`."""
    matrix = sparse.csr_matrix(counts, dtype=np.float32)
    library = np.asarray(matrix.sum(axis=1)).ravel()
    if not library.any():
        raise Declined(f"{part.uns.get('modality', 'a modality')} has no counts at all")
    per_ten_thousand = sparse.diags(PER / np.maximum(library, 1)) @ matrix
    return Counts.of(matrix, device), Counts.of(per_ten_thousand, device)


def _train(
    source, target, target_counts, *, seed, n_latent, hidden_rna, hidden_protein, epochs, batch_size,
    learning_rate, warm_up_share, patience,
):  # fmt: skip
    device = nn.start(seed)
    cells = {
        k: _cells(part, x, device)
        for k, part, x in zip(MODALITIES, (source, target), (source.X, target_counts), strict=True)
    }
    counts, shares = ({k: cells[k][i] for k in MODALITIES} for i in range(2))
    kinds = {k: part.uns["modality"] for k, part in zip(MODALITIES, (source, target), strict=True)}
    model = Scmm(
        {k: counts[k].n_genes for k in MODALITIES},
        n_latent=n_latent,
        hidden={k: hidden_protein if kinds[k] == "protein" else hidden_rna for k in MODALITIES},
        zero_inflated={k: kinds[k] == "atac" for k in MODALITIES},
    ).to(device)
    progress.parameters(sum(p.numel() for p in model.parameters()))
    optimiser = torch.optim.Adam(model.parameters(), learning_rate, amsgrad=True, fused=True)
    home = counts["source"].home
    held_out, learnt_from = torch.randperm(source.n_obs, device=home).tensor_split(
        [max(2, int(HELD_OUT * source.n_obs))]
    )
    epochs = epochs or max(1, min(round(PUBLISHED / len(learnt_from)), MOST_EPOCHS))
    warmed = max(1, round(warm_up_share * epochs))

    def losses(rows):
        return model.losses(*({k: part[k][rows] for k in MODALITIES} for part in (counts, shares)))

    def step(rows, epoch):
        reconstruction, kl = (part.mean() for part in losses(rows))
        minimise(optimiser, reconstruction + warm_up(epoch, warmed) * kl)
        return {"loss": reconstruction + kl, "reconstruction": reconstruction, "kl": kl}

    def validate():
        parts = [sum(losses(rows)) for rows in held_out.split(AT_ONCE)]
        return torch.cat(parts).mean().item()

    train(
        [model], [optimiser], step, learnt_from, epochs=epochs, batch_size=batch_size,
        validate=validate, patience=patience, validate_from=warmed,
    )  # fmt: skip
    return model, counts["target"].library


def _latent(model, modality, part):
    _, shares = _cells(part, part.X, next(model.parameters()).device)
    rows = torch.arange(part.n_obs, device=shares.home)
    with torch.no_grad():
        return torch.cat([model.latent(modality, shares[some]) for some in rows.split(AT_ONCE)])


def modality_matching(
    train_source, train_target, test_source, test_target, *, seed, n_samples, **params
):
    model, _ = _train(train_source, train_target, train_target.X, seed=seed, **params)
    train, test = (train_source, train_target), (test_source, test_target)

    def embed(side, part):
        return _latent(model, MODALITIES[side], part).cpu().numpy()

    with progress.phase("predict"):
        return largest(canonical_log_odds(embed, train, test))


def joint_embedding(source, target, *, seed, n_samples, **params):
    model, _ = _train(source, target, target.X, seed=seed, **params)
    with progress.phase("predict"):
        z = _latent(model, "source", source) + _latent(model, "target", target)
        return (z / 2).cpu().numpy()


def _expected(vae, z, library, scale):
    """The scored scale of one draw of counts, or its expectation, where that is a probability."""
    if scale == "binary":
        return vae.chance_of_any(z, library).cpu().numpy()
    return on_scale(vae.draw(z, library).cpu().numpy(), scale)


def _predicted(model, part, libraries, scale, n_samples):
    blocks = []
    for z in _latent(model, "source", part).split(AT_ONCE):
        total = 0
        for _ in range(n_samples):
            library = libraries[torch.randint(len(libraries), (len(z),), device=z.device)]
            total = total + _expected(model.vaes["target"], z, library, scale)
        blocks.append(total / n_samples)
    return np.concatenate(blocks)


def modality_prediction(train_source, train_target, test_source, *, seed, n_samples, **params):
    model, libraries = _train(
        train_source, train_target, train_target.layers["counts"], seed=seed, **params
    )
    with progress.phase("predict"), torch.no_grad():
        made, known = (
            _predicted(model, part, libraries, train_target.uns["scale"], n_samples)
            for part in (test_source, train_source[:MOST_JUDGED])
        )
        # What is predicted for training cells is off by as much as signal is large.
        return made + train_target.X[:MOST_JUDGED].mean(axis=0) - known.mean(axis=0)


rna_prediction = modality_prediction
