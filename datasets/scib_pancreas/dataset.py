"""Human pancreas as distributed with scIB, where three technologies do not hold counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from anndata import AnnData

from dgnbench.reading import ReadError, keep_integers, read_h5ad

N_BARCODES = 256  # UMIs of four bases; n = -K ln(1 - u / K) was stored (Gruen et al. 2014)
LARGEST_RESIDUAL = 0.01  # of an integer, after the correction is undone
SATURATED = 0.001  # share of values that may be further off: a gene with every UMI has no estimate


def undo_collision_correction(values: np.ndarray) -> np.ndarray:
    """Observed UMIs (integers) from the number of molecules that was estimated from them."""
    exact = N_BARCODES * -np.expm1(-values.astype(np.float64) / N_BARCODES)
    observed = np.round(exact)
    residual = np.abs(exact - observed)
    if (residual > LARGEST_RESIDUAL).sum() > SATURATED * residual.size:
        raise ReadError(
            f"CEL-seq values are not UMI counts with collisions corrected for {N_BARCODES} barcodes: "
            f"{np.mean(residual > LARGEST_RESIDUAL):.1%} of them are off an integer, one by "
            f"{residual.max():.3g}"
        )
    return observed.astype(np.float32)


def load(files: dict[str, Path], *, counts: str) -> AnnData:
    """`counts`: ``integer_only`` or ``as_distributed``."""
    data = read_h5ad(
        files["human_pancreas_norm_complexBatch.h5ad"],
        {"counts": "layers/counts", "batch": "tech", "cell_type": "celltype"},
    )
    if not keep_integers(counts):
        return data
    data = data[data.obs["batch"] != "smarter"].copy()  # RPKM
    stored = np.diff(data.X.indptr)
    corrected = np.repeat(data.obs["batch"].isin(["celseq", "celseq2"]).to_numpy(), stored)
    data.X.data[corrected] = undo_collision_correction(data.X.data[corrected])
    estimated = np.repeat((data.obs["batch"] == "fluidigmc1").to_numpy(), stored)
    data.X.data[estimated] = np.round(data.X.data[estimated])  # RSEM's expected counts
    return data
