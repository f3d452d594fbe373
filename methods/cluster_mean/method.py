"""The mean of a cell's cluster: all that a model knows which only tells kinds of cells apart."""

import numpy as np
from sklearn.cluster import KMeans

from dgnbench.modalities import components

NUMBERS = (1, 2, 4, 8, 15, 30, 60)  # of clusters


def modality_prediction(
    train_source, train_target, test_source, *, seed, n_components, n_clusters
):  # fmt: skip
    scores = components(train_source, n_components, seed)
    known, target = scores(train_source), np.asarray(train_target.X)
    best = np.inf
    for number in NUMBERS if n_clusters is None else [n_clusters]:
        kmeans = KMeans(min(number, len(known)), n_init=10, random_state=seed).fit(known)
        member = kmeans.labels_[:, None] == np.arange(kmeans.n_clusters)
        size = member.sum(axis=0)
        mean = member.T @ target / np.maximum(size, 1)[:, None]
        mean[size == 0] = target.mean(axis=0)  # of equal cells not every cluster has one
        # A mean without the cell itself is further from it, by this factor; one cell alone has none.
        left_out = size / np.maximum(size - 1, 1e-9)
        ours = kmeans.labels_
        error = np.square((target - mean[ours]) * left_out[ours][:, None]).mean()
        if error < best:
            best, chosen, means = error, kmeans, mean
    return means[chosen.predict(scores(test_source))]


rna_prediction = modality_prediction
