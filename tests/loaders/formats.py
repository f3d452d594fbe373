"""Writes counts in the formats of public sources, as the programs of their time wrote them."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import mudata
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import io as scipy_io
from scipy import sparse

# ---------------------------------------------------------------- h5ad


def placed(counts: AnnData, place: str = "X") -> AnnData:
    """An AnnData as its authors keep it: counts at `place`, normalised values elsewhere."""
    data = counts.copy()
    normalised = counts.X.copy()
    normalised.data = np.log1p(normalised.data / 3)
    if place.startswith("layers/"):
        data.layers[place.removeprefix("layers/")] = data.X
        data.X = normalised
    elif place in ("raw", "raw_or_X"):
        data.raw = data
        data = data[:, : data.n_vars - 5].copy()  # variable genes only
        data.X = normalised[:, : data.n_vars]
    data.obs["n_counts"] = np.asarray(
        counts.X.sum(axis=1)
    ).ravel()  # further columns that there are
    data.obs["leiden"] = pd.Categorical([str(i % 3) for i in range(data.n_obs)])
    data.uns["neighbors"] = {"params": {"n_neighbors": 15}}
    data.obsm["X_pca"] = np.zeros((data.n_obs, 2), np.float32)
    return data


def write_h5ad(path: Path, data: AnnData) -> None:
    """As anndata writes today."""
    data.write_h5ad(path, compression="gzip")


def write_dense(path: Path, data: AnnData) -> None:
    """The same, with every matrix dense, as the files of scIB."""
    data = data.copy()
    data.X = data.X.toarray()
    for name in data.layers:
        data.layers[name] = data.layers[name].toarray()
    data.write_h5ad(path, compression="gzip")


def write_csc(path: Path, data: AnnData) -> None:
    """The same, with columns compressed, as some of scPerturb."""
    data = data.copy()
    data.X = sparse.csc_matrix(data.X)
    data.write_h5ad(path, compression="gzip")


def write_h5ad_07(path: Path, data: AnnData) -> None:
    """As anndata 0.7: categories in a group of their own, to which the codes refer."""

    def frame(name: str, table: pd.DataFrame) -> None:
        group = file.create_group(name)
        group.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.1.0"})
        group.attrs["_index"] = "_index"
        group.attrs["column-order"] = np.array(list(table.columns), dtype=h5py.string_dtype())
        group.create_dataset("_index", data=list(table.index), dtype=h5py.string_dtype())
        for column in table:
            values = table[column]
            if values.dtype.kind in "OUS":
                values = values.astype("category")
            if values.dtype.name == "category":
                levels = group.require_group("__categories").create_dataset(
                    column, data=list(values.cat.categories), dtype=h5py.string_dtype()
                )
                levels.attrs["ordered"] = False
                codes = group.create_dataset(column, data=values.cat.codes.to_numpy())
                codes.attrs["categories"] = levels.ref
            else:
                group.create_dataset(column, data=values.to_numpy())

    with h5py.File(path, "w") as file:
        _sparse(file, "X", data.X, "encoding-type", "shape", "csr_matrix")
        frame("obs", data.obs)
        frame("var", data.var)
        for name, layer in data.layers.items():
            _sparse(file, f"layers/{name}", layer, "encoding-type", "shape", "csr_matrix")
        for name, values in data.obsm.items():
            file.create_dataset(f"obsm/{name}", data=np.asarray(values))
        if data.raw is not None:
            _sparse(file, "raw/X", data.raw.X, "encoding-type", "shape", "csr_matrix")
            frame("raw/var", data.raw.var)
        file.create_group("uns")


def write_h5ad_06(path: Path, data: AnnData) -> None:
    """As anndata before 0.7: tables of one compound type, categories in uns, `raw.X` at the top."""

    def table(name: str, frame: pd.DataFrame) -> None:
        columns = {"index": np.array(list(frame.index), dtype="S")}
        for column in frame:
            values = frame[column]
            if values.dtype.kind in "OUS":
                values = values.astype("category")
            if values.dtype.name == "category":
                levels = np.array(list(values.cat.categories), dtype="S")
                single = len(levels) == 1  # was written without its list
                file[f"uns/{column}_categories"] = levels[0] if single else levels
                columns[column] = values.cat.codes.to_numpy()
            else:
                columns[column] = values.to_numpy()
        _compound(file, name, columns)

    with h5py.File(path, "w") as file:
        file.create_group("uns")
        _sparse(file, "X", data.X, "h5sparse_format", "h5sparse_shape", "csr")
        table("obs", data.obs)
        table("var", data.var)
        if len(data.obsm):
            _compound(file, "obsm", {name: np.asarray(kept) for name, kept in data.obsm.items()})
        if data.raw is not None:
            _sparse(file, "raw.X", data.raw.X, "h5sparse_format", "h5sparse_shape", "csr")
            table("raw.var", data.raw.var)


def _compound(file: h5py.File, name: str, columns: Mapping[str, np.ndarray]) -> None:
    kinds = [(key, values.dtype, values.shape[1:]) for key, values in columns.items()]
    made = np.empty(len(next(iter(columns.values()))), dtype=kinds)
    for key, values in columns.items():
        made[key] = values
    file.create_dataset(name, data=made)


def _sparse(
    file: h5py.File, name: str, matrix: sparse.csr_matrix, kind: str, shape: str, word: str
) -> None:
    group = file.create_group(name)
    group.attrs[kind] = word
    group.attrs[shape] = np.array(matrix.shape)
    for part in ("data", "indices", "indptr"):
        group.create_dataset(part, data=getattr(matrix, part))


def write_h5mu(path: Path, parts: Mapping[str, AnnData]) -> None:
    """As muon writes."""
    mudata.MuData(dict(parts)).write_h5mu(path)


def write_loom(path: Path, data: AnnData) -> None:
    """As loompy 3: genes x cells, attributes of rows and columns."""
    with h5py.File(path, "w") as file:
        file.create_dataset("matrix", data=data.X.T.toarray(), compression="gzip")
        words = h5py.string_dtype()
        file.create_dataset("col_attrs/CellID", data=list(data.obs_names), dtype=words)
        file.create_dataset("row_attrs/Gene", data=list(data.var_names), dtype=words)
        for column in data.obs:
            values = data.obs[column]
            text = values.dtype.kind in "OUS" or values.dtype.name == "category"
            file.create_dataset(
                f"col_attrs/{column}",
                data=list(values.astype(str)) if text else values.to_numpy(),
                dtype=words if text else None,
            )
        file.create_group("layers")


# ---------------------------------------------------------------- 10x Genomics


def repeated(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Gene symbols of which one occurs twice, and what they are once they are unique."""
    symbols = list(names)
    symbols[7] = symbols[2]
    unique = list(symbols)
    unique[7] = f"{symbols[2]}-1"
    return symbols, unique


