"""Harmony (Korsunsky et al. 2019) on PCA, by harmonypy."""

import harmonypy
import numpy as np

from dgnbench.contract import Declined
from dgnbench.modalities import components
from dgnbench.transforms import log1p_cp10k, principal_components


def integration(counts, *, seed, n_latent):
    x = log1p_cp10k(counts.X)
    scores = principal_components(x, n_latent, seed).transform(x)
    return _corrected(scores, counts.obs, seed)


def joint_embedding(source, target, *, seed, n_latent):
    """Of the components of both modalities side by side."""
    if "batch" not in source.obs or source.obs["batch"].nunique() < 2:
        raise Declined("one batch only: there is nothing to correct")
    sides = [components(part, n_latent, seed)(part) for part in (source, target)]
    return _corrected(np.hstack(sides), source.obs, seed)


def _corrected(scores, obs, seed):
    fitted = harmonypy.run_harmony(
        scores, obs[["batch"]], ["batch"], random_state=seed, verbose=False
    )
    return np.asarray(fitted.Z_corr)  # cells x dimensions since harmonypy 2
