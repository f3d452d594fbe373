"""CLUE-like cross-linked unified embedding (Tu et al., NeurIPS 2022), our own."""

import numpy as np
import torch
from net import Clue, Discriminator

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


def _values(part):
    """Proteins as centred log-ratios, RNA and peaks as log1p of counts per ten thousand."""
    protein = part.uns["modality"] == "protein"
    return on_scale(part.X, "clr_per_cell" if protein else "log1p_cp10k")


def _source_features(train, n_components, seed):
    """A function of cells: components of z-scored values of `train`, of peaks by latent semantic indexing.

    The first has unit variance.
    """
    if train.uns["modality"] == "atac":
        return components(train, n_components, seed)
    mean, spread = _moments(_values(train))

    def scaled(cells):
        return np.clip((_values(cells) - mean) / spread, -CLIP, CLIP)

    pca = principal_components(scaled(train), n_components, seed)
    return lambda cells: pca.transform(scaled(cells)) / np.sqrt(pca.explained_variance_[0])


def _one_hot(cells):
    if "batch" not in cells.obs:
        return np.ones((cells.n_obs, 1))
    batch = cells.obs["batch"].to_numpy()
    return batch[:, None] == np.unique(batch)


def _train(
    source, target, values, *, seed, n_components, n_latent, encoder_hidden, decoder_hidden,
    discriminator_hidden, dropout, lambda_data, lambda_kl, lambda_joint_cross, lambda_real_cross,
    lambda_cos, lambda_align, epochs, batch_size, learning_rate, patience, reduce_patience, burn_in,
    normalize_u,
):  # fmt: skip
    """The trained model; functions that bring RNA and the target's values to its input; batches."""
    device = nn.start(seed)

    def tensor(x):
        return torch.as_tensor(np.asarray(x, dtype=np.float32), device=device)

    mean, spread = _moments(values)
    features = _source_features(source, n_components, seed)
    batch = tensor(_one_hot(source))
    cells = (tensor(features(source)), Counts.of(source.X, device),
             tensor((values - mean) / spread), batch)  # fmt: skip

    model = Clue(
        *(part.shape[1] for part in cells), n_latent=n_latent, encoder_hidden=encoder_hidden,
        decoder_hidden=decoder_hidden, dropout=dropout, normalize_u=normalize_u,
    ).to(device)  # fmt: skip
    judge = Discriminator(n_latent, batch.shape[1], discriminator_hidden, dropout).to(device)
    progress.parameters(sum(p.numel() for p in model.parameters()))
    optimiser = torch.optim.RMSprop(model.parameters(), learning_rate)
    judge_optimiser = torch.optim.RMSprop(judge.parameters(), learning_rate)
    reduce = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, patience=reduce_patience)

    weights = {"data": lambda_data, "kl": lambda_kl, "joint_cross": lambda_joint_cross,
               "real_cross": lambda_real_cross, "cos": lambda_cos}  # fmt: skip

    def weighted(parts):
        return sum(weights[name] * value for name, value in parts.items())

    def step(rows, epoch):
        noise = 1 - warm_up(epoch, burn_in) if burn_in else 0.0
        parts, u = model.losses(*(part[rows] for part in cells))
        told = judge.cross_entropy({k: v.detach() for k, v in u.items()}, batch[rows], noise)
        minimise(judge_optimiser, told)
        loss = weighted(parts) - lambda_align * judge.cross_entropy(u, batch[rows], noise)
        minimise(optimiser, loss)
        return {"loss": loss, "discriminator_loss": told}

    def validate():
        parts, _ = model.losses(*(part[held_out] for part in cells))
        return weighted(parts).item()

    order = torch.randperm(len(batch), device=device)
    held_out, learnt_from = order.tensor_split([max(1, int(VALIDATION_SHARE * len(batch)))])
    train(
        [model, judge], [optimiser, judge_optimiser], step, learnt_from, epochs=epochs,
        batch_size=batch_size, validate=validate, patience=patience, schedule=reduce,
    )  # fmt: skip
    return model, lambda part: tensor(features(part)), (mean, spread), batch


def modality_prediction(train_source, train_target, test_source, *, seed, normalize_u, **params):
    model, features, (mean, spread), batch = _train(
        train_source,
        train_target,
        train_target.X,
        seed=seed,
        normalize_u=bool(normalize_u),
        **params,
    )
    with progress.phase("predict"), torch.no_grad():
        # A test batch is new to the decoder: it gets the training batches' shares.
        shares = batch.mean(0, keepdim=True).expand(test_source.n_obs, -1)
        return model.predict(features(test_source), shares).cpu().numpy() * spread + mean


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


def _trained_embedding(source, target, seed, normalize_u, **params):
    """A function of a side, 0 or 1, and cells to their embeddings from that modality alone."""
    model, features, (mean, spread), batch = _train(
        source, target, _values(target), seed=seed,
        normalize_u=True if normalize_u is None else normalize_u, **params,
    )  # fmt: skip

    def embed(side, cells):
        if side == 0:
            values = features(cells)
        else:
            values = (_values(cells) - mean) / spread
            values = torch.as_tensor(values, dtype=torch.float32, device=batch.device)
        with torch.no_grad():
            return model.embed(("source", "target")[side], values).cpu().numpy()

    return embed
