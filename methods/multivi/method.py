"""MultiVI (Ashuach et al. 2023), wrapped from scvi-tools."""

import anndata
import mudata
import numpy as np
import scvi

from dgnbench import progress
from dgnbench.contract import Declined
from dgnbench.nn.scvi_tools import mosaic, start, train
from dgnbench.transforms import log1p_cp10k


def _train(cells, *, seed, n_latent, max_epochs, batch_size, learning_rate, **options):
    start(seed)
    parts = {name: anndata.AnnData(counts) for name, counts in cells.counts.items()}
    data = mudata.MuData({name: parts[name] for name in ("rna", "atac")})
    data.obs["batch"] = cells.batch
    scvi.model.MULTIVI.setup_mudata(
        data, batch_key="batch", modalities={"rna_layer": "rna", "atac_layer": "atac"}
    )
    model = scvi.model.MULTIVI(data, n_latent=n_latent, **options)
    if model.module.n_latent < 2:
        raise Declined(
            f"of {len(data.var)} features MultiVI takes {model.module.n_latent} latent dimension by "
            "default; wanted two: give n_latent"
        )
    train(model, max_epochs=max_epochs, batch_size=batch_size, lr=learning_rate)
    return model


def joint_embedding(source, target, *, seed, n_samples, **params):
    model = _train(mosaic(source, target), seed=seed, **params)
    with progress.phase("predict"):
        return model.get_latent_representation()


mosaic_embedding = joint_embedding


def modality_prediction(train_source, train_target, test_source, *, seed, n_samples, **params):
    cells = mosaic(train_source, train_target, test_source)
    model = _train(cells, seed=seed, **params)
    with progress.phase("predict"):
        depth = model.get_library_size_factors(indices=cells.known)["accessibility"].mean()
        in_batches = [
            model.get_normalized_accessibility(
                indices=cells.unknown, transform_batch=b, normalize_regions=True, return_numpy=True
            ) for b in cells.known_batches
        ]  # fmt: skip
        return depth * np.mean(in_batches, axis=0)


def rna_prediction(train_source, train_target, test_source, *, seed, n_samples, **params):
    cells = mosaic(train_source, train_target, test_source)
    model = _train(cells, seed=seed, gene_likelihood="nb", **params)
    with progress.phase("predict"):
        share = model.get_normalized_expression(
            indices=cells.unknown, transform_batch=cells.known_batches, return_numpy=True
        )
        libraries = np.exp(model.get_library_size_factors(indices=cells.known)["expression"])
        theta = model.module.px_r.exp().detach().cpu().numpy()
        rng, total = np.random.default_rng(seed), 0.0
        for _ in range(n_samples):
            mean = share * rng.choice(libraries, len(share))[:, None]
            total = total + log1p_cp10k(rng.poisson(rng.gamma(theta, mean / theta)))
        return total / n_samples
