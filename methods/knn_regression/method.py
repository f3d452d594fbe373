"""k-nearest-neighbour regression, the baseline that few beat in the NeurIPS 2021 challenge."""

from sklearn.neighbors import KNeighborsRegressor

from dgnbench.matching import match
from dgnbench.modalities import centred, components
from dgnbench.transforms import log1p_cp10k, principal_components


def modality_prediction(train_source, train_target, test_source, *, seed, n_components, k):
    x = log1p_cp10k(train_source.X)
    pca = principal_components(x, n_components, seed)
    model = KNeighborsRegressor(min(k, train_source.n_obs)).fit(pca.transform(x), train_target.X)
    return model.predict(pca.transform(log1p_cp10k(test_source.X)))


def modality_matching(
    train_source, train_target, test_source, test_target, *, seed, n_components, k
):
    """Match to the cells nearest to the predicted components of the target."""
    of_source, of_target = (
        components(part, n_components, seed) for part in (train_source, train_target)
    )
    model = KNeighborsRegressor(min(k, train_source.n_obs))
    model.fit(of_source(train_source), of_target(train_target))
    # Both test sides hold the same cells, so that their means must agree, in every batch.
    predicted = centred(model.predict(of_source(test_source)), test_source.obs.get("batch"))
    return match(predicted, centred(of_target(test_target), test_target.obs.get("batch")))
