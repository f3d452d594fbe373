"""Components of both modalities side by side: LSI of peaks, PCA of RNA and protein."""

import numpy as np

from dgnbench.modalities import components


def joint_embedding(source, target, *, seed, n_components):
    return np.hstack([components(part, n_components, seed)(part) for part in (source, target)])
