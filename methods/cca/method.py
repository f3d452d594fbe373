"""Canonical correlation analysis of the components of two modalities."""

import numpy as np

from dgnbench.contract import Declined
from dgnbench.matching import largest
from dgnbench.modalities import canonical, canonical_log_odds, centred, components

NONE = 1e-6  # a correlation at most this large is none


def modality_matching(
    train_source, train_target, test_source, test_target, *, seed, n_components, n_latent
):
    train = train_source, train_target
    scores = [components(part, n_components, seed) for part in train]
    test = test_source, test_target
    return largest(canonical_log_odds(lambda side, part: scores[side](part), train, test))


def joint_embedding(source, target, *, seed, n_components, n_latent):
    """The variates of both sides weighed by their correlation, the mean of the two.

    Of a cell without a target its variates are expected from the source's: those times the correlation.
    """
    x, y = (components(part, n_components, seed)(part) for part in (source, target))
    both = source.obs_names.get_indexer(target.obs_names)
    x, y = x - x[both].mean(axis=0), centred(y)
    correlations, a, b = canonical(x[both], y)
    if (correlations > NONE).sum() < 2:
        raise Declined("the two modalities have fewer than two canonical correlations above 0")
    u, k = x @ a, min(n_latent, len(correlations))
    v = u * correlations
    v[both] = y @ b
    return ((u + v) / 2 * np.sqrt(correlations))[:, :k]


mosaic_embedding = joint_embedding
