"""Canonical correlation analysis of the components of two modalities."""

import numpy as np

from dgnbench.contract import Declined
from dgnbench.matching import largest
from dgnbench.modalities import canonical, centred, components, log_odds_of_pairs

MOST_CELLS = 20_000  # test cells: the log-odds of all pairs take 3.2 GB


def modality_matching(
    train_source, train_target, test_source, test_target, *, seed, n_components, n_latent
):
    if test_source.n_obs > MOST_CELLS:
        raise Declined(f"{test_source.n_obs} test cells; all pairs of {MOST_CELLS} fit in memory")
    of_source, of_target = (
        components(part, n_components, seed) for part in (train_source, train_target)
    )
    correlations, a, b = canonical(
        centred(of_source(train_source)), centred(of_target(train_target))
    )
    # Both test sides hold the same cells, so that their means must agree, in every batch.
    u = centred(of_source(test_source), test_source.obs.get("batch")) @ a
    v = centred(of_target(test_target), test_target.obs.get("batch")) @ b
    return largest(log_odds_of_pairs(u, v, correlations))


def joint_embedding(source, target, *, seed, n_components, n_latent):
    """The variates of both sides weighed by their correlation, the mean of the two."""
    x, y = (centred(components(part, n_components, seed)(part)) for part in (source, target))
    correlations, a, b = canonical(x, y)
    k = min(n_latent, len(correlations))
    return ((x @ a + y @ b) / 2 * np.sqrt(correlations))[:, :k]
