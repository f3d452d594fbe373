"""totalVI (Gayoso et al. 2021), wrapped from scvi-tools."""

import anndata
import numpy as np
import scvi

from dgnbench import progress
from dgnbench.nn.scvi_tools import start, train, zeros_where_not_measured
from dgnbench.transforms import clr_per_cell


def _train(rna, protein, batch, *, seed, max_epochs, batch_size, learning_rate, n_latent):
    start(seed)
    data = anndata.AnnData(rna, obs={"batch": np.asarray(batch, dtype=str)})
    data.obsm["protein"] = protein
    scvi.model.TOTALVI.setup_anndata(data, protein_expression_obsm_key="protein", batch_key="batch")
    model = scvi.model.TOTALVI(data, n_latent=n_latent)
    train(model, max_epochs=max_epochs, batch_size=batch_size, lr=learning_rate)
    return model


def _batch(cells, otherwise):
    return cells.obs["batch"] if "batch" in cells.obs else [otherwise] * cells.n_obs


def joint_embedding(source, target, *, seed, n_samples, **params):
    protein = zeros_where_not_measured(target, source.obs_names).toarray()
    # a batch of its own for cells without proteins: totalVI asks by batch whether they were measured
    measured = source.obs_names.isin(target.obs_names)
    batch = np.where(measured, _batch(source, "one"), [f"{b}, RNA" for b in _batch(source, "one")])
    model = _train(source.X, protein, batch, seed=seed, **params)
    with progress.phase("predict"):
        return model.get_latent_representation()


mosaic_embedding = joint_embedding


def modality_prediction(train_source, train_target, test_source, *, seed, n_samples, **params):
    n, test = train_source.n_obs, test_source.n_obs
    measured = train_target.layers["counts"].toarray()
    both = anndata.concat([train_source, test_source])
    batch = [*_batch(train_source, "train"), *_batch(test_source, "test")]
    unknown = np.zeros(
        (test, measured.shape[1]), measured.dtype
    )  # zeros of a whole batch are missing
    model = _train(both.X, np.vstack([measured, unknown]), batch, seed=seed, **params)
    with progress.phase("predict"):
        _, protein = model.get_normalized_expression(
            indices=np.arange(n, n + test), transform_batch=sorted(set(batch[:n])),
            n_samples=n_samples, include_protein_background=True, return_numpy=True,
        )  # fmt: skip
        return clr_per_cell(protein)
