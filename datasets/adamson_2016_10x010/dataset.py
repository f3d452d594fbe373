"""Perturb-seq in the file of scPerturb, where some cells have no guide."""

from __future__ import annotations

from pathlib import Path

from anndata import AnnData

from dgnbench.reading import only_labelled, read_h5ad

AMBIGUOUS = "*"  # in the authors' table of identities: more than one guide


def load(files: dict[str, Path]) -> AnnData:
    """Cells with one guide, which is the condition."""
    (path,) = files.values()
    data = read_h5ad(path, {"condition": "perturbation"})
    return only_labelled(data, "condition", unlabelled=[AMBIGUOUS])
