"""Ridge regression from the source's principal components."""

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.linear_model import RidgeCV

from dgnbench.contract import Declined
from dgnbench.matching import largest
from dgnbench.modalities import MOST_CELLS, centred, components

ALPHAS = np.logspace(-2, 5, 15)


def modality_prediction(train_source, train_target, test_source, *, seed, n_components):
    scores = components(train_source, n_components, seed)
    model = RidgeCV(ALPHAS).fit(scores(train_source), train_target.X)
    return model.predict(scores(test_source))


rna_prediction = modality_prediction


def modality_matching(train_source, train_target, test_source, test_target, *, seed, n_components):
    """Predict the target's components, and weigh cells by how much likelier the prediction makes them.

    That is their Gaussian likelihood around the prediction, with the error of training cells left out,
    over that around the mean: a component that cannot be predicted goes out of the ratio.
    """
    if test_source.n_obs > MOST_CELLS:
        raise Declined(f"{test_source.n_obs} test cells; all pairs of {MOST_CELLS} fit in memory")
    of_source, of_target = (
        components(part, n_components, seed) for part in (train_source, train_target)
    )
    known = of_target(train_target)
    model = RidgeCV(ALPHAS, alpha_per_target=True).fit(of_source(train_source), known)
    spread = np.sqrt(np.maximum(known.var(axis=0), 1e-12 * known.var(axis=0).max()))
    error = np.minimum(np.sqrt(np.maximum(-model.best_score_, 1e-12 * spread.max() ** 2)), spread)
    # Both test sides hold the same cells, so that their means must agree, in every batch.
    predicted = centred(model.predict(of_source(test_source)), test_source.obs.get("batch"))
    found = centred(of_target(test_target), test_target.obs.get("batch"))
    around = cdist(predicted / error, found / error, "sqeuclidean")
    return largest((np.square(found / spread).sum(axis=1) - around) / 2)
