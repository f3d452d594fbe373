"""k-nearest-neighbour regression, the baseline that few beat in the NeurIPS 2021 challenge."""

import numpy as np
from sklearn.neighbors import NearestNeighbors

from dgnbench.matching import match
from dgnbench.modalities import centred, components

KS = (5, 10, 25, 50, 100, 200)  # beside all training cells, whose mean it then is
MOST_JUDGED = 1000  # training cells by which the number of neighbours is chosen


def _best_k(known, target, model, seed):
    """The number of neighbours from which left-out training cells are predicted best."""
    n = len(known)
    judged = np.random.default_rng(seed).permutation(n)[:MOST_JUDGED]
    ks = [k for k in KS if k < n]
    around = model.kneighbors(known[judged], ks[-1] + 1 if ks else 1, return_distance=False)
    around = around[:, 1:]  # the nearest is the cell itself
    errors = {k: np.square(_mean(target, around[:, :k]) - target[judged]).mean() for k in ks}
    # Without the cell itself, the mean of all is further from it by this factor.
    errors[n] = np.square((target.mean(axis=0) - target[judged]) * n / (n - 1)).mean()
    return min(errors, key=errors.get)


def _mean(target, neighbours):
    return np.stack([target[rows].mean(axis=0) for rows in neighbours])


def _predictor(train_source, target, seed, n_components, k):
    """From a part to its predicted target, of training cells with `target` (cells, features)."""
    scores = components(train_source, n_components, seed)
    known = scores(train_source)
    model = NearestNeighbors().fit(known)
    k = _best_k(known, target, model, seed) if k is None else k

    def predict(part):
        if k >= len(known):
            return np.tile(target.mean(axis=0), (part.n_obs, 1))
        return _mean(target, model.kneighbors(scores(part), k, return_distance=False))

    return predict


def modality_prediction(train_source, train_target, test_source, *, seed, n_components, k):
    target = np.asarray(train_target.X)
    return _predictor(train_source, target, seed, n_components, k)(test_source)


rna_prediction = modality_prediction


def modality_matching(
    train_source, train_target, test_source, test_target, *, seed, n_components, k
):
    """Match to the cells nearest to the predicted components of the target."""
    of_target = components(train_target, n_components, seed)
    predict = _predictor(train_source, of_target(train_target), seed, n_components, k)
    # Both test sides hold the same cells, so that their means must agree, in every batch.
    predicted = centred(predict(test_source), test_source.obs.get("batch"))
    return match(predicted, centred(of_target(test_target), test_target.obs.get("batch")))
