"""MultiVI (Ashuach et al. 2023), wrapped from scvi-tools."""

import anndata
import mudata
import numpy as np
import scvi

from dgnbench import progress
from dgnbench.contract import Declined
from dgnbench.nn.scvi_tools import start, train, zeros_where_not_measured


def joint_embedding(source, target, *, seed, n_latent, max_epochs, batch_size, learning_rate):
    if target.uns["modality"] != "atac":
        raise Declined(f"MultiVI is of RNA and chromatin; this is {target.uns['modality']}")
    start(seed)
    obs = {"batch": np.asarray(source.obs.get("batch", ["one"] * source.n_obs), dtype=str)}
    peaks = zeros_where_not_measured(target, source.obs_names)
    data = mudata.MuData(
        {name: anndata.AnnData(x, obs=obs) for name, x in (("rna", source.X), ("atac", peaks))}
    )
    data.obs["batch"] = obs["batch"]
    scvi.model.MULTIVI.setup_mudata(
        data, batch_key="batch", modalities={"rna_layer": "rna", "atac_layer": "atac"}
    )
    model = scvi.model.MULTIVI(data, n_latent=n_latent)
    if model.module.n_latent < 2:
        raise Declined(
            f"of {len(data.var)} features MultiVI takes {model.module.n_latent} latent dimension by "
            "default; wanted two: give n_latent"
        )
    train(model, max_epochs=max_epochs, batch_size=batch_size, lr=learning_rate)
    with progress.phase("predict"):
        return model.get_latent_representation()


mosaic_embedding = joint_embedding
