"""scVI (Lopez et al. 2018), wrapped from scvi-tools."""

import logging

import numpy as np
import scvi
import torch
from lightning.pytorch.callbacks import LambdaCallback

from dgnbench import progress

for name in ("scvi", "lightning", "lightning.pytorch"):
    logging.getLogger(name).setLevel(logging.WARNING)


def _mind_the_budget(trainer, _):
    trainer.should_stop |= progress.time_is_up()


def _train(counts, *, seed, max_epochs, batch_size, learning_rate, **params):
    scvi.settings.seed = seed
    batch_key = "batch" if "batch" in counts.obs else None
    scvi.model.SCVI.setup_anndata(counts, batch_key=batch_key)
    model = scvi.model.SCVI(counts, **params)
    progress.parameters(sum(p.numel() for p in model.module.parameters()))
    model.train(
        max_epochs=max_epochs,
        batch_size=batch_size,
        accelerator="gpu" if torch.cuda.is_available() else "cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[LambdaCallback(on_train_epoch_end=_mind_the_budget)],
        plan_kwargs={"lr": learning_rate},
    )
    columns = ("elbo_train", "reconstruction_loss_train", "kl_local_train", "elbo_validation")
    curves = {name: model.history[name].iloc[:, 0] for name in columns if name in model.history}
    for epoch in range(len(curves["elbo_train"])):
        progress.log(epoch, **{name: curve.get(epoch, np.nan) for name, curve in curves.items()})
    return model


def integration(counts, *, seed, n_samples, **params):
    model = _train(counts, seed=seed, **params)
    with progress.phase("predict"):
        return model.get_latent_representation()


def denoising(counts, *, seed, n_samples, **params):
    model = _train(counts, seed=seed, **params)
    with progress.phase("predict"):
        if params["gene_likelihood"] != "zinb":
            # "latent" is the library that the model used: here the observed one.
            return model.get_normalized_expression(
                library_size="latent", n_samples=n_samples, return_numpy=True
            )
        # scvi-tools' normalised expression leaves out the zero inflation; expected counts have it.
        draws = (model.get_likelihood_parameters() for _ in range(n_samples))
        return sum(draw["mean"] * (1 - draw["dropout"]) for draw in draws) / n_samples


def generation(train, request, *, seed, n_samples, **params):
    model = _train(train, seed=seed, **params)
    with progress.phase("predict"):
        cells = np.random.default_rng(seed).integers(train.n_obs, size=request.n_obs)
        # A cell drawn twice gets two draws: its posterior is sampled once for each row asked for.
        return model.posterior_predictive_sample(indices=cells, n_samples=1).to_scipy_sparse()
