"""MultiVI (Ashuach et al. 2023), wrapped from scvi-tools."""

import numpy as np
from scvi.model import MULTIVI

from dgnbench import progress
from dgnbench.nn.scvi_tools import scored_draws, trained


def joint_embedding(source, target, *, seed, n_samples, **params):
    model, _ = trained(MULTIVI, source, target, seed=seed, **params)
    with progress.phase("predict"):
        return model.get_latent_representation()


mosaic_embedding = joint_embedding


def modality_prediction(train_source, train_target, test_source, *, seed, n_samples, **params):
    model, cells = trained(MULTIVI, train_source, train_target, test_source, seed=seed, **params)
    asked = {"indices": cells.unknown, "normalize_regions": True, "return_numpy": True}
    with progress.phase("predict"):
        depth = model.get_library_size_factors(indices=cells.known)["accessibility"].mean()
        batches = cells.known_batches
        made = [model.get_normalized_accessibility(transform_batch=b, **asked) for b in batches]
        return depth * np.mean(made, axis=0)


def rna_prediction(train_source, train_target, test_source, *, seed, n_samples, **params):
    parts = train_source, train_target, test_source
    model, cells = trained(MULTIVI, *parts, seed=seed, gene_likelihood="nb", **params)
    asked = {"indices": cells.unknown, "transform_batch": cells.known_batches, "return_numpy": True}
    with progress.phase("predict"):
        share = model.get_normalized_expression(**asked)
        depths = np.exp(model.get_library_size_factors(indices=cells.known)["expression"])
        theta = model.module.px_r.exp().detach().cpu().numpy()
        return scored_draws(share, depths, theta, n_samples=n_samples, seed=seed)
