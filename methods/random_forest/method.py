"""Random forest regression (Breiman 2001) between components, after a baseline of NeurIPS 2021."""

from sklearn.ensemble import RandomForestRegressor

from dgnbench.modalities import components
from dgnbench.transforms import principal_components


def modality_prediction(
    train_source, train_target, test_source, *, seed, n_components, n_target_components, n_trees,
    min_samples_leaf, max_features,
):  # fmt: skip
    scores = components(train_source, n_components, seed)
    forest = RandomForestRegressor(
        n_trees, min_samples_leaf=min_samples_leaf, max_features=max_features, random_state=seed
    )
    if train_target.n_vars <= n_target_components:
        return forest.fit(scores(train_source), train_target.X).predict(scores(test_source))
    pca = principal_components(train_target.X, n_target_components, seed)
    forest.fit(scores(train_source), pca.transform(train_target.X))
    return pca.inverse_transform(forest.predict(scores(test_source)))


rna_prediction = modality_prediction
