"""Files: written whole or not at all, and known by their checksum."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anndata import AnnData


def expanded(path: str) -> Path:
    """A path of a config, with ``~`` and ``$VARIABLES`` filled in."""
    return Path(os.path.expandvars(path)).expanduser()


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; it takes the real one only when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, data: Any) -> None:
    """Write JSON atomically, keys in the given order."""
    with whole(path) as partial:
        partial.write_text(json.dumps(data, indent=1, default=str) + "\n")


def sha256(path: Path) -> str:
    """The checksum of a file, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_of_folder(folder: Path, pattern: str = "*") -> str:
    """One checksum over the names and contents of a folder's files."""
    return sha256_of_digests({file.name: sha256(file) for file in folder.glob(pattern)})


def sha256_of_digests(digests: Mapping[str, str]) -> str:
    """One checksum over files by name and checksum, whatever their order."""
    digest = hashlib.sha256()
    for name, checksum in sorted(digests.items()):
        digest.update(f"{name} {checksum}\n".encode())
    return digest.hexdigest()


def write_parts(folder: Path, parts: Mapping[str, AnnData]) -> None:
    """Write the parts of a problem or solution, a ``<part>.h5ad`` each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        with whole(folder / f"{name}.h5ad") as partial:
            part.write_h5ad(partial)


def read_parts(folder: Path) -> dict[str, AnnData]:
    """Read every part of a problem or solution."""
    from anndata import read_h5ad

    return {file.stem: read_h5ad(file) for file in sorted(folder.glob("*.h5ad"))}


def write_matrix(path: Path, matrix: Any, obs: Any = None, var: Any = None) -> None:
    """Write an output: `X`, with the names of its rows and columns where they are known."""
    from anndata import AnnData

    with whole(path) as partial:
        AnnData(matrix, obs=obs, var=var).write_h5ad(partial)


def read_matrix(path: Path) -> Any:
    """Read the `X` of an output."""
    from anndata import read_h5ad

    return read_h5ad(path).X
