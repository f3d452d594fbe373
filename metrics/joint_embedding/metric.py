"""Joint embedding: the metrics of the NeurIPS 2021 challenge, on cells whose labels nobody saw."""

import functools

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.stats import spearmanr

from dgnbench.contract import NotApplicable
from dgnbench.embedding import clusters, codes, coordinates, graph, silhouettes
from dgnbench.embedding.neighbours import nearest
from dgnbench.transforms import log1p_cp10k, principal_components

N_NEIGHBORS = 15  # scanpy's default, as in scIB
RESOLUTIONS = np.arange(1, 21) / 10  # of Louvain, as in scIB
N_DIFFUSION = 10  # components, as in scanpy's pseudotime
CYCLE = {  # Tirosh et al. 2016, 10.1126/science.aad0501
    "S": "MCM5 PCNA TYMS FEN1 MCM2 MCM4 RRM1 UNG GINS2 MCM6 CDCA7 DTL PRIM1 UHRF1 MLF1IP HELLS RFC2 RPA2 "
    "NASP RAD51AP1 GMNN WDR76 SLBP CCNE2 UBR7 POLD3 MSH2 ATAD2 RAD51 RRM2 CDC45 CDC6 EXO1 TIPIN DSCC1 BLM "
    "CASP8AP2 USP1 CLSPN POLA1 CHAF1B BRIP1 E2F8",
    "G2M": "HMGB2 CDK1 NUSAP1 UBE2C BIRC5 TPX2 TOP2A NDC80 CKS2 NUF2 CKS1B MKI67 TMPO CENPF TACC3 FAM64A "
    "SMC4 CCNB2 CKAP2L CKAP2 AURKB BUB1 KIF11 ANP32E TUBB4B GTSE1 KIF20B HJURP CDCA3 HN1 CDC20 TTK CDC25C "
    "KIF2C RANGAP1 NCAPD2 DLGAP5 CDCA2 CDCA8 ECT2 KIF23 HMMR AURKA PSRC1 ANLN LBR CKAP5 CENPE CTCF NEK2 "
    "G2E3 GAS2L3 CBX5 CENPA",
}
LEAST_GENES = 5  # of a phase, to score it
LEAST_CELLS = 30  # of a batch, for its cell cycle and trajectory
N_TREES = 100
BIO = ("nmi", "asw_label", "cell_cycle", "trajectory")
BATCH = ("asw_batch", "graph_connectivity")  # as in scIB


def _once(function):
    """A metric that other metrics of the same run ask for again."""

    @functools.wraps(function)
    def kept(solution, output, shared):
        return shared.per_run(function.__name__, lambda: function(solution, output, shared))

    return kept


def _scored(solution):
    return solution["truth"].obs["scored"].to_numpy(dtype=bool)


def _x(solution, output, shared):
    """The scored cells' coordinates; an embedding that collapsed is refused, it would score well."""
    return shared.per_run("embedding", lambda: coordinates(output[_scored(solution)]))


def _codes(solution, shared, key):
    truth = solution["truth"]
    if key not in truth.obs:
        raise NotApplicable(f"the dataset has no {key}")
    scored = _scored(solution)

    def numbered():
        column = truth.obs[key][scored].cat.remove_unused_categories()
        if len(column.cat.categories) < 2:
            raise NotApplicable(f"all scored cells have the same {key}")
        return codes(column, key)

    return shared.per_solution(key, numbered)


def _neighbours(solution, output, shared):
    return shared.per_run("neighbours", lambda: nearest(_x(solution, output, shared), N_NEIGHBORS))


@_once
def nmi(solution, output, shared):
    cell_type = _codes(solution, shared, "cell_type")
    found = clusters.louvain(_neighbours(solution, output, shared), RESOLUTIONS)
    return max(clusters.agreement(cell_type, some)["nmi"] for some in found)


@_once
def asw_label(solution, output, shared):
    cell_type = _codes(solution, shared, "cell_type")
    found = silhouettes.by_label(_x(solution, output, shared), cell_type)
    return silhouettes.label_score(found, cell_type)


@_once
def asw_batch(solution, output, shared):
    x, batch = _x(solution, output, shared), _codes(solution, shared, "batch")
    cell_type = _codes(solution, shared, "cell_type")
    scores = []
    for label in np.unique(cell_type):
        cells = cell_type == label
        _, own = np.unique(batch[cells], return_inverse=True)
        n_batches = own.max() + 1
        if 1 < n_batches < cells.sum():  # as in scIB
            found = silhouettes.by_label(x[cells], own)
            drawn = own[found.cells]  # of many cells a sample, of every batch at least a few
            weights = (np.bincount(own) / np.bincount(drawn))[drawn]
            scores.append(np.average(1 - np.abs(found.values), weights=weights))
    if not scores:
        raise NotApplicable("no cell type has scored cells in two batches")
    return np.mean(scores)


@_once
def graph_connectivity(solution, output, shared):
    cell_type = _codes(solution, shared, "cell_type")
    return graph.connectivity(_neighbours(solution, output, shared), cell_type, "weak")


def _cells_by_batch(solution):
    """Indices of the scored cells of every batch that has enough of them, or of all."""
    obs = solution["truth"].obs[_scored(solution)]
    batch = np.asarray(obs["batch"]) if "batch" in obs else np.zeros(len(obs))
    groups = [np.flatnonzero(batch == level) for level in np.unique(batch)]
    groups = [cells for cells in groups if len(cells) >= LEAST_CELLS]
    if not groups:
        raise NotApplicable(f"no batch has {LEAST_CELLS} scored cells")
    return groups


