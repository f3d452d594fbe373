"""RNA and proteins of one screen, in a file each."""

from __future__ import annotations

from pathlib import Path

from mudata import MuData

from dgnbench.reading import read_h5ad


def load(files: dict[str, Path]) -> MuData:
    """The cells that both files have; the condition is the perturbation."""
    rna = read_h5ad(files["rna.h5ad"], {"condition": "perturbation"})
    protein = read_h5ad(files["protein.h5ad"])
    both = rna.obs_names.intersection(protein.obs_names)
    return MuData({"rna": rna[both].copy(), "protein": protein[both].copy()})
