"""Small cuts of the kit of real data: counts, and what is known of the cells under standard names."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import anndata
import mudata
import numpy as np
from anndata import AnnData

mudata.set_options(pull_on_update=False)

# What the columns of the kit hold, by the standard names.
COLUMNS = {
    "bmmc_cite": {"batch": "batch", "cell_type": "cell_type"},
    "cellbench_3cl_2tech": {"batch": "batch", "cell_type": "cell_type"},
    "cellbench_5cl_doublets": {"cell_type": "cell_type", "doublet": "is_doublet"},
    "eccite_pbmc_hashing": {"condition": "hto_sample"},
    "kang_ifnb": {"batch": "donor", "cell_type": "cell_type", "condition": "condition"},
    "mouse_bladder_16types": {"cell_type": "cell_type"},
    "norman_perturbseq": {"batch": "batch", "condition": "condition"},
    "osmfish_cortex": {"cell_type": "cell_type"},
    "pbmc68k_reduced_counts": {"cell_type": "cell_type"},
    "pbmc_cite_10k_5k": {"batch": "batch"},
    "pdac_spatial": {},
    "snare_cortex": {"batch": "batch", "cell_type": "cell_type"},
    "worm_embryo": {
        "batch": "batch", "cell_type": "cell_type", "time": "embryo_time", "pseudotime": "embryo_time",
    },
}  # fmt: skip
SPATIAL = ("osmfish_cortex", "pdac_spatial")
Chosen = Callable[[AnnData], np.ndarray]


class Kit:
    """The folder of the kit; files are read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read = functools.cache(self._read_file)

    def _read_file(self, name: str) -> dict[str, AnnData]:
        if (self.folder / f"{name}.h5mu").is_file():
            return dict(mudata.read_h5mu(self.folder / f"{name}.h5mu").mod)
        return {"rna": anndata.read_h5ad(self.folder / f"{name}.h5ad")}

    def cut(
        self,
        name: str,
        *modalities: str,
        cells: int = 90,
        genes: int = 120,
        only: Chosen = lambda data: np.ones(data.n_obs, bool),
    ) -> tuple[AnnData, ...]:
        """The same evenly spread cells of some modalities, with the features they have most of.

        The first has the columns of `COLUMNS`, as text, numbers or flags, and ``obsm["spatial"]``.
        """
        whole = self._read(name)
        names = modalities or ("rna",)
        first = whole[names[0]]
        known = first.obs_names[only(first)]
        for other in names[1:]:
            known = known[known.isin(whole[other].obs_names)]
        chosen = known[np.unique(np.linspace(0, len(known) - 1, cells).astype(int))]
        parts = []
        for modality in names:
            data = whole[modality][chosen]
            total = np.asarray(data.X.sum(axis=0)).ravel()
            most = np.sort(np.argsort(-total, kind="stable")[:genes])
            part = AnnData(data.X[:, most].astype(np.float32))
            part.obs_names, part.var_names = chosen, data.var_names[most]
            parts.append(part)
        for key, column in COLUMNS[name].items():
            values = first.obs.loc[chosen, column]
            parts[0].obs[key] = values.astype(str) if values.dtype.name == "category" else values
        if name in SPATIAL:
            parts[0].obsm["spatial"] = np.asarray(first[chosen].obsm["spatial"], dtype=float)
        assert all(part.X.sum(axis=1).min() > 0 for part in parts[:1]), f"{name}: an empty cell"
        return tuple(parts)


def renamed(
    data: AnnData, cells: list[str] | None = None, genes: list[str] | None = None
) -> AnnData:
    """The same data under other ids."""
    made = data.copy()
    if cells is not None:
        made.obs_names = cells
    if genes is not None:
        made.var_names = genes
    return made


def barcodes(n: int, first: int = 0) -> list[str]:
    """As many 10x barcodes, all different."""
    letters = np.array(list("ACGT"))
    digits = (first + np.arange(n))[:, None] // 4 ** np.arange(16) % 4
    return ["".join(row) + "-1" for row in letters[digits]]