def _explained(x, covariates):
    """Share of the variance of `x` that a regression on the covariates explains."""
    design = np.column_stack([np.ones(len(x)), covariates])
    x = x - x.mean(axis=0)
    fitted = design @ np.linalg.lstsq(design, x, rcond=None)[0]
    return (fitted**2).sum() / (x**2).sum()


@_once
def cell_cycle(solution, output, shared):
    groups = _cells_by_batch(solution)

    def before():
        import scanpy

        truth = solution["truth"][_scored(solution)].copy()
        known = {name.upper(): name for name in truth.var_names}
        truth.X = log1p_cp10k(truth.X)
        for phase, genes in CYCLE.items():
            found = [known[gene] for gene in genes.split() if gene in known]
            if len(found) < LEAST_GENES:
                raise NotApplicable(f"{len(found)} genes of phase {phase}, wanted {LEAST_GENES}")
            scanpy.tl.score_genes(truth, found, score_name=phase, random_state=0)
        phases = truth.obs[list(CYCLE)].to_numpy()
        explained = []
        for cells in groups:
            x = truth.X[cells]
            scores = principal_components(x, 50, seed=0).transform(x)
            explained.append(_explained(scores, phases[cells]))
        return phases, explained

    phases, was = shared.per_solution("cell cycle", before)
    x = _x(solution, output, shared).astype(np.float64)
    now = [_explained(x[cells], phases[cells]) for cells in groups]
    return np.mean([max(0, 1 - abs(a - b) / b) for a, b in zip(now, was, strict=True)])


@_once
def trajectory(solution, output, shared):
    time = _pseudotime(solution)
    known = np.flatnonzero(np.isfinite(time))
    if len(known) < LEAST_CELLS:
        raise NotApplicable(f"{len(known)} scored cells have a pseudotime, wanted {LEAST_CELLS}")
    found = np.full(len(time), np.nan)
    found[known] = _diffusion_pseudotime(_x(solution, output, shared)[known], time[known])
    correlations = []
    for cells in _cells_by_batch(solution):
        cells = cells[np.isfinite(time[cells])]
        if len(cells) >= LEAST_CELLS and np.ptp(time[cells]):
            varies = np.ptp(found[cells])
            correlations.append(spearmanr(found[cells], time[cells]).statistic if varies else 0.0)
    if not correlations:
        raise NotApplicable(f"no batch has {LEAST_CELLS} scored cells of different pseudotimes")
    return (np.mean(correlations) + 1) / 2


def _pseudotime(solution):
    if "pseudotime" not in solution["truth"].obs:
        raise NotApplicable("the dataset has no pseudotime")
    return solution["truth"].obs["pseudotime"].to_numpy()[_scored(solution)]


def _diffusion_pseudotime(x, time):
    """Diffusion pseudotime (Haghverdi et al. 2016, 10.1038/nmeth.3971) from the earliest cell on, (cells,).

    In the largest component of the graph; cells outside come last. As scanpy's, which does not scale
    components whose eigenvalue is above 0.9994, however.
    """
    weights = graph.connectivities(nearest(x, N_NEIGHBORS))
    _, component = connected_components(weights)
    reached = np.flatnonzero(component == np.bincount(component).argmax())
    within = weights[reached][:, reached]
    places = graph.diffusion(within, min(N_DIFFUSION, len(reached) - 1)).astype(np.float64)
    found = np.full(len(x), np.inf)
    found[reached] = np.linalg.norm(places - places[time[reached].argmin()], axis=1)
    return np.minimum(found, found[reached].max() + 1)


def _forest(solution, output, shared, key):
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(N_TREES, oob_score=True, n_jobs=1, random_state=0)
    return forest.fit(_x(solution, output, shared), _codes(solution, shared, key)).oob_score_


def forest_cell_type(solution, output, shared):
    return _forest(solution, output, shared, "cell_type")


def forest_batch(solution, output, shared):
    return 1 - _forest(solution, output, shared, "batch")


def forest_pseudotime(solution, output, shared):
    from sklearn.ensemble import RandomForestRegressor

    time = _pseudotime(solution)
    known = np.isfinite(time)
    if known.sum() < LEAST_CELLS or not np.ptp(time[known]):
        raise NotApplicable(f"fewer than {LEAST_CELLS} scored cells of different pseudotimes")
    forest = RandomForestRegressor(N_TREES, oob_score=True, n_jobs=1, random_state=0)
    return forest.fit(_x(solution, output, shared)[known], time[known]).oob_score_


def total(solution, output, shared):
    bio = _applicable(BIO, solution, output, shared)
    batch = _applicable(BATCH, solution, output, shared)
    if not bio or not batch:
        raise NotApplicable("wants metrics of biology and of batches")

    def chance():
        """What noise gets: part of most metrics is given away."""
        noise = np.random.default_rng(0).normal(size=(solution["truth"].n_obs, 20))
        return _applicable(BIO, solution, noise, shared.for_another_output())

    floor = shared.per_solution("chance", chance)
    scaled = [(value - floor[name]) / (1 - floor[name]) for name, value in bio.items()]
    return 0.6 * np.mean(scaled) + 0.4 * np.mean(list(batch.values()))


def _applicable(names, solution, output, shared):
    """The values of metrics by name, of those that have a meaning here."""
    functions, values = globals(), {}
    for name in names:
        try:
            values[name] = functions[name](solution, output, shared)
        except NotApplicable:
            continue
    return values


def arithmetic_mean(solution, output, shared):
    values = _applicable((*BIO, *BATCH), solution, output, shared)
    if not values:
        raise NotApplicable("none of the metrics has a meaning on this dataset")
    return np.mean(list(values.values()))
