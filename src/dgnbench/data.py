"""The standard form of a dataset, and the checks that bring data to it.

Standard form: `X` is CSR float32 of raw integer counts; cell ids are unique; `obs["batch"]` and
`obs["cell_type"]` are categorical where the dataset has them; no cell and no gene is all zero. With
a second modality a MuData whose modalities hold the same cells in the same order.
"""

from __future__ import annotations

import importlib.util
import inspect
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dgnbench.cards import DatasetCard
from dgnbench.contract import DgnbenchError

if TYPE_CHECKING:
    from anndata import AnnData

LOG = logging.getLogger(__name__)


class DataError(DgnbenchError):
    """Data that are not, and cannot safely be brought, to the standard form."""


def load(card: DatasetCard, params: Mapping[str, Any]) -> Any:
    """Load a dataset and bring it to the standard form.

    Parameters
    ----------
    card
        The dataset's card, or that of a user's own file.
    params
        The card's parameters with the variant's overrides.

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
    data = _load_own(card) if card.path is not None else _load_component(card, params)
    if multimodal != hasattr(data, "mod"):
        wanted = "a MuData" if multimodal else "an AnnData"
        raise DataError(f"dataset {card.id}: wanted {wanted}, got {type(data).__name__}")
    parts = {name: data[name].copy() for name in card.modalities} if multimodal else {"rna": data}
    for name, part in parts.items():
        parts[name] = _standard(part, card, name)
    rna = parts["rna"]
    for key in ("batch", "cell_type"):
        if key in card.has:
            _check_column(rna, key, card)
    if "mean" in card.has and "mean" not in rna.layers:
        raise DataError(f'dataset {card.id}: the card says `mean`, but there is no layers["mean"]')
    data = _same_cells(parts, card) if multimodal else rna
    if not params or params == dict(card.params):
        _check_expected(data, card)
    return data


def _mudata() -> Any:
    """mudata, set to leave the columns of the modalities in the modalities (its coming default)."""
    import mudata

    mudata.set_options(pull_on_update=False)
    return mudata


def _load_component(card: DatasetCard, params: Mapping[str, Any]) -> Any:
    spec = importlib.util.spec_from_file_location(card.id, card.folder / "dataset.py")
    if spec is None or spec.loader is None:
        raise DataError(f"dataset {card.id}: {card.folder / 'dataset.py'} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    known = inspect.signature(module.load).parameters
    missing = [name for name in params if name not in known]
    if missing:
        raise DataError(
            f"dataset {card.id}: load() has no parameter '{missing[0]}' as the card says"
        )
    return module.load({}, **params)


def _load_own(card: DatasetCard) -> Any:
    """The user's file, its columns and modalities under the standard names."""
    assert card.path is not None
    columns = dict(card.columns or {})
    try:
        if card.path.suffix == ".h5mu":
            data = _mudata().read_h5mu(card.path)
        else:
            import anndata

            data = anndata.read_h5ad(card.path)
    except OSError as error:
        raise DataError(
            f"dataset {card.id}: {card.path} cannot be read as {card.path.suffix}: {error}; "
            "is the file complete?"
        ) from None
    if card.path.suffix == ".h5mu":
        rna_name = columns.get("rna", "rna")
        others = [name for name in data.mod if name != rna_name]
        second = columns.get("second_modality", others[0] if len(others) == 1 else None)
        for name in (rna_name, second):
            if name not in data.mod:
                raise DataError(
                    f"dataset {card.id}: wanted two modalities, `rna:` and `second_modality:`; got "
                    f"{rna_name!r} and {second!r}, the file has {', '.join(data.mod)}"
                )
        rna = data[rna_name].copy()
        both = data[second].obs_names.intersection(rna.obs_names)
        if len(both) < rna.n_obs:
            LOG.warning(
                "dataset %s: %d of %d cells have both modalities; the others are left out",
                card.id, len(both), rna.n_obs,
            )  # fmt: skip
        rna = rna[both].copy()
        for key in ("batch", "cell_type"):
            if key in columns and columns[key] not in rna.obs and columns[key] in data.obs:
                rna.obs[columns[key]] = data.obs.loc[both, columns[key]].to_numpy()
        _rename(rna, columns, card)
        return _mudata().MuData({"rna": rna, card.modalities[1]: data[second][both].copy()})
    if "layer" in columns:
        if columns["layer"] not in data.layers:
            raise DataError(
                f"dataset {card.id}: no layer '{columns['layer']}' in {card.path}; "
                f"there are: {', '.join(data.layers) or 'none'}"
            )
        data.X = data.layers[columns["layer"]]
    _rename(data, columns, card)
    return data


def _rename(data: AnnData, columns: Mapping[str, str], card: DatasetCard) -> None:
    chosen = {}
    for key in ("batch", "cell_type"):
        if key in columns:
            if columns[key] not in data.obs:
                raise DataError(
                    f"dataset {card.id}: no column '{columns[key]}' in obs of {card.path} "
                    f"(`{key}:` of the config); there are: {', '.join(data.obs.columns) or 'none'}"
                )
            chosen[key] = data.obs[columns[key]].astype("category")
    data.obs = data.obs[[]].copy()
    for key, column in chosen.items():
        data.obs[key] = column


