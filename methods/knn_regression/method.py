"""k-nearest-neighbour regression, the baseline that few beat in the NeurIPS 2021 challenge."""

from sklearn.neighbors import KNeighborsRegressor

from dgnbench.transforms import log1p_cp10k, principal_components


def modality_prediction(train_source, train_target, test_source, *, seed, n_components, k):
    x = log1p_cp10k(train_source.X)
    pca = principal_components(x, n_components, seed)
    model = KNeighborsRegressor(min(k, train_source.n_obs)).fit(pca.transform(x), train_target.X)
    return model.predict(pca.transform(log1p_cp10k(test_source.X)))