def write_10x_h5(
    path: Path, parts: Mapping[str, AnnData], genomes: Sequence[str] | None = None
) -> None:
    """As Cell Ranger 3 and later; `parts` by feature type, `genomes` of the features if several."""
    counts = sparse.csr_matrix(sparse.hstack([part.X for part in parts.values()]))
    names = [name for part in parts.values() for name in part.var_names]
    types = [kind for kind, part in parts.items() for _ in range(part.n_vars)]
    cells = next(iter(parts.values())).obs_names
    with h5py.File(path, "w") as file:
        group = _matrix(file, "matrix", counts, cells)
        features = group.create_group("features")
        features["_all_tag_keys"] = np.array([b"genome"])
        features["id"] = np.array([f"ID{i:05d}" for i in range(len(names))], dtype="S")
        features["name"] = np.array(names, dtype="S")
        features["feature_type"] = np.array(types, dtype="S")
        features["genome"] = np.array(genomes or ["GRCh38"] * len(names), dtype="S")


def write_10x_h5_v2(path: Path, data: AnnData, genome: str) -> None:
    """As Cell Ranger 1 and 2: a group for each genome."""
    with h5py.File(path, "w") as file:
        group = _matrix(file, genome, sparse.csr_matrix(data.X), data.obs_names)
        group["genes"] = np.array([f"ENSG{i:05d}" for i in range(data.n_vars)], dtype="S")
        group["gene_names"] = np.array(list(data.var_names), dtype="S")


