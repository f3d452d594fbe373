"""totalVI (Gayoso et al. 2021), wrapped from scvi-tools."""

import anndata
import numpy as np
import scvi

from dgnbench import progress
from dgnbench.nn.scvi_tools import mosaic, start, train
from dgnbench.transforms import clr_per_cell


def _train(cells, *, seed, n_latent, max_epochs, batch_size, learning_rate):
    start(seed)
    # a batch of its own for cells without proteins: totalVI asks by batch whether they were measured
    batch = np.where(cells.has_both, cells.batch, [f"{b}, RNA" for b in cells.batch])
    data = anndata.AnnData(cells.counts["rna"], obs={"batch": batch})
    data.obsm["protein"] = cells.counts["protein"].toarray()
    scvi.model.TOTALVI.setup_anndata(data, protein_expression_obsm_key="protein", batch_key="batch")
    model = scvi.model.TOTALVI(data, n_latent=n_latent)
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
        _, protein = model.get_normalized_expression(
            indices=cells.unknown, transform_batch=cells.known_batches, n_samples=n_samples,
            include_protein_background=True, return_numpy=True,
        )  # fmt: skip
        return clr_per_cell(protein)
