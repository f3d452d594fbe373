"""The standard form of a dataset, and the checks that bring data to it.

Standard form: `X` is CSR float32 of raw integer counts; cell ids are unique; what the card's `has`
names is there under its standard name (`OBS` of cards.py, `PLACES` below); no cell and no gene is
all zero. With a second modality a MuData whose modalities hold the same cells in the same order.
Nothing else of a file comes along. Counts are held once, or twice while a filter leaves some out.
"""

from __future__ import annotations

import importlib.util
import inspect
import logging
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dgnbench.cards import FILTERS, INTEGER_COUNTS, OBS, DatasetCard
from dgnbench.contract import DgnbenchError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from scipy.sparse import csr_matrix

LOG = logging.getLogger(__name__)
BLOCK = 1 << 24  # values looked at in one go

# What else a dataset may have, and where it lies.
PLACES = {
    "spatial": ("obsm", "spatial"),  # cells x 2 or 3, in the units of the source
    "gene_sets": ("varm", "gene_sets"),  # genes x sets, 0/1, sparse; their names in uns
    "programmes": ("obsm", "programmes"),  # cells x sets of gene_sets: true activities
    "shared_factors": ("obsm", "shared_factors"),  # cells x factors that drive both modalities
    "private_factors": ("obsm", "private_factors"),  # cells x factors that drive the RNA only
    "second_private_factors": ("obsm", "second_private_factors"),  # the same, second modality
    "mean": ("layers", "mean"),  # the noiseless mean
    "mean_without_batch": ("layers", "mean_without_batch"),  # the same, all cells in one batch
}
FLAGS = {"true": True, "1": True, "doublet": True, "false": False, "0": False, "singlet": False}


class DataError(DgnbenchError):
    """Data that are not, and cannot safely be brought, to the standard form."""


def load(card: DatasetCard, params: Mapping[str, Any], raw: Path | None = None) -> Any:
    """Load a dataset and bring it to the standard form.

    Parameters
    ----------
    card
        The dataset's card, or that of a user's own file.
    params
        The card's parameters with the variant's overrides; `FILTERS` may be among them.
    raw
        The folder of the fetched files, for a dataset that has some.

    Returns
    -------
    AnnData, or MuData where the card names two modalities.

    Raises
    ------
    DataError
        With the dataset, the place, what was wanted, what came and how to mend it.
    """
    multimodal = len(card.modalities) > 1
    if multimodal:
        _mudata()  # before a dataset's own code makes one
    filters = {name: params[name] for name in FILTERS if name in params}
    own = {name: value for name, value in params.items() if name not in FILTERS}
    try:
        data = _read(card, own, raw)
    except DataError:
        raise
    except DgnbenchError as error:
        raise DataError(f"dataset {card.id}: {error}") from None
    if multimodal != hasattr(data, "mod"):
        wanted = "a MuData" if multimodal else "an AnnData"
        raise DataError(f"dataset {card.id}: wanted {wanted}, got {type(data).__name__}")
    parts = dict(data.mod) if multimodal else {card.modalities[0]: data}
    for name in card.modalities:
        if name not in parts:
            raise DataError(
                f"dataset {card.id}: the card's modality '{name}' is not among {', '.join(parts)}"
            )
    if own == {name: value for name, value in card.params.items() if name not in FILTERS}:
        _check_expected(parts, card)
    del data
    for name in card.modalities:
        parts[name] = _filtered(_standard(parts.pop(name), card, name), card, name, filters)
    return _same_cells(parts, card) if multimodal else parts[card.modalities[0]]


def _mudata() -> Any:
    """mudata, set to leave the columns of the modalities in the modalities (its coming default)."""
    import mudata

    mudata.set_options(pull_on_update=False)
    return mudata


