"""Optimal transport between the test cells of both sides, on canonical variates of components."""

from dgnbench.contract import Declined
from dgnbench.matching import largest, sinkhorn
from dgnbench.modalities import canonical, centred, components, log_odds_of_pairs

MOST_CELLS = 20_000  # test cells: the plan of all pairs takes 3.2 GB, and its rounds twice that


def modality_matching(
    train_source, train_target, test_source, test_target, *, seed, n_components, rounds
):
    if test_source.n_obs > MOST_CELLS:
        raise Declined(f"{test_source.n_obs} test cells; all pairs of {MOST_CELLS} fit in memory")
    of_source, of_target = (
        components(part, n_components, seed) for part in (train_source, train_target)
    )
    correlations, a, b = canonical(
        centred(of_source(train_source)), centred(of_target(train_target))
    )
    u = centred(of_source(test_source), test_source.obs.get("batch")) @ a
    v = centred(of_target(test_target), test_target.obs.get("batch")) @ b
    return largest(sinkhorn(log_odds_of_pairs(u, v, correlations), rounds))
