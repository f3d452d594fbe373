"""How counts arise around a mean that is known: what the simulated datasets share.

A simulator decides what cells are like: log-rates, cells x genes. From there all go the same way:
proportions of the rates, times the cell's library, are the noiseless mean; counts are negative
binomial around it. The constants are those of real counts of molecules. Measured within groups of
one cell type, batch and condition of at least 40 cells, in nine public sets: mouse bladder (Han
2018), Kang 2018, three cell lines (Tian 2019), PDAC (Moncada 2020), BMMC CITE-seq (Luecken 2021),
PBMC CITE-seq 5k + 10k, ECCITE-seq (Mimitou 2019; no types), PBMC 68k, SNARE-seq (Chen 2019).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dgnbench.transforms import FloatArray

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

# Standard deviation of the log of gene means: 1.06 Kang, 1.29 PBMC 68k, 1.68 BMMC (sets of chosen
# genes, as here); 1.5-1.8 over whole genomes.
BASELINE_SD = 1.3
# Counts a cell and gene: 0.9 PBMC 68k, 1.2 Kang, 4.1 BMMC.
DEPTH = 1.2
# Standard deviation of the log of library sizes: 0.22-0.57, median 0.45.
LIBRARY_SD = 0.45
# The same between the means of the types in a batch: 0.07-0.69, median 0.31 (of the eight sets
# with types, types of at least 20 cells).
TYPE_LIBRARY_SD = 0.3
# 1 / theta = DISPERSION[0] + DISPERSION[1] / sqrt(mean of the gene). Medians of the nine sets at
# means of 0.13, 0.42, 1.3, 4.2, 13: 0.67, 0.34, 0.24, 0.17, 0.11. Part of this is states of cells
# within a type, which the simulators have on top.
DISPERSION = (0.02, 0.2)
# Standard deviation of the log of theta around that, genes with more than 3 counts a cell:
# 0.28-1.18, median 0.55.
DISPERSION_SD = 0.5


def baseline(rng: np.random.Generator, n_genes: int) -> FloatArray:
    """Log-rates of the genes, before anything tells cells apart."""
    return rng.normal(0, BASELINE_SD, n_genes)


def library_sizes(
    rng: np.random.Generator, median: FloatArray, sd: float = LIBRARY_SD
) -> FloatArray:
    """Log-normal expected counts a cell around each cell's own `median`."""
    sizes: FloatArray = median * np.exp(rng.normal(0, sd, len(median)))
    return sizes


def expected_counts(log_rate: FloatArray, library: FloatArray) -> FloatArray:
    """The noiseless mean: a cell's rates, cells x genes, scaled to its library size."""
    share = np.exp(log_rate)
    share /= share.sum(axis=1, keepdims=True)
    mean: FloatArray = share * library[:, None]
    return mean


def inverse_dispersions(rng: np.random.Generator, mean: FloatArray) -> FloatArray:
    """Theta of every gene from its mean over cells: var = mean + mean^2 / theta."""
    trend = 1 / (DISPERSION[0] + DISPERSION[1] / np.sqrt(mean.mean(axis=0)))
    theta: FloatArray = trend * np.exp(rng.normal(0, DISPERSION_SD, mean.shape[1]))
    return theta


def negative_binomial(rng: np.random.Generator, mean: FloatArray, theta: Any) -> Any:
    """Integer counts around `mean`, by a gamma and a Poisson draw."""
    return rng.poisson(rng.gamma(theta, mean / theta))


TYPE_SHARES = np.array([0.35, 0.25, 0.2, 0.15, 0.05])  # of cells of two modalities
BATCH_SHARES = np.array([0.4, 0.35, 0.25])


