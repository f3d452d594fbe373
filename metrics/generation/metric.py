"""Generation: two-sample distances, marginals, structure, modes and memorisation."""

import numpy as np
from scipy import sparse

from dgnbench import NotApplicable
from dgnbench.contract import Estimate
from dgnbench.correlation import FLAT
from dgnbench.transforms import log1p_cp10k, principal_components

N_COMPONENTS = 30
N_VARIABLE = 100  # genes whose correlations are compared
KERNEL_WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # times the median squared distance of real cells
LARGEST = 10_000  # cells on either side whose distances are all taken; of more, so many at random
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
        return _pca(solution, shared).transform(log1p_cp10k(solution[name].X))

    return shared.per_solution(f"pca of {name}", project)


def _made(solution, output, shared):
    return shared.per_run("pca", lambda: _pca(solution, shared).transform(log1p_cp10k(output)))


def _distance(x, y):
    from scipy.spatial.distance import cdist

    return cdist(x, y)


def _means(kernel, x, y):
    """Means of `kernel` from every row of x to those of y, and the other way.

    O(rows of x * rows of y) time, a thousand rows at a time.
    """
    of_x, of_y = np.zeros(len(x)), np.zeros(len(y))
    for i in range(0, len(x), 1000):
        block = kernel(x[i : i + 1000], y)
        of_x[i : i + 1000] = block.mean(axis=1)
        of_y += block.sum(axis=0) / len(x)
    return of_x, of_y


def _means_within(kernel, x):
    """As `_means` to the other rows of x."""
    own = float(kernel(x[:1], x[:1])[0, 0])
    return (len(x) * _means(kernel, x, x)[0] - own) / (len(x) - 1)


def _some(x):
    """At most `LARGEST` rows, drawn at random whatever their order."""
    if x.shape[0] <= LARGEST:
        return x
    drawn = np.random.default_rng(0).choice(x.shape[0], LARGEST, replace=False)
    return _in_own_order(x)[drawn]


def _two_samples(kernel, real, made, within):
    """2·E k(X, Y) − E k(X, X′) − E k(Y, Y′) without the diagonals, an `Estimate` where cells are drawn.

    Its standard error is that of a U-statistic (Hoeffding 1948, 10.1214/aoms/1177730196): from the variance
    over cells of their own means, less the share of the cells that was drawn.
    """
    (of_made, of_real), within_made = (
        _means(kernel, made[0], real[0]),
        _means_within(kernel, made[0]),
    )
    value = 2 * of_made.mean() - within.mean() - within_made.mean()
    used, cells = len(real[0]) + len(made[0]), len(real[1]) + len(made[1])
    if used == cells:
        return value
    sides = ((of_made - within_made, made), (of_real - within, real))
    error = sum(4 * h.var() / len(h) * (1 - len(h) / len(whole)) for h, (_, whole) in sides) ** 0.5
    return Estimate(value, error, used, cells)


def _sides(solution, output, shared):
    """What is used, and all, of the real and of the generated cells."""
    real, made = _real(solution, shared), _made(solution, output, shared)
    return (shared.per_solution("some", lambda: _some(real)), real), (_some(made), made)


def energy_distance(solution, output, shared):
    real, made = _sides(solution, output, shared)
    within = shared.per_solution("energy", lambda: _means_within(_distance, real[0]))
    return _two_samples(_distance, real, made, within)


def mmd(solution, output, shared):
    from scipy.spatial.distance import cdist, pdist

    real, made = _sides(solution, output, shared)
    median = shared.per_solution("median", lambda: np.median(pdist(real[1][:2000], "sqeuclidean")))

    def unlikeness(x, y):
        d = cdist(x, y, "sqeuclidean")
        return -sum(np.exp(-d / (width * median)) for width in KERNEL_WIDTHS) / len(KERNEL_WIDTHS)

    within = shared.per_solution("mmd", lambda: _means_within(unlikeness, real[0]))
    return _two_samples(unlikeness, real, made, within)


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

    whole = solution["truth"].X, output
    real, made = (_dense(_in_own_order(_some(log1p_cp10k(cells)))) for cells in whole)
    x = np.vstack([real, made])
    y = np.repeat([0, 1], [len(real), len(made)])
    forest = RandomForestClassifier(100, min_samples_leaf=2, random_state=0)
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=N_SHUFFLES, random_state=0)
    value = max(0.5, cross_val_score(forest, x, y, cv=folds, scoring="roc_auc").mean())
    cells = sum(counts.shape[0] for counts in whole)
    if len(x) == cells:
        return value
    return Estimate(value, _error_of_area(value, len(real), len(made)), len(x), cells)


def _error_of_area(area, m, n):
    """Standard error of the area under a curve (Hanley & McNeil 1982, 10.1148/radiology.143.1.7063747)."""
    of_real, of_made = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (m - 1) * (of_real - area**2) + (n - 1) * (of_made - area**2)
    return (spread / (m * n)) ** 0.5


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


def _moments(counts):
    """Mean, variance and share of zeros of every gene, without a dense copy of sparse counts."""
    if not sparse.issparse(counts):
        counts = np.asarray(counts, dtype=np.float64)
        return counts.mean(axis=0), counts.var(axis=0), (counts == 0).mean(axis=0)
    counts = sparse.csr_matrix(counts, dtype=np.float64)
    mean = np.asarray(counts.mean(axis=0)).ravel()
    squares = np.asarray(counts.multiply(counts).mean(axis=0)).ravel()
    zeros = 1 - np.bincount(counts.indices[counts.data != 0], minlength=len(mean)) / counts.shape[0]
    return mean, np.maximum(squares - mean**2, 0), zeros


def _both_moments(solution, output, shared):
    real = shared.per_solution("moments", lambda: _moments(solution["truth"].X))
    made = shared.per_run("moments", lambda: _moments(output))
    return list(zip(real, made, strict=True))


def mean_agreement(solution, output, shared):
    real, made = _both_moments(solution, output, shared)[0]
    return _concordance(np.log1p(real), np.log1p(made))


def variance_agreement(solution, output, shared):
    real, made = _both_moments(solution, output, shared)[1]
    return _concordance(np.log1p(real), np.log1p(made))


def zero_fraction_agreement(solution, output, shared):
    return _concordance(*_both_moments(solution, output, shared)[2])


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
        log = log1p_cp10k(solution["truth"].X)
        genes = np.argsort(-_moments(log)[1], kind="stable")[:N_VARIABLE]
        return genes, _by_half(_dense(log[:, genes]), seed=0)

    genes, real = shared.per_solution("correlations", of_real)
    signal = np.mean(real[:, 0] * real[:, 1])
    noise = np.mean((real[:, 0] - real[:, 1]) ** 2) / 4  # of all cells: a quarter of that of halves
    if signal < NO_SIGNAL * noise:
        raise NotApplicable("the correlations of the held-out cells are hardly more than noise")
    # Another seed: halved alike, both would err alike, and too little noise would be taken off.
    off = real - _by_half(_dense(log1p_cp10k(output)[:, genes]), seed=1)
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
