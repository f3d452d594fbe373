"""The authors' table: annotation rows on top, then a gene a row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from anndata import AnnData
from scipy import sparse

from dgnbench.reading import ReadError

CLASS_ROW, FIRST_GENE_ROW, FIRST_CELL_COLUMN = 8, 11, 2  # counted from 0, as scvi-tools reads it


def load(files: dict[str, Path]) -> AnnData:
    """Molecule counts of 3,005 cells."""
    path = files["expression_mRNA_17-Aug-2014.txt"]
    classes, genes, blocks = None, [], []
    with path.open() as lines:
        for number, line in enumerate(lines):
            fields = line.rstrip("\n").split("\t")
            if number == CLASS_ROW:
                if fields[1] != "level1class":
                    raise ReadError(
                        f"{path.name}: row {CLASS_ROW} is '{fields[1]}', not level1class"
                    )
                classes = fields[FIRST_CELL_COLUMN:]
            elif number >= FIRST_GENE_ROW:
                genes.append(fields[0])
                values = np.array(fields[FIRST_CELL_COLUMN:], dtype=np.float32)
                blocks.append(sparse.csr_matrix(values))
    data = AnnData(sparse.csr_matrix(sparse.vstack(blocks, format="csc").T))
    data.var_names = genes
    data.var_names_make_unique()
    data.obs_names = [f"cell_{i}" for i in range(data.n_obs)]
    data.obs["cell_type"] = classes
    return data
