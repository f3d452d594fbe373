"""Orthogonal Procrustes: turn the components of one modality onto those of the other, then kNN."""

import numpy as np
from scipy.linalg import orthogonal_procrustes

from dgnbench.matching import match
from dgnbench.modalities import centred, components


def modality_matching(train_source, train_target, test_source, test_target, *, seed, n_components):
    of_source, of_target = (
        components(part, n_components, seed) for part in (train_source, train_target)
    )
    x, y = centred(of_source(train_source)), centred(of_target(train_target))
    k = max(x.shape[1], y.shape[1])  # a rotation needs as many dimensions on both sides

    def padded(scores):
        return np.pad(scores, ((0, 0), (0, k - scores.shape[1])))

    rotation, singular = orthogonal_procrustes(padded(x), padded(y))
    scale = singular / (x**2).sum()
    u = scale * padded(centred(of_source(test_source), test_source.obs.get("batch"))) @ rotation
    return match(u, padded(centred(of_target(test_target), test_target.obs.get("batch"))))
