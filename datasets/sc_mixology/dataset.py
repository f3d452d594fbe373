"""Three cell lines on three platforms; tables as R wrote them."""

from __future__ import annotations

from pathlib import Path

from anndata import AnnData

from dgnbench.reading import joined, read_genes_by_cells, read_table, with_table

PLATFORMS = ("sc_10x", "sc_celseq2", "sc_dropseq")


def load(files: dict[str, Path]) -> AnnData:
    """Cells of the platforms on their common genes (Ensembl ids)."""
    parts = {}
    for platform in PLATFORMS:
        table = files[f"{platform}.metadata.csv.gz"]
        parts[platform] = with_table(
            read_genes_by_cells(files[f"{platform}.count.csv.gz"]),
            read_table(table),
            {"cell_type": "cell_line_demuxlet"},
            table.name,
        )
    return joined(parts)
