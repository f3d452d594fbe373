"""Two runs of pooled donors; the table of the authors says which cells are doublets."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from anndata import AnnData

from dgnbench.reading import joined, read_mtx, read_table, unpacked, with_table

RUNS = {"ctrl": ("GSM2560248", "2.1"), "stim": ("GSM2560249", "2.2")}


def load(files: dict[str, Path]) -> AnnData:
    """The batch is the donor, the condition control or stimulated."""
    columns = {"batch": "ind", "cell_type": "cell", "condition": "stim", "doublet": "multiplets"}
    table = read_table(files["batch2.tsne.df.tsv.gz"], "\t", columns=list(columns.values()))
    table = table[(table["multiplets"] != "ambs") & table["cell"].notna()]
    genes = pd.read_csv(files["batch2.genes.tsv.gz"], sep="\t", header=None)[1]
    parts = {}
    with unpacked(files["GSE96583_RAW.tar"]) as folder:
        for run, (sample, matrix) in RUNS.items():
            barcodes = pd.read_csv(folder / f"{sample}_barcodes.tsv.gz", header=None)[0]
            cells = table[table["stim"] == run].copy()
            # R made row names unique: a barcode of the second run has digits behind its "-1"
            cells.index = cells.index.str.replace(r"^([ACGT]+-1).*$", r"\1", regex=True)
            counts = read_mtx(folder / f"{sample}_{matrix}.mtx.gz", barcodes, genes)
            parts[run] = with_table(counts, cells, columns, "batch2.tsne.df.tsv.gz")
    return joined(parts, key="run")
