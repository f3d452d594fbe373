"""scVI (Lopez et al. 2018), wrapped from scvi-tools."""

import numpy as np
import scvi

from dgnbench import progress
from dgnbench.nn.scvi_tools import start, train


def _train(counts, *, seed, max_epochs, batch_size, learning_rate, **params):
    start(seed)
    batch_key = "batch" if "batch" in counts.obs else None
    scvi.model.SCVI.setup_anndata(counts, batch_key=batch_key)
    model = scvi.model.SCVI(counts, **params)
    train(model, max_epochs=max_epochs, batch_size=batch_size, plan_kwargs={"lr": learning_rate})
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
