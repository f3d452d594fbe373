"""PCA, the baseline that every deep embedding must beat."""

import numpy as np
from scipy import sparse

from dgnbench.transforms import (
    clr_per_cell,
    inverse_dispersion,
    library_size,
    log1p_cp10k,
    principal_components,
)


def _scores(x, n_latent, seed):
    # Every gene counts alike; 10 standard deviations is scanpy's and Seurat's usual cut.
    z = np.minimum((x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-12), 10)
    return principal_components(z, n_latent, seed).transform(z)


def integration(counts, *, seed, n_latent, rank, n_factors):
    return _scores(log1p_cp10k(counts.X).toarray(), n_latent, seed)


def joint_embedding(source, target, *, seed, n_latent, rank, n_factors):
    """Components of each modality side by side, the first of each at the same scale."""
    sides = []
    for part in (source, target):
        normalise = clr_per_cell if part.uns["modality"] == "protein" else log1p_cp10k
        x = normalise(part.X)
        scores = _scores(x.toarray() if sparse.issparse(x) else x, n_latent, seed)
        sides.append(scores / np.maximum(scores[:, 0].std(), 1e-12))
    return np.hstack(sides)


def denoising(counts, *, seed, n_latent, rank, n_factors):
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


def generation(train, request, *, seed, n_latent, rank, n_factors):
    """Probabilistic PCA of log counts, and negative binomial counts around what it makes.

    Of a component's variance, the noise's share (the mean variance of the components left out) is
    none of the factor's: factors are drawn with the rest, and training cells are shrunk to it.
    """
    rng = np.random.default_rng(seed)
    counts = train.X.toarray().astype(np.float64)
    size = library_size(train.X)
    # At the median library a count stays about a count; per ten thousand, the log would blow up ones.
    scaled = counts * (np.median(size) / size)[:, None]
    x = np.log1p(scaled)
    pca = principal_components(x, n_factors, seed)
    signal = pca.explained_variance_ - pca.noise_variance_
    fitted_factors = pca.transform(x) * signal / pca.explained_variance_

    def expression(factors):
        return np.maximum(np.expm1(pca.inverse_transform(factors)), 0)

    # exp(E[log x]) undershoots E[x]: give each gene back its mean.
    fitted = expression(fitted_factors).mean(axis=0)
    gain = np.divide(scaled.mean(axis=0), fitted, out=np.ones_like(fitted), where=fitted > 0)

    def shares(factors):
        rate = expression(factors) * gain
        return rate / np.maximum(rate.sum(axis=1, keepdims=True), 1e-12)

    theta = inverse_dispersion(counts, shares(fitted_factors) * size[:, None])
    drawn = rng.normal(size=(request.n_obs, len(signal))) * np.sqrt(signal)
    mean = shares(drawn) * rng.choice(size, request.n_obs)[:, None]
    return rng.poisson(rng.gamma(theta, mean / theta))