def _standard(data: AnnData, card: DatasetCard, modality: str) -> AnnData:
    from anndata import AnnData
    from scipy import sparse

    where = f"dataset {card.id}" + (f", modality {modality}" if len(card.modalities) > 1 else "")
    for axis, names in (("cell", data.obs_names), ("feature", data.var_names)):
        if not names.is_unique:
            twice = names[names.duplicated()]
            raise DataError(
                f"{where}: {len(twice)} duplicated {axis} ids, the first '{twice[0]}'; wanted unique "
                f"ones: make them so with `adata.{'obs' if axis == 'cell' else 'var'}_names_make_unique()`"
            )
    if data.X is None:
        raise DataError(
            f"{where}: X is empty; wanted raw counts: name their `layer:` in the config"
        )
    counts = sparse.csr_matrix(data.X)
    if counts.nnz and not np.isfinite(counts.data).all():
        raise DataError(f"{where}: X holds values that are not finite; wanted raw integer counts")
    if counts.nnz and (counts.data < 0).any():
        raise DataError(
            f"{where}: X holds negative values (smallest {counts.data.min():.4g}); "
            "wanted raw counts, not scaled ones; name the counts' `layer:` in the config"
        )
    broken = counts.data[counts.data != np.round(counts.data)]
    if len(broken):
        raise DataError(
            f"{where}: X holds {len(broken)} values that are not integers, the first {broken[0]:.6g}; "
            "wanted raw counts, not normalised ones; name the counts' `layer:` in the config"
        )
    counts = counts.astype(np.float32)
    counts.eliminate_zeros()
    counts.sort_indices()
    declared = [key for key in ("batch", "cell_type") if key in card.has and key in data.obs]
    mean = data.layers["mean"] if "mean" in card.has and "mean" in data.layers else None
    # A file may hold anything else; what is not declared does not come along.
    data = AnnData(counts, obs=data.obs[declared].copy(), var=data.var[[]].copy())
    if mean is not None:
        data.layers["mean"] = mean
    genes = np.asarray(counts.sum(axis=0)).ravel() > 0
    cells = np.asarray(counts.sum(axis=1)).ravel() > 0
    if not genes.all():
        LOG.warning("%s: %d features without a count are left out", where, int((~genes).sum()))
    if not cells.all() and modality == "rna":
        LOG.warning("%s: %d cells without a count are left out", where, int((~cells).sum()))
    keep_cells = cells if modality == "rna" else np.ones_like(cells)
    data = data[keep_cells, genes].copy()
    if data.n_obs < 2 or data.n_vars < 2:
        raise DataError(
            f"{where}: {data.n_obs} cells x {data.n_vars} features with counts are left"
        )
    return data


def _check_column(data: AnnData, key: str, card: DatasetCard) -> None:
    if key not in data.obs:
        raise DataError(f'dataset {card.id}: the card says `{key}`, but there is no obs["{key}"]')
    column = data.obs[key]
    if column.isna().any():
        raise DataError(
            f"dataset {card.id}: {int(column.isna().sum())} cells have no {key}; wanted one for "
            "every cell: drop them or name them 'unknown'"
        )
    data.obs[key] = column.astype(str).astype("category")
    n = data.obs[key].nunique()
    if n < 2:
        raise DataError(
            f"dataset {card.id}: obs column for `{key}` has one value only "
            f"('{data.obs[key].iloc[0]}'); wanted at least two: leave `{key}:` out of the config"
        )


def _same_cells(parts: Mapping[str, AnnData], card: DatasetCard) -> Any:
    rna, second = parts["rna"], parts[card.modalities[1]]
    missing = rna.obs_names.difference(second.obs_names)
    if len(missing):
        raise DataError(
            f"dataset {card.id}: {len(missing)} cells of rna are not in {card.modalities[1]}, "
            f"the first '{missing[0]}'; wanted the same cells in both"
        )
    return _mudata().MuData({"rna": rna, card.modalities[1]: second[rna.obs_names].copy()})


def describe(data: Any) -> dict[str, int]:
    """The numbers that a card may promise: cells, genes, second features, batches, cell types."""
    rna = data["rna"] if hasattr(data, "mod") else data
    numbers = {"n_cells": rna.n_obs, "n_genes": rna.n_vars}
    if hasattr(data, "mod"):
        numbers["n_second"] = next(data[m].n_vars for m in data.mod if m != "rna")
    for key, name in (("batch", "n_batches"), ("cell_type", "n_cell_types")):
        if key in rna.obs:
            numbers[name] = int(rna.obs[key].nunique())
    return numbers


def _check_expected(data: Any, card: DatasetCard) -> None:
    found = describe(data)
    wrong = [
        f"{name}: the card says {wanted}, the data have {found.get(name)}"
        for name, wanted in card.expected.items()
        if found.get(name) != wanted
    ]
    if wrong:
        raise DataError(f"dataset {card.id}: {'; '.join(wrong)}")


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
