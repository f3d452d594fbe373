"""CLUE-like cross-linked unified embedding (Tu et al., NeurIPS 2022), our own."""

import numpy as np
import torch
from net import MODALITIES, Clue, CountDecoder, Discriminator, GaussianDecoder

from dgnbench import nn, progress
from dgnbench.matching import largest
from dgnbench.modalities import canonical_log_odds, components
from dgnbench.nn.counts import Counts
from dgnbench.nn.training import minimise, train, warm_up
from dgnbench.transforms import on_scale, principal_components

CLIP = 10.0  # standard deviations, as in the winning entry
VALIDATION_SHARE = 0.1


def _moments(x):
    spread = x.std(axis=0)
    return x.mean(axis=0), np.where(spread > 0, spread, 1)


def _features(part, n_components, seed):
    """A function of cells to what the encoder reads, (cells, k), with unit variance at most.

    Proteins as z-scored centred log-ratios, RNA as components of z-scored log1p CP10k, peaks by latent
    semantic indexing.
    """
    kind = part.uns["modality"]
    if kind == "atac":
        return components(part, n_components, seed)
    scale = "clr_per_cell" if kind == "protein" else "log1p_cp10k"
    mean, spread = _moments(on_scale(part.X, scale))

    def scaled(cells):
        return np.clip((on_scale(cells.X, scale) - mean) / spread, -CLIP, CLIP)

    if kind == "protein":
        return scaled
    pca = principal_components(scaled(part), n_components, seed)
    return lambda cells: pca.transform(scaled(cells)) / np.sqrt(pca.explained_variance_[0])


def _one_hot(cells):
    if "batch" not in cells.obs:
        return np.ones((cells.n_obs, 1))
    batch = cells.obs["batch"].to_numpy()
    return batch[:, None] == np.unique(batch)


def _train(
    features, observed, batch, device, *, n_latent, encoder_hidden, decoder_hidden,
    discriminator_hidden, dropout, normalize_u, lambda_data, lambda_kl, lambda_cross, lambda_cos,
    lambda_align, epochs, batch_size, learning_rate, patience, reduce_patience, burn_in,
):  # fmt: skip
    """The trained model of dicts of what encoders read and decoders explain, by modality."""
    decoders = {
        k: CountDecoder if isinstance(x, Counts) else GaussianDecoder for k, x in observed.items()
    }
    model = Clue(
        {k: x.shape[1] for k, x in features.items()}, {k: x.shape[1] for k, x in observed.items()},
        decoders, batch.shape[1], n_latent=n_latent, encoder_hidden=encoder_hidden,
        decoder_hidden=decoder_hidden, dropout=dropout, normalize_u=normalize_u,
    ).to(device)  # fmt: skip
    judge = Discriminator(n_latent, batch.shape[1], discriminator_hidden, dropout).to(device)
    progress.parameters(sum(p.numel() for p in model.parameters()))
    optimiser = torch.optim.RMSprop(model.parameters(), learning_rate)
    judge_optimiser = torch.optim.RMSprop(judge.parameters(), learning_rate)
    reduce = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, patience=reduce_patience)
    weights = {"data": lambda_data, "kl": lambda_kl, "cross": lambda_cross, "cos": lambda_cos}

    def losses(rows):
        of = ({k: x[rows] for k, x in parts.items()} for parts in (features, observed))
        parts, u = model.losses(*of, batch[rows])
        return sum(weights[name] * value for name, value in parts.items()), u

    def aligned(loss, u, rows, noise=0.0):
        return loss - lambda_align * judge.cross_entropy(u, batch[rows], noise)

    def step(rows, epoch):
        noise = 1 - warm_up(epoch, burn_in) if burn_in else 0.0
        loss, u = losses(rows)
        told = judge.cross_entropy({k: v.detach() for k, v in u.items()}, batch[rows], noise)
        minimise(judge_optimiser, told)
        loss = aligned(loss, u, rows, noise)
        minimise(optimiser, loss)
        return {"loss": loss, "discriminator_loss": told}

    order = torch.randperm(len(batch), device=device)
    held_out, learnt_from = order.tensor_split([max(1, int(VALIDATION_SHARE * len(batch)))])
    train(
        [model, judge], [optimiser, judge_optimiser], step, learnt_from, epochs=epochs,
        batch_size=batch_size, validate_from=burn_in, patience=patience, schedule=reduce,
        validate=lambda: aligned(*losses(held_out), held_out).item(),
    )  # fmt: skip
    return model


def _tensor(x, device):
    return torch.as_tensor(np.asarray(x, dtype=np.float32), device=device)


def modality_prediction(
    train_source, train_target, test_source, *, seed, n_components, normalize_u, **params
):
    device = nn.start(seed)
    read = _features(train_source, n_components, seed)
    mean, spread = _moments(train_target.X)
    values = _tensor((train_target.X - mean) / spread, device)
    features = {"source": _tensor(read(train_source), device), "target": values}
    observed = {"source": Counts.of(train_source.X, device), "target": values}
    batch = _tensor(_one_hot(train_source), device)
    model = _train(features, observed, batch, device, normalize_u=bool(normalize_u), **params)
    with progress.phase("predict"), torch.no_grad():
        # A test batch is new to the decoder: it gets the training batches' shares.
        shares = batch.mean(0, keepdim=True).expand(test_source.n_obs, -1)
        found = model.predict(_tensor(read(test_source), device), shares)
        return found.cpu().numpy() * spread + mean


rna_prediction = modality_prediction


def modality_matching(train_source, train_target, test_source, test_target, *, seed, **params):
    embed = _trained_embedding(train_source, train_target, seed, **params)
    train, test = (train_source, train_target), (test_source, test_target)
    with progress.phase("predict"):
        return largest(canonical_log_odds(embed, train, test))


def joint_embedding(source, target, *, seed, **params):
    embed = _trained_embedding(source, target, seed, **params)
    with progress.phase("predict"):
        return (embed(0, source) + embed(1, target)) / 2


def _trained_embedding(source, target, seed, n_components, normalize_u, **params):
    """A function of a side, 0 or 1, and cells to their embeddings from that modality alone."""
    device = nn.start(seed)
    parts = dict(zip(MODALITIES, (source, target), strict=True))
    read = {k: _features(part, n_components, seed) for k, part in parts.items()}
    model = _train(
        {k: _tensor(read[k](part), device) for k, part in parts.items()},
        {k: Counts.of(part.X, device) for k, part in parts.items()},
        _tensor(_one_hot(source), device), device,
        normalize_u=True if normalize_u is None else normalize_u, **params,
    )  # fmt: skip

    def embed(side, cells):
        k = MODALITIES[side]
        with torch.no_grad():
            return model.embed(k, _tensor(read[k](cells), device)).cpu().numpy()

    return embed
