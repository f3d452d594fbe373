"""Generation: two-sample distances, marginals, structure, modes and memorisation."""

import numpy as np
from scipy import sparse

from dgnbench.correlation import FLAT
from dgnbench.transforms import log1p_cp10k, principal_components

N_COMPONENTS = 30
N_VARIABLE = 100  # genes whose correlations are compared
KERNEL_WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # times the median squared distance of real cells
NEIGHBOURS = 15  # real training cells that vote for the type of a generated one


def _dense(matrix):
    return np.asarray(matrix.toarray() if sparse.issparse(matrix) else matrix, dtype=np.float64)


def _pca(solution, shared):
    """Axes of all real cells, so that no part of them is favoured by being fitted."""

    def fit():
        parts = ("train", "truth", "other")
        real = sparse.vstack([sparse.csr_matrix(solution[part].X) for part in parts])
        return principal_components(log1p_cp10k(real), N_COMPONENTS, seed=0)

    return shared.per_solution("pca", fit)


def _real(solution, shared, name="truth"):
    def project():
        return _pca(solution, shared).transform(_dense(log1p_cp10k(solution[name].X)))

    return shared.per_solution(f"pca of {name}", project)


def _made(solution, output, shared):
    return shared.per_run(
        "pca", lambda: _pca(solution, shared).transform(_dense(log1p_cp10k(output)))
    )


def _mean_distance(x, y, *, same=False):
    """Mean Euclidean distance between the rows of x and y; without the diagonal if they are one."""
    from scipy.spatial.distance import cdist

    total = sum(cdist(x[i : i + 1000], y).sum() for i in range(0, len(x), 1000))
    return total / (len(x) * (len(y) - 1 if same else len(y)))


def energy_distance(solution, output, shared):
    real, made = _real(solution, shared), _made(solution, output, shared)
    within = shared.per_solution("energy", lambda: _mean_distance(real, real, same=True))
    return 2 * _mean_distance(made, real) - within - _mean_distance(made, made, same=True)


def mmd(solution, output, shared):
    from scipy.spatial.distance import cdist, pdist

    real, made = _real(solution, shared), _made(solution, output, shared)
    median = shared.per_solution("median", lambda: np.median(pdist(real[:2000], "sqeuclidean")))

    def mean_kernel(x, y, same=False):
        total = 0.0
        for i in range(0, len(x), 1000):
            d = cdist(x[i : i + 1000], y, "sqeuclidean")
            total += sum(np.exp(-d / (width * median)).sum() for width in KERNEL_WIDTHS)
        total /= len(KERNEL_WIDTHS)
        return (total - len(x)) / (len(x) * (len(x) - 1)) if same else total / (len(x) * len(y))

    within = shared.per_solution("mmd", lambda: mean_kernel(real, real, same=True))
    return within + mean_kernel(made, made, same=True) - 2 * mean_kernel(made, real)


def rf_auroc(solution, output, shared):
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    real, made = _dense(log1p_cp10k(solution["truth"].X)), _dense(log1p_cp10k(output))
    x = np.vstack([real, made])
    y = np.repeat([0, 1], [len(real), len(made)])
    forest = RandomForestClassifier(200, min_samples_leaf=2, random_state=0)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    scores = cross_val_predict(forest, x, y, cv=folds, method="predict_proba")[:, 1]
    auroc = roc_auc_score(y, scores)
    return max(auroc, 1 - auroc)


def mode_coverage(solution, output, shared):
    from sklearn.neighbors import KNeighborsClassifier

    def fit():
        types = solution["train"].obs["cell_type"].astype(str)
        k = min(NEIGHBOURS, len(types))
        return KNeighborsClassifier(k).fit(_real(solution, shared, "train"), types)

    classifier = shared.per_solution("types", fit)
    told_real = classifier.predict(_real(solution, shared))
    told_made = classifier.predict(_made(solution, output, shared))
    shares = [
        min(1.0, np.mean(told_made == kind) / np.mean(told_real == kind))
        for kind in np.unique(told_real)
    ]
    return np.mean(shares)


def _concordance(x, y):
    """Lin's concordance: like Pearson's r, but a shift or a change of scale costs."""
    covariance = np.mean((x - x.mean()) * (y - y.mean()))
    spread = x.var() + y.var() + (x.mean() - y.mean()) ** 2
    return 2 * covariance / spread if spread > 0 else 1.0


def mean_agreement(solution, output, shared):
    real, made = _dense(solution["truth"].X), _dense(output)
    return _concordance(np.log1p(real.mean(axis=0)), np.log1p(made.mean(axis=0)))


def variance_agreement(solution, output, shared):
    real, made = _dense(solution["truth"].X), _dense(output)
    return _concordance(np.log1p(real.var(axis=0)), np.log1p(made.var(axis=0)))


def zero_fraction_agreement(solution, output, shared):
    real, made = _dense(solution["truth"].X), _dense(output)
    return _concordance((real == 0).mean(axis=0), (made == 0).mean(axis=0))


def _correlations(log_values):
    """Correlations of the columns; with a gene that does not vary they are 0."""
    size = np.linalg.norm(log_values, axis=0)
    centred = log_values - log_values.mean(axis=0)
    norm = np.linalg.norm(centred, axis=0)
    flat = norm <= FLAT * np.maximum(size, 1)
    centred = np.divide(centred, norm, out=np.zeros_like(centred), where=~flat)
    return (centred.T @ centred)[np.triu_indices(log_values.shape[1], k=1)]


def correlation_error(solution, output, shared):
    real = _dense(log1p_cp10k(solution["truth"].X))
    genes = np.argsort(-real.var(axis=0), kind="stable")[:N_VARIABLE]
    made = _dense(log1p_cp10k(output))
    return np.mean(np.abs(_correlations(real[:, genes]) - _correlations(made[:, genes])))


def memorisation(solution, output, shared):
    from sklearn.neighbors import NearestNeighbors

    def distances(x):
        index = shared.per_solution(
            "nearest", lambda: NearestNeighbors(n_neighbors=1).fit(_real(solution, shared, "train"))
        )
        return np.median(index.kneighbors(x)[0])

    real = shared.per_solution("nearest real", lambda: distances(_real(solution, shared)))
    return max(0.0, 1 - distances(_made(solution, output, shared)) / real)
