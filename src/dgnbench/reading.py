"""Reading public files: each format to an AnnData of counts, without more memory than the counts.

For the ``load(files)`` of a dataset. Every function says in its error which columns, layers or genes
there are, because a card is often written before anybody could see the file.
"""

from __future__ import annotations

import gzip
import logging
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dgnbench.contract import DgnbenchError

if TYPE_CHECKING:
    import h5py
    import pandas as pd
    from anndata import AnnData
    from mudata import MuData
    from scipy.sparse import csr_matrix

LOG = logging.getLogger(__name__)
BLOCK = 1 << 26  # values read at a time from a dense matrix


class ReadError(DgnbenchError):
    """A file that lacks what was asked of it."""


def read_h5ad(
    path: Path, columns: Mapping[str, str] | None = None, keep: Sequence[str] = ()
) -> AnnData:
    """Counts and named columns of an .h5ad; nothing else of the file is read.

    Parameters
    ----------
    path
        The file; of any version of the format, dense or sparse.
    columns
        What the file calls things: `counts` (``X``, ``raw``, ``raw_or_X`` or ``layers/<name>``;
        default X), `spatial` (a key of obsm, or two columns of obs with a comma), and any of
        `batch`, `cell_type`, `condition`, `time`, `pseudotime`, `doublet` (a column of obs).
    keep
        Further columns of obs, wanted under their own names.

    Returns
    -------
    AnnData
        Cells x genes, CSR float32, with the columns under their standard names.

    Raises
    ------
    ReadError
        If the file has no such layer or column; lists those it has.
    """
    from anndata import AnnData

    columns = dict(columns or {})
    place = columns.pop("counts", "X")
    with _opened(path) as file:
        raw = next((f"raw{mark}" for mark in "/." if f"raw{mark}X" in file), None)  # "." before 0.7
        if place == "raw_or_X":
            place = "raw" if raw else "X"
        node = file.get(f"{raw}X" if place == "raw" else place)
        if node is None:
            layers = ", ".join(f"layers/{name}" for name in file.get("layers", {})) or "no layers"
            raise ReadError(
                f"{path.name}: no counts at '{place}'; there are: X, "
                + ("raw, " if raw else "")
                + layers
            )
        var = _frame(file[f"{raw}var" if place == "raw" else "var"])
        data = AnnData(read_matrix(node), obs=_frame(file["obs"]), var=var)
        spatial = columns.get("spatial")
        if spatial is not None and "," not in spatial:
            data.obsm["spatial"] = _dense(_obsm(file, spatial, "places", path.name))
    return name_columns(data, columns, path.name, keep)


def read_h5ad_with_second(
    path: Path, names: Mapping[str, str], columns: Mapping[str, str], keep: Sequence[str] = ()
) -> MuData:
    """An .h5ad whose second modality lies in obsm, as scvi-tools keeps proteins.

    Parameters
    ----------
    path
        The file.
    names
        Standard name of each modality, and the file's; of the second one ``obsm/<key>``. Features
        that have no names there have them in ``uns/<standard name>_names``, or else get numbers.
    columns, keep
        As for `read_h5ad`.
    """
    import pandas as pd
    from anndata import AnnData
    from mudata import MuData
    from scipy import sparse

    (first, _), (second, place) = names.items()
    data = read_h5ad(path, columns, keep)
    with _opened(path) as file:
        values = _obsm(file, place.removeprefix("obsm/"), "second modality", path.name)
        known = file.get(f"uns/{second}_names")
        known = None if known is None else [_word(name) for name in np.ravel(known[()])]
    if not isinstance(values, pd.DataFrame):
        values = _dense(values)
        numbered = [f"{second}_{i}" for i in range(values.shape[1])]
        values = pd.DataFrame(values, columns=known or numbered)
    other = AnnData(sparse.csr_matrix(values.to_numpy(dtype=np.float32)))
    other.obs_names, other.var_names = data.obs_names, [str(name) for name in values.columns]
    return MuData({first: data, second: other})


