"""PCA, the baseline that every deep embedding must beat."""

import numpy as np

from dgnbench.transforms import library_size, log1p_cp10k, principal_components


def integration(counts, *, seed, n_latent, rank):
    x = log1p_cp10k(counts.X).toarray()
    # Every gene counts alike; 10 standard deviations is scanpy's and Seurat's usual cut.
    z = np.minimum((x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-12), 10)
    return principal_components(z, n_latent, seed).transform(z)


def denoising(counts, *, seed, n_latent, rank):
    """Rank-`rank` reconstruction of square-root counts.

    The square root makes Poisson noise even (the log would inflate it at small counts), and every cell
    is brought back to its library, since a reconstruction need not keep it.
    """
    size = library_size(counts.X)
    depth = np.median(size)
    x = np.sqrt(counts.X.toarray() * (depth / size)[:, None])
    pca = principal_components(x, rank, seed)
    rate = np.maximum(pca.inverse_transform(pca.transform(x)), 0) ** 2
    # E[sqrt(x)]^2 undershoots E[x] by the variance: give each gene back its mean.
    rate *= (x**2).sum(axis=0) / np.maximum(rate.sum(axis=0), 1e-12)
    return rate * (size / rate.sum(axis=1))[:, None]
