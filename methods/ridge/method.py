"""Ridge regression from the source's principal components."""

import numpy as np
from sklearn.linear_model import RidgeCV

from dgnbench.matching import match
from dgnbench.transforms import clr_per_cell, log1p_cp10k, principal_components

ALPHAS = np.logspace(-2, 5, 15)


def modality_prediction(train_source, train_target, test_source, *, seed, n_components):
    x = log1p_cp10k(train_source.X)
    pca = principal_components(x, n_components, seed)
    model = RidgeCV(ALPHAS).fit(pca.transform(x), train_target.X)
    return model.predict(pca.transform(log1p_cp10k(test_source.X)))


def modality_matching(train_source, train_target, test_source, test_target, *, seed, n_components):
    """Predict the target's components and take the cells that are nearest to the prediction.

    Each component is scaled by its error on training cells held out by leave-one-out, so that those
    that cannot be predicted hardly count.
    """
    normalise = clr_per_cell if train_target.uns["modality"] == "protein" else log1p_cp10k
    x, y = log1p_cp10k(train_source.X), normalise(train_target.X)
    of_source, of_target = (principal_components(m, n_components, seed) for m in (x, y))
    known = of_target.transform(y)
    model = RidgeCV(ALPHAS, alpha_per_target=True).fit(of_source.transform(x), known)
    error = np.sqrt(np.maximum(-model.best_score_, 1e-12 * known.var(axis=0).max()))
    predicted = model.predict(of_source.transform(log1p_cp10k(test_source.X)))
    return match(predicted / error, of_target.transform(normalise(test_target.X)) / error)