def read_h5ad_by_type(path: Path, types: Mapping[str, str], columns: Mapping[str, str]) -> MuData:
    """An .h5ad with two modalities side by side, told apart by ``var["feature_types"]``.

    Parameters
    ----------
    path
        The file.
    types
        Standard name of each modality, and its feature type.
    columns
        As for `read_h5ad`.
    """
    data = read_h5ad(path, columns)
    parts = _modalities(data, types, path.name)
    for name in list(types)[1:]:
        parts[name].obs = parts[name].obs[[]].copy()
    return parts


def name_columns(
    data: AnnData, columns: Mapping[str, str], where: str, keep: Sequence[str] = ()
) -> AnnData:
    """Give columns of obs their standard names, and drop the others but those of `keep`.

    Raises
    ------
    ReadError
        If one is not there; lists those that are.
    """
    from dgnbench.cards import OBS

    def column(key: str, name: str) -> pd.Series:
        if name not in data.obs:
            raise ReadError(
                f"{where}: no column '{name}' in obs (for `{key}`); "
                f"there are: {', '.join(data.obs.columns) or 'none'}"
            )
        values: pd.Series = data.obs[name]
        return values

    chosen = {key: column(key, columns[key]) for key in OBS if key in columns}
    chosen |= {name: column(name, name) for name in keep}
    if "," in columns.get("spatial", ""):
        names = [name.strip() for name in columns["spatial"].split(",")]
        data.obsm["spatial"] = np.column_stack([column("spatial", name) for name in names])
    data.obs = data.obs[[]].copy()
    for key, values in chosen.items():
        data.obs[key] = values
    return data


def only_labelled(data: AnnData, *keys: str, unlabelled: Sequence[str] = ()) -> AnnData:
    """The cells that have a value in each of some columns of obs; says how many it leaves out.

    Parameters
    ----------
    data
        With the columns.
    keys
        Names of the columns.
    unlabelled
        Values that stand for none.
    """
    lacking = [data.obs[key].isna() | data.obs[key].isin(unlabelled) for key in keys]
    left_out = np.any(lacking, axis=0)
    if left_out.any():
        LOG.warning("%d cells without %s are left out", left_out.sum(), " or ".join(keys))
    return data[~left_out].copy()


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    import h5py

    try:
        with h5py.File(path) as file:
            yield file
    except OSError as error:
        raise ReadError(
            f"{path.name} cannot be read as HDF5: {error}; is the file complete?"
        ) from None


def _frame(node: Any) -> pd.DataFrame:
    """obs or var of any version of the format."""
    import h5py
    import pandas as pd
    from anndata.io import read_elem

    if not isinstance(node, h5py.Dataset):
        frame: pd.DataFrame = read_elem(node)
        return frame
    table = pd.DataFrame.from_records(node[()])  # anndata before 0.7: one compound table
    for name in table.select_dtypes(object):
        table[name] = [_word(value) for value in table[name]]
    for name in list(table.columns):  # categories lay in uns, a single one without its list
        levels = node.file.get(f"uns/{name}_categories")
        if levels is not None and table[name].dtype.kind in "iu":
            words = [str(_word(value)) for value in np.ravel(levels[()])]
            table[name] = pd.Categorical.from_codes(table[name].to_numpy(), pd.Index(words))
    table = table.set_index(table.columns[0])
    table.index = table.index.astype(str)
    return table