@dataclass(frozen=True)
class PairedCells:
    """Cells of which two modalities are measured, and what drives each.

    Parameters
    ----------
    types, batches
        Numbers, (cells,).
    shared
        Factors of both modalities, (cells, factors): a mean of the type and a state of the cell.
    private
        Factors of each modality alone, two of (cells, factors); independent of all else.
    """

    types: np.ndarray[Any, Any]
    batches: np.ndarray[Any, Any]
    shared: FloatArray
    private: tuple[FloatArray, FloatArray]

    def obs(self) -> dict[str, Any]:
        """Columns of cells: batch and cell type."""
        return {"batch": named("batch", self.batches), "cell_type": named("type", self.types)}

    def keep_factors(self, rna: AnnData) -> None:
        """Write the true factors into `obsm`, under their names in the standard form."""
        rna.obsm["shared_factors"] = self.shared.astype(np.float32)
        rna.obsm["private_factors"] = self.private[0].astype(np.float32)
        rna.obsm["second_private_factors"] = self.private[1].astype(np.float32)


def paired_cells(
    rng: np.random.Generator, n_cells: int, n_shared: int, n_private: int
) -> PairedCells:
    """Cells with `n_shared` factors of both modalities and `n_private` of each alone.

    All factors have mean 0 and variance 1. Half of a shared factor's variance is between cell types.
    """
    types = rng.choice(len(TYPE_SHARES), n_cells, p=TYPE_SHARES)
    batches = rng.choice(len(BATCH_SHARES), n_cells, p=BATCH_SHARES)
    centres = rng.normal(size=(len(TYPE_SHARES), n_shared))
    centres -= TYPE_SHARES @ centres
    centres /= np.sqrt(TYPE_SHARES @ centres**2)
    state = rng.normal(size=(n_cells, n_shared))
    first, second = rng.normal(size=(2, n_cells, n_private))
    return PairedCells(types, batches, (centres[types] + state) / np.sqrt(2), (first, second))


def log_rates(
    rng: np.random.Generator, cells: PairedCells, modality: int, base: FloatArray, strength: float
) -> FloatArray:
    """Log-rates (cells, features) of a modality, 0 or 1, around `base` (features,).

    Loadings are normal, half of them zero, with the standard deviation `strength`; every batch shifts
    every feature.
    """
    factors = np.hstack([cells.shared, cells.private[modality]])
    shape = (factors.shape[1], len(base))
    loadings = rng.normal(0, strength, shape) * (rng.random(shape) < 0.5)
    shift = rng.normal(0, 0.2, (len(BATCH_SHARES), len(base)))
    rates: FloatArray = base + factors @ loadings + shift[cells.batches]
    return rates


def paired_rna(
    rng: np.random.Generator, cells: PairedCells, n_genes: int, strength: float
) -> AnnData:
    """Counts of RNA (cells, n_genes) with their noiseless mean, the true factors in `obsm`.

    `strength` is that of `log_rates`.
    """
    log_rate = log_rates(rng, cells, 0, baseline(rng, n_genes), strength)
    library = library_sizes(rng, np.full(len(cells.types), DEPTH * n_genes))
    mean = expected_counts(log_rate, library)
    theta = inverse_dispersions(rng, mean)
    rna = annotated(negative_binomial(rng, mean, theta), cells.obs(), {"mean": mean})
    cells.keep_factors(rna)
    return rna


def named(word: str, numbers: Sequence[int] | np.ndarray[Any, Any]) -> pd.Categorical[str]:
    """``batch_0``, ``batch_2``, … from a word and numbers."""
    import pandas as pd

    return pd.Categorical([f"{word}_{number}" for number in numbers])


def annotated(
    counts: Any, obs: Mapping[str, Any], layers: Mapping[str, FloatArray] | None = None
) -> AnnData:
    """Counts as CSR float32 with names for cells and genes, columns of cells and dense layers."""
    import pandas as pd
    from anndata import AnnData
    from scipy import sparse

    n_cells, n_genes = counts.shape
    cells = pd.DataFrame(dict(obs), index=[f"barcode_{i}" for i in range(n_cells)])
    data = AnnData(sparse.csr_matrix(counts, dtype=np.float32), obs=cells)
    data.var_names = [f"gene_{g}" for g in range(n_genes)]
    for name, values in (layers or {}).items():
        data.layers[name] = values.astype(np.float32)
    return data
