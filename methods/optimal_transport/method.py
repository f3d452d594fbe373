"""Optimal transport between the test cells of both sides, on canonical variates of components."""

from dgnbench.matching import largest, sinkhorn
from dgnbench.modalities import canonical_log_odds


def modality_matching(
    train_source, train_target, test_source, test_target, *, seed, n_components, rounds
):
    parts = train_source, train_target, test_source, test_target
    return largest(sinkhorn(canonical_log_odds(*parts, n_components, seed), rounds))