def _word(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _obsm(file: h5py.File, key: str, wanted: str, where: str) -> Any:
    """What obsm of any version of the format holds under a key, as it is."""
    import h5py
    from anndata.io import read_elem

    node = file.get("obsm", {})
    old = isinstance(node, h5py.Dataset)  # anndata before 0.7: one compound table
    there = node.dtype.names if old else tuple(node)
    if key not in there:
        named = ", ".join(f"obsm/{name}" for name in there) or "none"
        raise ReadError(f"{where}: no {wanted} at 'obsm/{key}'; there are: {named}")
    return node[key] if old else read_elem(node[key])


def _dense(values: Any) -> np.ndarray:
    return np.asarray(values.toarray() if hasattr(values, "toarray") else values)


def read_matrix(node: h5py.Group | h5py.Dataset) -> csr_matrix:
    """A matrix of an HDF5 file as CSR float32; a dense one is read in blocks of rows."""
    import h5py
    from scipy import sparse

    if isinstance(node, h5py.Dataset):
        step = max(1, BLOCK // max(1, node.shape[1]))
        blocks = [
            sparse.csr_matrix(node[start : start + step].astype(np.float32))
            for start in range(0, node.shape[0], step)
        ]
        return sparse.vstack(blocks, format="csr") if len(blocks) > 1 else blocks[0]
    kind = node.attrs.get("encoding-type", node.attrs.get("h5sparse_format", "csr"))
    kind = kind.decode() if isinstance(kind, bytes) else kind
    shape = tuple(int(n) for n in node.attrs.get("shape", node.attrs.get("h5sparse_shape")))
    made = sparse.csc_matrix if kind.startswith("csc") else sparse.csr_matrix
    return sparse.csr_matrix(made(_compressed(node), shape=shape))


def _compressed(node: h5py.Group) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """data (float32), indices and indptr, converted while they are read."""
    small = len(node["data"]) < np.iinfo(np.int32).max
    index = np.int32 if small else np.int64
    return (
        node["data"].astype(np.float32)[:],
        node["indices"].astype(index)[:],
        node["indptr"].astype(index)[:],
    )


def read_h5mu(path: Path, names: Mapping[str, str], columns: Mapping[str, str]) -> MuData:
    """Two modalities of an .h5mu.

    Parameters
    ----------
    path
        The file.
    names
        Standard name of each modality, and the file's name of it.
    columns
        As for `read_h5ad`; a column is looked for in the first modality, then among all cells.
    """
    from mudata import MuData, read_h5mu

    data = read_h5mu(path)
    for name in names.values():
        if name not in data.mod:
            raise ReadError(f"{path.name}: no modality '{name}'; there are: {', '.join(data.mod)}")
    parts = {standard: data[name].copy() for standard, name in names.items()}
    first = parts[next(iter(names))]
    for key, name in columns.items():
        if key not in ("counts", "spatial") and name not in first.obs and name in data.obs:
            first.obs[name] = data.obs.loc[first.obs_names, name].to_numpy()
    for standard, part in parts.items():
        place = columns.get("counts", "X")
        if place.startswith("layers/"):
            layer = place.removeprefix("layers/")
            if layer not in part.layers:
                there = ", ".join(part.layers) or "none"
                raise ReadError(f"{path.name}: {standard}: no layer '{layer}'; there are: {there}")
            part.X = part.layers[layer]
        elif place == "raw" or (place == "raw_or_X" and part.raw is not None):
            parts[standard] = part.raw.to_adata()
    name_columns(parts[next(iter(names))], columns, path.name)
    return MuData(parts)


def read_10x_h5(path: Path, wanted: Mapping[str, str] | None = None) -> Any:
    """Counts of a 10x Genomics .h5, of Cell Ranger 2 or later.

    Parameters
    ----------
    path
        The file.
    wanted
        Standard name of each modality, and its feature type: ``{"rna": "Gene Expression",
        "atac": "Peaks"}``. One: an AnnData. Two: a MuData. None: the genes.

    Raises
    ------
    ReadError
        If there are no features of a type; lists the types.
    """
    import scanpy

    data = scanpy.read_10x_h5(path, gex_only=False)
    return _modalities(data, wanted, path.name)


def read_10x_mtx(path: Path, wanted: Mapping[str, str] | None = None) -> Any:
    """Counts of a 10x Genomics matrix folder in a .tar.gz; parameters as `read_10x_h5`."""
    import scanpy

    with unpacked(path) as folder:
        matrix = _only(folder, "matrix.mtx*", path)
        data = scanpy.read_10x_mtx(matrix.parent, make_unique=False, gex_only=False)
    return _modalities(data, wanted, path.name)


def read_10x_peaks(path: Path) -> AnnData:
    """Counts of a 10x Genomics peak matrix folder (matrix.mtx, peaks.bed, barcodes.tsv) in a .tar.gz."""
    import pandas as pd

    with unpacked(path) as folder:
        matrix = _only(folder, "matrix.mtx*", path)
        peaks = pd.read_csv(_only(folder, "peaks.bed*", path), sep="\t", header=None, comment="#")
        cells = pd.read_csv(_only(folder, "barcodes.tsv*", path), sep="\t", header=None)[0]
        names = peaks[0].astype(str) + ":" + peaks[1].astype(str) + "-" + peaks[2].astype(str)
        return read_mtx(matrix, cells, names)


def read_visium(matrix: Path, spatial: Path) -> AnnData:
    """Spots under tissue of a 10x Visium run, their places in pixels of the full image (x, y).

    Parameters
    ----------
    matrix
        ``filtered_feature_bc_matrix.h5``.
    spatial
        ``spatial.tar.gz`` with ``tissue_positions_list.csv``, or ``tissue_positions.csv`` of Space
        Ranger 2.
    """
    import pandas as pd

    data = read_10x_h5(matrix)
    with unpacked(spatial) as folder:
        places = _only(folder, "tissue_positions*.csv", spatial)
        header = 0 if places.name == "tissue_positions.csv" else None
        table = pd.read_csv(places, header=header, index_col=0)
    missing = data.obs_names.difference(table.index)
    if len(missing):
        raise ReadError(
            f"{spatial.name}: {len(missing)} spots have no place, the first '{missing[0]}'"
        )
    # behind the barcode: in_tissue, array_row, array_col, pixel row, pixel column
    data.obsm["spatial"] = table.loc[data.obs_names].iloc[:, [4, 3]].to_numpy(dtype=float)
    return data


def _only(folder: Path, pattern: str, archive: Path) -> Path:
    found = sorted(folder.rglob(pattern))
    if len(found) != 1:
        there = ", ".join(str(file.relative_to(folder)) for file in sorted(folder.rglob("*.*")))
        raise ReadError(f"{archive.name}: wanted one {pattern}, found {len(found)}; it has {there}")
    return found[0]


def _modalities(data: AnnData, wanted: Mapping[str, str] | None, where: str) -> Any:
    from mudata import MuData

    wanted = wanted or {"rna": "Gene Expression"}
    types = (
        data.var["feature_types"].astype(str)
        if "feature_types" in data.var
        else np.full(data.n_vars, "Gene Expression")
    )
    parts = {}
    for name, feature_type in wanted.items():
        chosen = np.asarray(types == feature_type)
        if not chosen.any():
            there = ", ".join(sorted(set(types)))
            raise ReadError(f"{where}: no features of type '{feature_type}'; there are: {there}")
        parts[name] = data[:, chosen].copy()
        parts[name].var_names_make_unique()  # gene symbols repeat; 10x keeps the ids in var
    return MuData(parts) if len(parts) > 1 else next(iter(parts.values()))


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A .tar, .tar.gz or .zip in a temporary folder; members that lead out of it are refused."""
    import zipfile

    with tempfile.TemporaryDirectory(prefix="dgnbench-") as name:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                archive.extractall(name)
        else:
            with tarfile.open(path) as archive:
                archive.extractall(name, filter="data")
        yield Path(name)


@contextmanager
def gunzipped(path: Path) -> Iterator[Path]:
    """A .gz decompressed into a temporary file, whose name lacks the .gz."""
    with tempfile.TemporaryDirectory(prefix="dgnbench-") as folder:
        plain = Path(folder) / path.name.removesuffix(".gz")
        with gzip.open(path) as packed, plain.open("wb") as handle:
            shutil.copyfileobj(packed, handle, 1 << 22)
        yield plain


def read_genes_by_cells(path: Path, separator: str = ",", rows: int = 2000) -> AnnData:
    """Counts of a text table with a gene a row, read a block of genes at a time.

    Parameters
    ----------
    path
        Plain or .gz. The header may lack the name of the first column, as R writes it.
    separator
        Between columns.
    rows
        Genes read at a time: the dense part that is in memory.

    Returns
    -------
    AnnData
        Cells x genes, CSR float32.
    """
    import pandas as pd
    from anndata import AnnData
    from scipy import sparse

    blocks, genes, cells = [], [], None
    reader = pd.read_csv(path, sep=separator, index_col=0, chunksize=rows, low_memory=False)
    for block in reader:
        cells = list(block.columns.astype(str))
        genes += list(block.index.astype(str))
        blocks.append(sparse.csr_matrix(block.to_numpy(dtype=np.float32)))
    if cells is None:
        raise ReadError(f"{path.name}: no rows")
    data = AnnData(sparse.csr_matrix(sparse.vstack(blocks, format="csc").T))
    data.obs_names, data.var_names = cells, genes
    data.var_names_make_unique()
    return data


def read_table(
    path: Path, separator: str = ",", index: str | None = None, columns: Sequence[str] = ()
) -> pd.DataFrame:
    """A table with a cell or feature a row; the header may lack the first column, as R writes it.

    Parameters
    ----------
    path
        Plain or .gz.
    separator
        Between columns.
    index
        The column that holds the ids; the first one where it is not given.
    columns
        Those that must be there.

    Raises
    ------
    ReadError
        If there is no such column; lists those that are.
    """
    import pandas as pd

    table = pd.read_csv(path, sep=separator, index_col=0, low_memory=False)
    there = [str(name) for name in (table.index.name, *table.columns) if name is not None]
    for name in (*columns, *([] if index is None else [index])):
        if name not in there:
            raise ReadError(f"{path.name}: no column '{name}'; there are: {', '.join(there)}")
    if index not in (None, table.index.name):
        table = table.set_index(index)
    table.index = table.index.astype(str)
    return table


def read_mtx(matrix: Path, cells: Iterable[str], features: Iterable[str]) -> AnnData:
    """Counts of a Matrix Market file, plain or .gz, features x cells or the reverse.

    Raises
    ------
    ReadError
        If its shape is that of neither.
    """
    from anndata import AnnData
    from scipy import io, sparse

    cells, features = [str(c) for c in cells], [str(f) for f in features]
    with gzip.open(matrix) if matrix.suffix == ".gz" else matrix.open("rb") as handle:
        counts = io.mmread(handle)
    if counts.shape == (len(features), len(cells)):
        counts = counts.T
    if counts.shape != (len(cells), len(features)):
        raise ReadError(
            f"{matrix.name}: a matrix of {counts.shape[0]} x {counts.shape[1]} for "
            f"{len(cells)} cells and {len(features)} features"
        )
    data = AnnData(sparse.csr_matrix(counts, dtype=np.float32))
    data.obs_names, data.var_names = cells, features
    data.var_names_make_unique()
    return data


def read_loom(path: Path, columns: Mapping[str, str] | None = None) -> AnnData:
    """Counts and named columns of a .loom (genes x cells), read in blocks of genes.

    Parameters
    ----------
    path
        The file: HDF5 with `matrix`, `row_attrs` and `col_attrs` (loom specification 3).
    columns
        As for `read_h5ad`; `counts` may be ``layers/<name>``.
    """
    import pandas as pd
    from anndata import AnnData

    columns = dict(columns or {})
    place = columns.pop("counts", "X")
    with _opened(path) as file:
        node = file.get("matrix" if place == "X" else place)
        if node is None:
            there = ", ".join(f"layers/{name}" for name in file.get("layers", {})) or "no layers"
            raise ReadError(f"{path.name}: no counts at '{place}'; there are: X, {there}")
        counts = read_matrix(node).T.tocsr()
        obs, var = (
            pd.DataFrame({name: _text(values[:]) for name, values in file[group].items()})
            for group in ("col_attrs", "row_attrs")
        )
    data = AnnData(counts)
    for frame, names, key in (
        (obs, ("CellID", "obs_names"), "obs_names"),
        (var, ("Gene", "var_names"), "var_names"),
    ):
        own = next((n for n in names if n in frame), None)
        if own is None:
            raise ReadError(
                f"{path.name}: wanted names in {' or '.join(names)}; "
                f"there are: {', '.join(map(str, frame))}"
            )
        setattr(data, key, list(frame[own].astype(str)))
    for name in obs:
        data.obs[name] = obs[name].to_numpy()
    return name_columns(data, columns, path.name)


def _text(values: np.ndarray) -> Any:
    return [_word(value) for value in values]


def read_gene_sets(path: Path) -> dict[str, list[str]]:
    """Gene sets of a .gmt: name, description, genes, with tabs between."""
    sets = {}
    for line in path.read_text().splitlines():
        name, _, *genes = line.split("\t")
        sets[name] = [gene for gene in genes if gene]
    return sets


def set_gene_sets(data: AnnData, sets: Mapping[str, Iterable[str]], smallest: int = 1) -> None:
    """Write gene sets as ``varm["gene_sets"]`` (genes x sets, sparse) and their names into uns.

    Parameters
    ----------
    data
        Whose `var_names` are the names used in the sets.
    sets
        Genes by set; genes that the data lack are left out.
    smallest
        Sets with fewer genes in the data are left out.
    """
    from scipy import sparse

    positions = {gene: i for i, gene in enumerate(data.var_names)}
    found = {
        name: sorted({positions[g] for g in genes if g in positions})
        for name, genes in sets.items()
    }
    found = {name: genes for name, genes in found.items() if len(genes) >= smallest}
    rows = np.concatenate([np.asarray(g, dtype=int) for g in found.values()] or [np.empty(0, int)])
    members = np.repeat(np.arange(len(found)), [len(g) for g in found.values()])
    data.varm["gene_sets"] = sparse.csr_matrix(
        (np.ones(len(rows), np.float32), (rows, members)), shape=(data.n_vars, len(found))
    )
    data.uns["gene_sets"] = list(found)


def keep_integers(mode: str) -> bool:
    """Whether a dataset that is partly no counts is to be cut down to its counts.

    Parameters
    ----------
    mode
        ``integer_only``, or ``as_distributed`` for the values as they are.
    """
    if mode not in ("integer_only", "as_distributed"):
        raise ReadError(f"counts={mode}: wanted integer_only or as_distributed")
    return mode == "integer_only"


def joined(parts: Mapping[str, AnnData], key: str = "batch") -> AnnData:
    """One AnnData of several, on the genes that all have, with their names in ``obs[key]``.

    Cell ids get the name in front, because barcodes repeat between libraries.
    """
    import anndata

    for name, part in parts.items():
        part.obs_names = [f"{name}:{cell}" for cell in part.obs_names]
        part.obs[key] = name
    return anndata.concat(list(parts.values()), join="inner", merge="same")


def with_table(
    data: AnnData, table: pd.DataFrame, columns: Mapping[str, str], where: str
) -> AnnData:
    """The cells that a table knows, with its columns under their standard names.

    Raises
    ------
    ReadError
        If no cell of the data is in the table: shows an id of each.
    """
    cells = data.obs_names.intersection(table.index)
    if cells.empty:
        raise ReadError(
            f"{where}: no cell of the counts ('{data.obs_names[0]}', …) is in the table "
            f"('{table.index[0]}', …)"
        )
    data = data[cells].copy()
    data.obs = table.loc[cells].copy()
    return name_columns(data, columns, where)
