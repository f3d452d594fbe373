"""Generation: two-sample distances, marginals, structure, modes and memorisation."""

import numpy as np
from scipy import sparse

from dgnbench import NotApplicable
from dgnbench.correlation import FLAT
from dgnbench.transforms import log1p_cp10k, principal_components

N_COMPONENTS = 30
N_VARIABLE = 100  # genes whose correlations are compared
KERNEL_WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # times the median squared distance of real cells
NEIGHBOURS = 15  # real training cells that vote for the type of a generated one
N_SHUFFLES = 3  # of the cells into folds
N_HALVINGS = 20
NO_SIGNAL = 0.5  # of the noise; below it the estimate of the signal is itself mostly noise
COPIED = 1e-6  # of the mean distance: rounding keeps a copy from being at exactly 0


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


def _in_own_order(log_values):
    """Sorted by a weighted sum of the genes: what is drawn by row then depends on no order of cells."""
    return log_values[np.argsort(log_values @ np.sqrt(np.arange(log_values.shape[1])))]


def rf_auroc(solution, output, shared):
    """Mean over folds and over shuffles of the cells into folds: one shuffle alone is off by 0.05.

    Out of fold, cells that cannot be told apart come out below 0.5 by chance, and no forest tells
    real cells from better than real ones: below 0.5 counts 0.5.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score

    real = _in_own_order(_dense(log1p_cp10k(solution["truth"].X)))
    made = _in_own_order(_dense(log1p_cp10k(output)))
    x = np.vstack([real, made])
    y = np.repeat([0, 1], [len(real), len(made)])
    forest = RandomForestClassifier(100, min_samples_leaf=2, random_state=0)
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=N_SHUFFLES, random_state=0)
    return max(0.5, cross_val_score(forest, x, y, cv=folds, scoring="roc_auc").mean())


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
    """Of every pair of columns; with a gene that does not vary they are 0."""
    size = np.linalg.norm(log_values, axis=0)
    centred = log_values - log_values.mean(axis=0)
    norm = np.linalg.norm(centred, axis=0)
    flat = norm <= FLAT * np.maximum(size, 1)
    centred = np.divide(centred, norm, out=np.zeros_like(centred), where=~flat)
    return (centred.T @ centred)[np.triu_indices(log_values.shape[1], k=1)]


def _by_half(log_values, seed):
    """Correlations in either half of the cells, halved at random time and again.

    Shape (halvings, 2, pairs). The noise of the two halves is independent, so that the mean product
    of what they say is free of it.
    """
    cells, rng = _in_own_order(log_values), np.random.default_rng(seed)
    halvings = (np.array_split(rng.permutation(len(cells)), 2) for _ in range(N_HALVINGS))
    return np.array([[_correlations(cells[half]) for half in halves] for halves in halvings])


def correlation_error(solution, output, shared):
    """Mean squared difference of correlations without the part that is noise, over their own square.

    With few cells the noise of a correlation is larger than most correlations. The plain difference
    then rewards knowing nothing: a constant output (all correlations 0) came as near to the held-out
    cells as other real cells did.
    """

    def of_real():
        log = _dense(log1p_cp10k(solution["truth"].X))
        genes = np.argsort(-log.var(axis=0), kind="stable")[:N_VARIABLE]
        return genes, _by_half(log[:, genes], seed=0)

    genes, real = shared.per_solution("correlations", of_real)
    signal = np.mean(real[:, 0] * real[:, 1])
    noise = np.mean((real[:, 0] - real[:, 1]) ** 2) / 4  # of all cells: a quarter of that of halves
    if signal < NO_SIGNAL * noise:
        raise NotApplicable("the correlations of the held-out cells are hardly more than noise")
    # Another seed: halved alike, both would err alike, and too little noise would be taken off.
    off = real - _by_half(_dense(log1p_cp10k(output))[:, genes], seed=1)
    return np.mean(off[:, 0] * off[:, 1]) / signal


def memorisation(solution, output, shared):
    """The nearest over the second-nearest training cell: 0 for a copy, near 1 for a new cell.

    The distance to the nearest one alone would not do: it is small also for what lies in the middle
    of all cells, as a constant output does.
    """
    from sklearn.neighbors import NearestNeighbors

    def index():
        return NearestNeighbors(n_neighbors=2).fit(_real(solution, shared, "train"))

    def ratio(x):
        first, second = shared.per_solution("nearest", index).kneighbors(x)[0].T
        copied = first <= COPIED * second.mean()
        return np.divide(first, second, out=np.zeros_like(first), where=~copied).mean()

    real = shared.per_solution("ratio of real", lambda: ratio(_real(solution, shared)))
    return max(0.0, 1 - ratio(_made(solution, output, shared)) / real)
