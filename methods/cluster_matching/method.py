"""Equal weights within clusters that each modality tells alone."""

import numpy as np
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.neighbors import KNeighborsClassifier

from dgnbench.matching import MOST
from dgnbench.modalities import centred, components


def modality_matching(
    train_source, train_target, test_source, test_target, *, seed, n_components, n_clusters, k
):
    known, found = [], []
    for train, test in ((train_source, test_source), (train_target, test_target)):
        scores = components(train, n_components, seed)
        known.append(centred(scores(train), train.obs.get("batch")))
        found.append(centred(scores(test), test.obs.get("batch")))
    pairs = np.hstack(known)
    n_clusters = min(n_clusters, len(pairs))
    clusters = KMeans(n_clusters, n_init=10, random_state=seed).fit_predict(pairs)
    k = min(k, len(pairs))
    of_source, of_target = (
        KNeighborsClassifier(k).fit(x, clusters).predict(y)
        for x, y in zip(known, found, strict=True)
    )
    return evenly_within(of_source, of_target, np.random.default_rng(seed))


def evenly_within(of_source, of_target, rng):
    """Equal weights for the target cells of a source cell's cluster, CSR whose rows sum to 1.

    For all of them where the cluster has none; for a random 1000 of more.
    """
    partners = []
    for cluster in of_source:
        own = np.flatnonzero(of_target == cluster)
        own = own if len(own) else np.arange(len(of_target))
        partners.append(rng.choice(own, MOST, replace=False) if len(own) > MOST else own)
    sizes = np.array([len(own) for own in partners])
    return sparse.csr_matrix(
        (np.repeat(1 / sizes, sizes), np.concatenate(partners), np.r_[0, np.cumsum(sizes)]),
        shape=(len(of_source), len(of_target)),
    )
