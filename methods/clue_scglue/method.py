"""CLUE (Tu et al., NeurIPS 2022), wrapped from scglue."""

import tempfile

import numpy as np
from anndata import AnnData
from ignite.engine import Events
from scglue.models import configure_dataset
from scglue.models.base import TrainingPlugin
from scglue.models.scclue import SCCLUEModel, SCCLUETrainer
from scglue.utils import config

from dgnbench import nn, progress
from dgnbench.matching import largest
from dgnbench.modalities import canonical_log_odds, components

config.ARRAY_SHUFFLE_NUM_WORKERS = 0  # no processes of its own
SIDES = ("source", "target")


class _Progress(TrainingPlugin):
    """Tells each epoch's losses and ends the training when the budget is used up."""

    def attach(self, *, train_engine, val_engine, **_):
        @train_engine.on(Events.EPOCH_COMPLETED)
        def _(engine):
            losses = {f"{name}_validation": x for name, x in val_engine.state.metrics.items()}
            progress.log(engine.state.epoch - 1, **engine.state.metrics, **losses)
            if progress.time_is_up():
                engine.terminate()


class _Trainer(SCCLUETrainer):
    def fit(self, *args, **kwargs):
        super().fit(*args, **kwargs, plugins=[_Progress()])


class _Model(SCCLUEModel):
    TRAINER_TYPE = _Trainer


def _trained_embedding(
    source, target, seed, *, n_components, n_latent, encoder_layers, encoder_width, decoder_layers,
    decoder_width, discriminator_layers, discriminator_width, dropout, lambda_data, lambda_kl,
    lambda_joint_cross, lambda_real_cross, lambda_cos, lambda_align, normalize_u, epochs, batch_size,
    learning_rate, burn_in, patience, reduce_patience,
):  # fmt: skip
    """A function of a side, 0 or 1, and cells to their embeddings from that modality alone."""
    nn.start(seed)
    # Without components scglue divides by a cell's total, which is not a number where it has no count.
    features = [components(part, n_components, seed) for part in (source, target)]

    def given(side, cells):
        made = AnnData(cells.X, obs=cells.obs[[]], var=cells.var[[]])
        made.obsm["components"] = features[side](cells).astype(np.float32)
        if "batch" in cells.obs:
            made.obs["batch"] = cells.obs["batch"].astype(str)
        return made

    data = {"source": given(0, source), "target": given(1, target)}
    for part in data.values():
        configure_dataset(
            part, "NB", use_highly_variable=False, use_rep="components", use_obs_names=True,
            use_batch="batch" if "batch" in part.obs else None,
        )  # fmt: skip
    model = _Model(
        data, latent_dim=n_latent, x2u_h_depth=encoder_layers, x2u_h_dim=encoder_width,
        u2x_h_depth=decoder_layers, u2x_h_dim=decoder_width, du_h_depth=discriminator_layers,
        du_h_dim=discriminator_width, dropout=dropout, shared_batches=True, random_seed=seed,
    )  # fmt: skip
    progress.parameters(sum(p.numel() for p in model.net.parameters()))
    model.compile(
        lam_data=lambda_data, lam_kl=lambda_kl, lam_align=lambda_align, lam_joint_cross=lambda_joint_cross,
        lam_real_cross=lambda_real_cross, lam_cos=lambda_cos, normalize_u=normalize_u, lr=learning_rate,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:  # of its checkpoints and its own curves
        model.fit(
            data, batch_size=batch_size, align_burnin=burn_in, max_epochs=epochs, patience=patience,
            reduce_lr_patience=reduce_patience, directory=folder,
        )  # fmt: skip
    return lambda side, cells: model.encode_data(SIDES[side], given(side, cells))


def modality_matching(train_source, train_target, test_source, test_target, *, seed, **params):
    embed = _trained_embedding(train_source, train_target, seed, **params)
    train, test = (train_source, train_target), (test_source, test_target)
    with progress.phase("predict"):
        return largest(canonical_log_odds(embed, train, test))


def joint_embedding(source, target, *, seed, **params):
    embed = _trained_embedding(source, target, seed, **params)
    with progress.phase("predict"):
        return (embed(0, source) + embed(1, target)) / 2
