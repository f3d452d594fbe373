"""ALRA: adaptively thresholded low-rank approximation (Linderman et al. 2022).

The rank is where the gaps between singular values rise above those of the noise; every gene is cut
at the size of its most negative value, since true zeros scatter evenly around zero; what is left
gets back the mean and standard deviation of the gene's non-zero values.
"""

import numpy as np
from sklearn.utils.extmath import randomized_svd

from dgnbench.transforms import TARGET_SUM, library_size, log1p_cp10k

NOISE_FROM = 0.8  # singular values behind this share of them are noise, as in the authors' choice
SIGNIFICANT = 6.0  # standard deviations of the noise gaps, the paper's threshold


def choose_rank(singular):
    """The largest k whose gap s_k - s_(k+1) stands out from the gaps of the noise."""
    gaps = singular[:-1] - singular[1:]
    noise = gaps[int(NOISE_FROM * len(gaps)) :]
    significant = np.flatnonzero(gaps > noise.mean() + SIGNIFICANT * noise.std())
    return int(significant[-1]) + 1 if len(significant) else 1


def denoising(counts, *, seed, n_svd, quantile):
    x = log1p_cp10k(counts.X).toarray()
    n = min(n_svd, min(x.shape) - 1)
    u, s, v = randomized_svd(x, n, n_iter=10, random_state=seed)
    k = choose_rank(s)
    low_rank = (u[:, :k] * s[:k]) @ v[:k]
    low_rank[low_rank <= np.abs(np.quantile(low_rank, quantile, axis=0))] = 0

    def moments(matrix):
        present = matrix > 0
        n = np.maximum(present.sum(axis=0), 1)
        mean = matrix.sum(axis=0) / n
        return mean, np.sqrt((((matrix - mean) * present) ** 2).sum(axis=0) / np.maximum(n - 1, 1))

    (mean_raw, sd_raw), (mean_low, sd_low) = moments(x), moments(low_rank)
    scale = np.where((sd_low > 0) & (sd_raw > 0), sd_raw / np.maximum(sd_low, 1e-12), 1.0)
    result = np.where(low_rank > 0, (low_rank - mean_low) * scale + mean_raw, 0)
    result = np.maximum(result, 0)
    seen = (x > 0) & (result == 0)  # an observed value is never turned into a zero
    result[seen] = x[seen]
    rate = np.expm1(result)
    return (
        rate * (library_size(counts.X) / np.maximum(library_size(rate), TARGET_SUM * 1e-6))[:, None]
    )
