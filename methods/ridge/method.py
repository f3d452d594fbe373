"""Ridge regression from the source's principal components."""

import numpy as np
from sklearn.linear_model import RidgeCV

from dgnbench.transforms import log1p_cp10k, principal_components

ALPHAS = np.logspace(-2, 5, 15)


def modality_prediction(train_source, train_target, test_source, *, seed, n_components):
    x = log1p_cp10k(train_source.X)
    pca = principal_components(x, n_components, seed)
    model = RidgeCV(ALPHAS).fit(pca.transform(x), train_target.X)
    return model.predict(pca.transform(log1p_cp10k(test_source.X)))
