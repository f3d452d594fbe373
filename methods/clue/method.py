"""CLUE-like cross-linked unified embedding (Tu et al., NeurIPS 2022), our own, for prediction."""

import numpy as np
import torch
from net import Clue, Discriminator

from dgnbench import nn, progress
from dgnbench.nn.counts import Counts
from dgnbench.nn.training import minimise, train, warm_up
from dgnbench.transforms import log1p_cp10k, principal_components

CLIP = 10.0  # standard deviations, as in the winning entry
VALIDATION_SHARE = 0.1


def _moments(x):
    spread = x.std(axis=0)
    return x.mean(axis=0), np.where(spread > 0, spread, 1)


def _source_features(train, test, n_components, seed):
    """Components of z-scored log1p CP10k, the first of unit variance; fitted on training cells."""
    x, y = (log1p_cp10k(part.X).toarray() for part in (train, test))
    mean, spread = _moments(x)
    x, y = (np.clip((part - mean) / spread, -CLIP, CLIP) for part in (x, y))
    pca = principal_components(x, n_components, seed)
    return tuple(pca.transform(part) / np.sqrt(pca.explained_variance_[0]) for part in (x, y))


def _one_hot(cells):
    if "batch" not in cells.obs:
        return np.ones((cells.n_obs, 1))
    batch = cells.obs["batch"].to_numpy()
    return batch[:, None] == np.unique(batch)


def modality_prediction(
    train_source, train_target, test_source, *, seed, n_components, n_latent, encoder_hidden,
    decoder_hidden, discriminator_hidden, dropout, lambda_data, lambda_kl, lambda_joint_cross,
    lambda_real_cross, lambda_cos, lambda_align, epochs, batch_size, learning_rate, patience,
    reduce_patience, burn_in, normalize_u,
):  # fmt: skip
    device = nn.start(seed)

    def tensor(x):
        return torch.as_tensor(np.asarray(x, dtype=np.float32), device=device)

    mean, spread = _moments(train_target.X)
    features, test_features = _source_features(train_source, test_source, n_components, seed)
    batch = tensor(_one_hot(train_source))
    cells = (tensor(features), Counts.of(train_source.X, device),
             tensor((train_target.X - mean) / spread), batch)  # fmt: skip

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
    with progress.phase("predict"), torch.no_grad():
        # A test batch is new to the decoder: it gets the training batches' shares.
        shares = batch.mean(0, keepdim=True).expand(test_source.n_obs, -1)
        return model.predict(tensor(test_features), shares).cpu().numpy() * spread + mean
