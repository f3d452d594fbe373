"""MultiVI (Ashuach et al. 2023), wrapped from scvi-tools."""

import anndata
import mudata
import numpy as np
import scvi
from scipy import sparse

from dgnbench import progress
from dgnbench.contract import Declined
from dgnbench.nn.scvi_tools import start, train, zeros_where_not_measured
from dgnbench.transforms import log1p_cp10k


def _train(counts, batch, *, seed, n_latent, max_epochs, batch_size, learning_rate, **options):
    """Of a dict of the counts of rna and atac."""
    start(seed)
    obs = {"batch": np.asarray(batch, dtype=str)}
    data = mudata.MuData({m: anndata.AnnData(counts[m], obs=obs) for m in ("rna", "atac")})
    data.obs["batch"] = obs["batch"]
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


def _batch(cells, otherwise):
    return [*cells.obs["batch"]] if "batch" in cells.obs else [otherwise] * cells.n_obs


def joint_embedding(source, target, *, seed, n_samples, **params):
    measured = zeros_where_not_measured(target, source.obs_names)
    counts = {source.uns["modality"]: source.X, target.uns["modality"]: measured}
    model = _train(counts, _batch(source, "one"), seed=seed, **params)
    with progress.phase("predict"):
        return model.get_latent_representation()


mosaic_embedding = joint_embedding


def _train_on_all(train_source, train_target, test_source, **params):
    """The model; training batches; which cells are training and which test cells, without a target."""
    n, test = train_source.n_obs, test_source.n_obs
    missing = sparse.csr_matrix((test, train_target.n_vars))  # a cell of zeros is not measured
    counts = {
        train_source.uns["modality"]: sparse.vstack([train_source.X, test_source.X], "csr"),
        train_target.uns["modality"]: sparse.vstack(
            [train_target.layers["counts"], missing], "csr"
        ),
    }
    batch = [*_batch(train_source, "train"), *_batch(test_source, "test")]
    model = _train(counts, batch, **params)
    return model, sorted(set(batch[:n])), np.arange(n), np.arange(n, n + test)


def modality_prediction(train_source, train_target, test_source, *, seed, n_samples, **params):
    model, batches, known, cells = _train_on_all(
        train_source, train_target, test_source, seed=seed, **params
    )
    with progress.phase("predict"):
        depth = model.get_library_size_factors(indices=known)["accessibility"].mean()
        return depth * np.mean([
            model.get_normalized_accessibility(
                indices=cells, transform_batch=b, normalize_regions=True, return_numpy=True
            ) for b in batches
        ], axis=0)  # fmt: skip


def rna_prediction(train_source, train_target, test_source, *, seed, n_samples, **params):
    model, batches, known, cells = _train_on_all(
        train_source, train_target, test_source, seed=seed, gene_likelihood="nb", **params
    )
    with progress.phase("predict"):
        share = model.get_normalized_expression(
            indices=cells, transform_batch=batches, return_numpy=True
        )
        library = np.exp(model.get_library_size_factors(indices=known)["expression"])
        theta = model.module.px_r.exp().detach().cpu().numpy()
        rng, total = np.random.default_rng(seed), 0.0
        for _ in range(n_samples):
            mean = share * rng.choice(library, len(cells))[:, None]
            total = total + log1p_cp10k(rng.poisson(rng.gamma(theta, mean / theta)))
        return total / n_samples
