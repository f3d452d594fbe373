"""Optimal transport between the test cells of both sides, on canonical variates of components."""

from dgnbench.matching import largest, sinkhorn
from dgnbench.modalities import canonical_log_odds, components


def modality_matching(
    train_source, train_target, test_source, test_target, *, seed, n_components, rounds
):
    train = train_source, train_target
    scores = [components(part, n_components, seed) for part in train]
    test = test_source, test_target
    log_odds = canonical_log_odds(lambda side, part: scores[side](part), train, test)
    return largest(sinkhorn(log_odds, rounds))
