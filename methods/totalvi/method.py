"""totalVI (Gayoso et al. 2021), wrapped from scvi-tools."""

from scvi.model import TOTALVI

from dgnbench import progress
from dgnbench.nn.scvi_tools import trained
from dgnbench.transforms import clr_per_cell


def joint_embedding(source, target, *, seed, n_samples, **params):
    model, _ = trained(TOTALVI, source, target, seed=seed, **params)
    with progress.phase("predict"):
        return model.get_latent_representation()


mosaic_embedding = joint_embedding


def modality_prediction(train_source, train_target, test_source, *, seed, n_samples, **params):
    model, cells = trained(TOTALVI, train_source, train_target, test_source, seed=seed, **params)
    with progress.phase("predict"):
        _, protein = model.get_normalized_expression(
            indices=cells.unknown, transform_batch=cells.known_batches, n_samples=n_samples,
            include_protein_background=True, return_numpy=True,
        )  # fmt: skip
        return clr_per_cell(protein)
