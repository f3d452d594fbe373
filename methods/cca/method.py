"""Canonical correlation analysis of the components of two modalities."""

import numpy as np

from dgnbench.matching import largest
from dgnbench.modalities import canonical, canonical_log_odds, centred, components


def modality_matching(
    train_source, train_target, test_source, test_target, *, seed, n_components, n_latent
):
    train = train_source, train_target
    scores = [components(part, n_components, seed) for part in train]
    test = test_source, test_target
    return largest(canonical_log_odds(lambda side, part: scores[side](part), train, test))


def joint_embedding(source, target, *, seed, n_components, n_latent):
    """The variates of both sides weighed by their correlation, the mean of the two."""
    x, y = (centred(components(part, n_components, seed)(part)) for part in (source, target))
    correlations, a, b = canonical(x, y)
    k = min(n_latent, len(correlations))
    return ((x @ a + y @ b) / 2 * np.sqrt(correlations))[:, :k]