def _read(card: DatasetCard, params: Mapping[str, Any], raw: Path | None) -> Any:
    if card.path is not None:
        data = _read_file(card.path, card)
        if "gene_sets" in card.columns:
            _add_gene_sets(data, card)
        return data
    if card.files and raw is None:
        raise DataError(f"dataset {card.id}: wanted the folder of its fetched files")
    files = {name: raw / name for name in card.files} if raw is not None else {}
    for file in files.values():
        if not file.is_file():
            raise DataError(
                f"dataset {card.id}: {file} is not there; run `dgnbench fetch {card.id}`"
            )
    if not (card.folder / "dataset.py").is_file():
        (only,) = files.values()  # `dgnbench check` sees to it
        data = _read_file(only, card)
        for part in data.mod.values() if hasattr(data, "mod") else (data,):
            part.var_names_make_unique()  # symbols repeat, and nobody can mend a public file
        return data
    spec = importlib.util.spec_from_file_location(card.id, card.folder / "dataset.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    known = inspect.signature(module.load).parameters
    unknown = [name for name in params if name not in known]
    if unknown:
        raise DataError(
            f"dataset {card.id}: load() has no parameter '{unknown[0]}' as the card says"
        )
    return module.load(files, **params)


def _read_file(path: Path, card: DatasetCard) -> Any:
    """A file that needs no code of its own: the card's `columns` say what is where."""
    from dgnbench import reading

    columns = dict(card.columns)
    names = {card.modalities[0]: columns.pop("rna", card.modalities[0])}
    second = columns.pop("second_modality", None)
    if len(card.modalities) > 1:
        names[card.modalities[1]] = second or card.modalities[1]
    with ExitStack() as stack:
        if path.suffix == ".gz":
            path = stack.enter_context(reading.gunzipped(path))
        match path.suffix:
            case ".h5ad" if second is not None:
                return reading.read_h5ad_with_second(path, names, columns)
            case ".h5ad":
                return reading.read_h5ad(path, columns)
            case ".h5mu":
                data = reading.read_h5mu(path, names, columns)
                return _with_both(data, card)
            case ".loom":
                return reading.read_loom(path, columns)
            case ".h5":
                types = {"rna": "Gene Expression", "atac": "Peaks", "protein": "Antibody Capture"}
                return reading.read_10x_h5(path, {name: types[name] for name in names})
    raise DataError(f"dataset {card.id}: {path.name}: wanted .h5ad, .h5mu, .h5 or .loom")


def _add_gene_sets(data: Any, card: DatasetCard) -> None:
    from dgnbench.reading import read_gene_sets, set_gene_sets

    first = data[card.modalities[0]] if hasattr(data, "mod") else data
    path = Path(card.columns["gene_sets"])
    sets = read_gene_sets(path)
    set_gene_sets(first, sets)
    if not first.uns["gene_sets"]:
        example = next((gene for genes in sets.values() for gene in genes), "nothing")
        raise DataError(
            f"dataset {card.id}: no gene of {path.name} ('{example}', …) is among the data's "
            f"('{first.var_names[0]}', …); wanted the same names in both"
        )


def _with_both(data: Any, card: DatasetCard) -> Any:
    for name in card.modalities:
        _check_unique(data[name], f"dataset {card.id}, modality {name}")
    first, second = (data[name] for name in card.modalities)
    both = first.obs_names.intersection(second.obs_names)
    if len(both) == first.n_obs:
        return data
    if both.empty:
        raise DataError(
            f"dataset {card.id}: no cell is in both modalities: {card.modalities[0]} has "
            f"'{first.obs_names[0]}', …, {card.modalities[1]} '{second.obs_names[0]}', …; wanted the "
            "same ids"
        )
    LOG.warning(
        "dataset %s: %d of %d cells have both modalities; the others are left out",
        card.id, len(both), first.n_obs,
    )  # fmt: skip
    chosen = {name: data[name][both].copy() for name in card.modalities}
    return _mudata().MuData(chosen)


def _check_unique(data: AnnData, where: str) -> None:
    for axis, names in (("cell", data.obs_names), ("feature", data.var_names)):
        if not names.is_unique:
            twice = names[names.duplicated()]
            raise DataError(
                f"{where}: {len(twice)} duplicated {axis} ids, the first '{twice[0]}'; wanted unique "
                f"ones: make them so with `adata.{'obs' if axis == 'cell' else 'var'}_names_make_unique()`"
            )


def _standard(data: AnnData, card: DatasetCard, modality: str) -> AnnData:
    from anndata import AnnData
    from scipy import sparse

    where = f"dataset {card.id}" + (f", modality {modality}" if len(card.modalities) > 1 else "")
    _check_unique(data, where)
    if data.X is None:
        raise DataError(
            f"{where}: X is empty; wanted raw counts: say where they lie with `counts:`"
        )
    counts = sparse.csr_matrix(data.X, dtype=np.float32)
    first = modality == card.modalities[0]
    rest = AnnData(obs=data.obs[[]].copy(), var=data.var[[]].copy())
    if first:
        for key, kind in OBS.items():
            if key in card.has:
                rest.obs[key] = _column(data, key, kind, card)
        for key, (slot, name) in PLACES.items():
            if key in card.has:
                if name not in getattr(data, slot):
                    raise DataError(
                        f'dataset {card.id}: the card says `{key}`, but there is no {slot}["{name}"]'
                    )
                getattr(rest, slot)[name] = getattr(data, slot)[name]
        if "gene_sets" in card.has:
            rest.uns["gene_sets"] = list(data.uns["gene_sets"])
    del data
    audit = _audit(counts, rest.obs.get("batch"), where, integer=INTEGER_COUNTS in card.has)
    if first:
        rest.uns["counts_audit"] = audit
    counts.sum_duplicates()
    counts.eliminate_zeros()

    genes = np.bincount(counts.indices, minlength=counts.shape[1]) > 0
    cells = np.diff(counts.indptr) > 0
    if not genes.all():
        LOG.warning("%s: %d features without a count are left out", where, int((~genes).sum()))
    if not cells.all() and first:
        LOG.warning("%s: %d cells without a count are left out", where, int((~cells).sum()))
    cells = cells if first else np.ones_like(cells)
    rest = rest[cells, genes].copy() if not (cells.all() and genes.all()) else rest
    rest.X = _without_empty(counts, cells, genes)
    if rest.n_obs < 2 or rest.n_vars < 2:
        raise DataError(
            f"{where}: {rest.n_obs} cells x {rest.n_vars} features with counts are left"
        )
    return rest


def _blocks(indptr: np.ndarray) -> list[tuple[int, int]]:
    """Ranges of rows that hold about `BLOCK` values each."""
    n = len(indptr) - 1
    ends = np.searchsorted(indptr, np.arange(BLOCK, indptr[-1], BLOCK)).clip(1, n)
    edges = np.unique([0, *ends, n])
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def _audit(
    counts: csr_matrix, batch: pd.Series | None, where: str, *, integer: bool
) -> pd.DataFrame:
    """By batch: cells, stored values, values that are not integers; raises on values of no use."""
    import pandas as pd

    fractional = np.zeros(counts.shape[0], dtype=np.int64)
    example = None
    for start, end in _blocks(counts.indptr):
        edges = counts.indptr[start : end + 1] - counts.indptr[start]
        values = counts.data[counts.indptr[start] : counts.indptr[end]]
        if not np.isfinite(values).all():
            raise DataError(
                f"{where}: X holds values that are not finite; wanted raw integer counts"
            )
        if len(values) and values.min() < 0:
            raise DataError(
                f"{where}: X holds negative values (smallest {values.min():.4g}); "
                "wanted raw counts, not scaled ones; say where they lie with `counts:`"
            )
        broken = values != np.rint(values)
        if example is None and broken.any():
            example = values[broken][0]
        fractional[start:end] = np.diff(np.concatenate([[0], np.cumsum(broken)])[edges])
    names = pd.Series("all", index=range(counts.shape[0])) if batch is None else batch
    frame = pd.DataFrame(
        {"n_cells": 1, "n_values": np.diff(counts.indptr), "n_fractional": fractional}
    )
    audit = frame.groupby(np.asarray(names.astype(str))).sum()
    audit.index.name = "batch"
    guilty = audit[audit["n_fractional"] > 0]
    if integer and len(guilty):
        by_batch = "" if batch is None else "; by batch: " + ", ".join(
            f"{name} {row.n_fractional} of {row.n_values}" for name, row in guilty.iterrows()
        )  # fmt: skip
        raise DataError(
            f"{where}: X holds {fractional.sum()} values that are not integers, the first "
            f"{example:.6g}{by_batch}; wanted raw counts, not normalised ones; say where they lie "
            "with `counts:`"
        )
    return audit


def _without_empty(counts: csr_matrix, cells: np.ndarray, genes: np.ndarray) -> csr_matrix:
    """Leave out rows and columns that hold nothing; the stored values stay where they are."""
    from scipy import sparse

    position = (np.cumsum(genes) - 1).astype(counts.indices.dtype)
    for start in range(0, len(counts.indices), BLOCK):
        counts.indices[start : start + BLOCK] = position[counts.indices[start : start + BLOCK]]
    indptr = np.concatenate([[0], counts.indptr[1:][cells]]).astype(counts.indptr.dtype)
    shape = (int(cells.sum()), int(genes.sum()))
    made = sparse.csr_matrix(shape, dtype=np.float32)
    made.data, made.indices, made.indptr = counts.data, counts.indices, indptr
    return made


def _column(data: AnnData, key: str, kind: str, card: DatasetCard) -> Any:
    if key not in data.obs:
        raise DataError(f'dataset {card.id}: the card says `{key}`, but there is no obs["{key}"]')
    column = data.obs[key]
    if column.isna().any():
        raise DataError(
            f"dataset {card.id}: {int(column.isna().sum())} cells have no {key}; wanted one for "
            "every cell: drop them or name them 'unknown'"
        )
    if kind == "category":
        column = column.astype(str).astype("category")
        if column.nunique() < 2:
            raise DataError(
                f"dataset {card.id}: obs column for `{key}` has one value only "
                f"('{column.iloc[0]}'); wanted at least two: leave `{key}:` out of the config"
            )
        return column
    if kind == "flag":
        values = column.astype(str).str.lower()
        unknown = sorted(set(values) - set(FLAGS))
        if unknown:
            raise DataError(
                f"dataset {card.id}: obs column for `{key}` holds '{unknown[0]}'; "
                f"wanted one of {', '.join(FLAGS)}"
            )
        return values.map(FLAGS).astype(bool)
    try:
        return column.astype(float)
    except ValueError as error:
        raise DataError(
            f"dataset {card.id}: obs column for `{key}`: wanted numbers: {error}"
        ) from None


def _filtered(
    data: AnnData, card: DatasetCard, modality: str, filters: Mapping[str, int]
) -> AnnData:
    """Leave out genes and cells as the `FILTERS` among the parameters say, in their order."""
    first = modality == card.modalities[0]
    if "max_cells" in filters and first and filters["max_cells"] < data.n_obs:
        rng = np.random.default_rng(0)
        data = data[np.sort(rng.choice(data.n_obs, filters["max_cells"], replace=False))].copy()
    if "min_genes" in filters and first:
        data = data[np.diff(data.X.indptr) >= filters["min_genes"]].copy()
    if "min_cells" in filters:
        seen = np.bincount(data.X.indices, minlength=data.n_vars)
        data = data[:, seen >= filters["min_cells"]].copy()
    if "n_top_genes" in filters and first and filters["n_top_genes"] < data.n_vars:
        data = data[:, _highly_variable(data, filters["n_top_genes"])].copy()
    if "n_top_second" in filters and not first and filters["n_top_second"] < data.n_vars:
        seen = np.bincount(data.X.indices, minlength=data.n_vars)
        data = data[:, np.sort(np.argsort(-seen, kind="stable")[: filters["n_top_second"]])].copy()
    if first:
        cells = np.diff(data.X.indptr) > 0
        data = data if cells.all() else data[cells].copy()
    if data.n_obs < 2 or data.n_vars < 2:
        said = ", ".join(f"{name}={value}" for name, value in filters.items())
        raise DataError(
            f"dataset {card.id}: {data.n_obs} cells x {data.n_vars} features are left after {said}"
        )
    return data


def _highly_variable(data: AnnData, n: int) -> np.ndarray:
    """The `n` genes of highest dispersion, as Cell Ranger ranks them, within batches if any."""
    import scanpy

    from dgnbench.transforms import log1p_cp10k

    batch = "batch" if "batch" in data.obs else None
    normalised = scanpy.AnnData(log1p_cp10k(data.X), obs=data.obs[[batch] if batch else []].copy())
    table = scanpy.pp.highly_variable_genes(
        normalised, n_top_genes=n, flavor="cell_ranger", batch_key=batch, inplace=False
    )
    return np.asarray(table["highly_variable"], dtype=bool)


def _same_cells(parts: Mapping[str, AnnData], card: DatasetCard) -> Any:
    first, second = (parts[name] for name in card.modalities)
    missing = first.obs_names.difference(second.obs_names)
    if len(missing):
        raise DataError(
            f"dataset {card.id}: {len(missing)} cells of {card.modalities[0]} are not in "
            f"{card.modalities[1]}, the first '{missing[0]}'; wanted the same cells in both"
        )
    if not first.obs_names.equals(second.obs_names):
        second = second[first.obs_names].copy()
    return _mudata().MuData({card.modalities[0]: first, card.modalities[1]: second})


def describe(data: Any) -> dict[str, int]:
    """The numbers that a card may promise: cells, genes, second features, batches, cell types."""
    parts = list(data.mod.values()) if hasattr(data, "mod") else [data]
    numbers = {"n_cells": parts[0].n_obs, "n_genes": parts[0].n_vars}
    if len(parts) > 1:
        numbers["n_second"] = parts[1].n_vars
    for key, name in (
        ("batch", "n_batches"),
        ("cell_type", "n_cell_types"),
        ("condition", "n_conditions"),
    ):
        if key in parts[0].obs:
            numbers[name] = int(parts[0].obs[key].nunique())
    return numbers


def _check_expected(parts: Mapping[str, AnnData], card: DatasetCard) -> None:
    """The card's numbers are those of the data as read, before empty cells and genes go."""
    first = parts[card.modalities[0]]
    found = describe(first)
    if len(card.modalities) > 1:
        found["n_second"] = parts[card.modalities[1]].n_vars
    wrong = [
        f"{name}: the card says {wanted}, the data have {found.get(name)}"
        for name, wanted in card.expected.items()
        if found.get(name) != wanted
    ]
    if wrong:
        raise DataError(
            f"dataset {card.id}: {'; '.join(wrong)}; are these the files that the card means?"
        )


def write(data: Any, path: Path) -> None:
    """Write a prepared dataset as .h5ad or .h5mu, whole or not at all."""
    from dgnbench.storage import whole

    with whole(path) as partial:
        if hasattr(data, "mod"):
            data.write_h5mu(partial)
        else:
            data.write_h5ad(partial)


def read(path: Path) -> Any:
    """Read a prepared dataset."""
    if path.suffix == ".h5mu":
        return _mudata().read_h5mu(path)
    import anndata

    return anndata.read_h5ad(path)
