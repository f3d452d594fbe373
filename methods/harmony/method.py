"""Harmony (Korsunsky et al. 2019) on PCA, by harmonypy."""

import harmonypy
import numpy as np

from dgnbench.transforms import log1p_cp10k, principal_components


def integration(counts, *, seed, n_latent):
    x = log1p_cp10k(counts.X)
    scores = principal_components(x, n_latent, seed).transform(x)
    fitted = harmonypy.run_harmony(
        scores, counts.obs[["batch"]], ["batch"], random_state=seed, verbose=False
    )
    return np.asarray(fitted.Z_corr)  # cells x dimensions since harmonypy 2