def _matrix(
    file: h5py.File, name: str, counts: sparse.csr_matrix, cells: Sequence[str]
) -> h5py.Group:
    group = file.create_group(name)
    group["data"] = counts.data.astype(np.int32)
    group["indices"] = counts.indices.astype(np.int64)
    group["indptr"] = counts.indptr.astype(np.int64)
    group["shape"] = np.array(counts.shape[::-1], dtype=np.int32)  # features x cells
    group["barcodes"] = np.array(list(cells), dtype="S")
    return group


def mtx(counts: sparse.spmatrix) -> bytes:
    """A Matrix Market file of features x cells, of counts of cells x features."""
    buffer = io.BytesIO()
    scipy_io.mmwrite(buffer, sparse.coo_matrix(counts.T.astype(np.int64)))
    return buffer.getvalue()


def lines(*columns: Sequence[object]) -> bytes:
    """Columns with tabs between, no header."""
    return "".join("\t".join(map(str, row)) + "\n" for row in zip(*columns, strict=True)).encode()


def write_10x_mtx(path: Path, parts: Mapping[str, AnnData]) -> None:
    """A .tar.gz as of Cell Ranger 3: everything is compressed once more, features have types."""
    counts = sparse.hstack([part.X for part in parts.values()])
    names = [name for part in parts.values() for name in part.var_names]
    types = [kind for kind, part in parts.items() for _ in range(part.n_vars)]
    cells = next(iter(parts.values())).obs_names
    ids = [f"ID{i:05d}" for i in range(len(names))]
    folder = "filtered_feature_bc_matrix"
    write_tar(
        path,
        {
            f"{folder}/barcodes.tsv.gz": gzip.compress(lines(cells)),
            f"{folder}/features.tsv.gz": gzip.compress(lines(ids, names, types)),
            f"{folder}/matrix.mtx.gz": gzip.compress(mtx(counts)),
        },
    )


def write_10x_mtx_v2(path: Path, data: AnnData, folder: str) -> None:
    """A .tar.gz as of Cell Ranger 1 and 2, in a folder named by the genome."""
    ids = [f"ENSG{i:05d}" for i in range(data.n_vars)]
    write_tar(
        path,
        {
            f"{folder}/barcodes.tsv": lines(data.obs_names),
            f"{folder}/genes.tsv": lines(ids, data.var_names),
            f"{folder}/matrix.mtx": mtx(data.X),
        },
    )


def write_tar(path: Path, members: Mapping[str, bytes]) -> None:
    """A .tar, compressed if its name says so, with entries for its folders, as tar makes them."""
    with tarfile.open(path, "w:gz" if path.name.endswith(".gz") else "w") as archive:
        for folder in sorted({str(Path(name).parent) for name in members} - {"."}):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def tissue_positions(data: AnnData, header: bool = False) -> bytes:
    """Places of all spots of a slide; those of the data are under tissue."""
    rows = ["barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres"][:header]
    for i in range(20):
        rows.append(f"TTTTTTTTTTTT{i:04d}-1,0,{i},{i},{i},{i}")
    for i, (cell, (x, y)) in enumerate(zip(data.obs_names, data.obsm["spatial"], strict=True)):
        rows.append(f"{cell},1,{i},{2 * i},{y:g},{x:g}")
    return "\n".join([*rows, ""]).encode()


# ---------------------------------------------------------------- tables


def r_table(frame: pd.DataFrame, separator: str = ",", *, named: bool = False) -> bytes:
    """A table as R writes it: the header lacks the name of the first column, or has it empty."""
    header = ['""'] if named else []
    header += [f'"{name}"' for name in frame.columns]
    text = [separator.join(header)]
    for index, row in zip(frame.index, frame.itertuples(index=False), strict=True):
        cells = ["NA" if pd.isna(v) else f'"{v}"' if isinstance(v, str) else f"{v:g}" for v in row]
        text.append(separator.join([f'"{index}"', *cells]))
    return "\n".join([*text, ""]).encode()


def genes_by_cells(data: AnnData) -> pd.DataFrame:
    """Counts as a table with a gene a row."""
    return pd.DataFrame(data.X.T.toarray(), index=data.var_names, columns=data.obs_names)
