"""For every real dataset card: files as its source has them, made from the kit, and the truth.

A builder writes the files of a card into a folder and returns what loading them must give: by
modality the counts, cells x features, with the columns under their standard names. A card without
code whose file is an .h5ad, .h5 or .h5mu needs none: `HOW` only says which kit set and writer suit it.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from dgnbench.cards import OBS, DatasetCard
from tests.loaders import formats, kit
from tests.loaders.kit import Kit, barcodes, renamed

Truth = Mapping[str, AnnData]
Builder = Callable[[DatasetCard, Kit, Path], Truth]
BUILDERS: dict[str, Builder] = {}

GEX, ADT, PEAKS = "Gene Expression", "Antibody Capture", "Peaks"
PAIRS = {  # which kit set has a second modality, its name there, and 10x's word for it
    "atac": ("snare_cortex", "atac", PEAKS),
    "protein": ("bmmc_cite", "prot", ADT),
}
OLDEST, OLD, DENSE, CSC = (
    formats.write_h5ad_06,
    formats.write_h5ad_07,
    formats.write_dense,
    formats.write_csc,
)
# Kit set and writer of cards that have no code; the others get a set that has what they need.
HOW: dict[str, tuple[str, Callable[[Path, AnnData], None]]] = {
    "allen_mouse_brain": ("snare_cortex", OLD),
    "brain9k_multiome": ("snare_cortex", formats.write_h5ad),
    "buenrostro_heme_atac": ("snare_cortex", OLD),
    "cengen_taylor2020": ("worm_embryo", OLD),
    "datlinger_2017": ("norman_perturbseq", formats.write_h5ad),
    "dixit_2016": ("norman_perturbseq", OLD),
    "dropseq_frontal_cortex": ("snare_cortex", formats.write_h5ad),
    "haber_2017": ("kang_ifnb", OLD),
    "lymph_node_spots": ("pdac_spatial", OLDEST),
    "mcfarland_2020": ("kang_ifnb", CSC),
    "norman_2019": ("norman_perturbseq", formats.write_h5ad),
    "osmfish_cortex": ("osmfish_cortex", formats.write_h5ad),
    "packer2019_celegans": ("worm_embryo", OLD),
    "pancreas_endocrinogenesis": ("worm_embryo", OLD),
    "pbmc_5k_openproblems": ("pbmc_cite_10k_5k", OLD),
    "purified_pbmc": ("pbmc68k_reduced_counts", OLD),
    "replogle_k562_essential": ("norman_perturbseq", DENSE),
    "replogle_rpe1": ("norman_perturbseq", DENSE),
    "retina_bipolar": ("snare_cortex", formats.write_h5ad),
    "scib_simulation_1": ("kang_ifnb", DENSE),
    "starmap_mpfc": ("osmfish_cortex", formats.write_h5ad),
    "tabula_muris_senis_droplet": ("mouse_bladder_16types", OLDEST),
    "tabula_muris_senis_facs": ("mouse_bladder_16types", OLDEST),
    "zebrafish_wagner": ("worm_embryo", OLD),
}
REPEATED = ("pbmc_5k_openproblems",)  # gene symbols occur twice in the file


def builder_of(card: DatasetCard) -> Builder | None:
    """The card's own builder, or the one driven by its columns where it has no code."""
    if card.id in BUILDERS:
        return BUILDERS[card.id]
    return None if (card.folder / "dataset.py").is_file() else from_columns


def builds(*names: str) -> Callable[[Builder], Builder]:
    """The decorated function makes the files of these cards."""

    def register(builder: Builder) -> Builder:
        BUILDERS.update(dict.fromkeys(names, builder))
        return builder

    return register


def suited(card: DatasetCard) -> str:
    """The first kit set that has what the card takes."""
    if "spatial" in card.has:
        return kit.SPATIAL[0]
    if card.modalities[0] in PAIRS:
        return PAIRS[card.modalities[0]][0]
    wanted = {key for key in OBS if key in card.has}
    return next(name for name, columns in kit.COLUMNS.items() if wanted <= set(columns))


def with_own_names(data: AnnData, card: DatasetCard) -> AnnData:
    """The data under the names of columns that the card gives."""
    made = AnnData(data.X.copy(), var=data.var.copy())
    made.obs_names = data.obs_names
    for key in OBS:
        if key in card.columns:
            made.obs[card.columns[key]] = data.obs[key]
    spatial = card.columns.get("spatial", "")
    if "," in spatial:
        for name, values in zip(spatial.split(","), data.obsm["spatial"].T, strict=True):
            made.obs[name.strip()] = values
    elif spatial:
        made.obsm[spatial] = data.obsm["spatial"]
    return made


def from_columns(card: DatasetCard, source: Kit, folder: Path) -> Truth:
    """One file, named and laid out as the card says."""
    (name,) = card.files
    where, path = card.columns.get("counts", "X"), folder / name
    kit_set, write = HOW.get(card.id, (suited(card), formats.write_h5ad))
    if len(card.modalities) > 1:
        return two_from_columns(card, source, path)
    (data,) = source.cut(kit_set, card.modalities[0])
    if path.suffix == ".h5":
        word = {"rna": GEX, "atac": PEAKS}[card.modalities[0]]
        symbols, unique = formats.repeated(data.var_names)
        formats.write_10x_h5(path, {word: renamed(data, genes=symbols)})
        return {card.modalities[0]: renamed(data, genes=unique)}
    stored = formats.placed(with_own_names(data, card), where)
    if card.id in REPEATED:
        symbols, unique = formats.repeated(data.var_names)
        stored.var_names, data.var_names = symbols, unique
    write(path, stored)
    return {card.modalities[0]: data}


def two_from_columns(card: DatasetCard, source: Kit, path: Path) -> Truth:
    first, second = card.modalities
    kit_set, other, word = PAIRS[second]
    rna, more = source.cut(kit_set, "rna", other)
    if path.suffix == ".h5":
        symbols, unique = formats.repeated(rna.var_names)
        formats.write_10x_h5(path, {GEX: renamed(rna, genes=symbols), word: more})
        return {first: renamed(rna, genes=unique), second: more}
    stored, place = with_own_names(rna, card), card.columns["second_modality"]
    if path.suffix == ".h5mu":
        extra = renamed(more[:-4])  # some cells have the first modality only
        formats.write_h5mu(path, {card.columns["rna"]: stored, place: extra})
        return {first: rna[:-4].copy(), second: extra}
    table = pd.DataFrame(more.X.toarray(), index=more.obs_names, columns=more.var_names)
    stored.obsm[place.removeprefix("obsm/")] = table
    formats.write_h5ad(path, stored)
    return {first: rna, second: more}


def with_empty(data: AnnData) -> AnnData:
    """One more feature, without a count, as most matrices of 10x have."""
    more = AnnData(sparse.csr_matrix((data.n_obs, 1), dtype=np.float32))
    more.obs_names, more.var_names = data.obs_names, ["NEVERSEEN"]
    return anndata.concat([data, more], axis=1)


def in_runs(runs: Mapping[str, AnnData], key: str = "batch") -> AnnData:
    """Runs under each other on the genes that all have, with their name before each cell."""
    parts = []
    for run, data in runs.items():
        part = renamed(data, cells=[f"{run}:{cell}" for cell in data.obs_names])
        part.obs[key] = run
        parts.append(part)
    return anndata.concat(parts, join="inner")


# ---------------------------------------------------------------- 10x Genomics


@builds("atac_pbmc_5k")
def peaks_in_a_folder(card: DatasetCard, source: Kit, folder: Path) -> Truth:
    (data,) = source.cut("snare_cortex", "atac")
    data = renamed(data, cells=barcodes(data.n_obs))
    chrom, start, end = zip(*(name.split("_") for name in data.var_names), strict=True)
    where = "filtered_peak_bc_matrix"
    formats.write_tar(
        folder / next(iter(card.files)),
        {
            f"{where}/barcodes.tsv": formats.lines(data.obs_names),
            f"{where}/peaks.bed": formats.lines(chrom, start, end),
            f"{where}/matrix.mtx": formats.mtx(data.X),
        },
    )
    names = [f"{c}:{s}-{e}" for c, s, e in zip(chrom, start, end, strict=True)]
    return {"atac": renamed(data, genes=names)}


@builds("bmmc_s1d1_s1d3")
def two_samples(card: DatasetCard, source: Kit, folder: Path) -> Truth:
    runs = {}
    for sample, batch in (("s1d1", "s1d1"), ("s1d3", "s1d2")):
        rna, proteins = source.cut(
            "bmmc_cite", "rna", "prot", cells=60, only=lambda d, b=batch: d.obs["batch"] == b
        )
        rna = renamed(rna, cells=barcodes(rna.n_obs))  # the same in both samples
        symbols, unique = formats.repeated(rna.var_names)
        proteins = renamed(proteins, cells=list(rna.obs_names))
        path = folder / f"{sample}_filtered_feature_bc_matrix.h5"
        formats.write_10x_h5(path, {GEX: with_empty(renamed(rna, genes=symbols)), ADT: proteins})
        runs[sample] = renamed(rna, genes=unique)
    return {"rna": in_runs(runs)}


@builds("brain_large_1m")
def million_neurons(card: DatasetCard, source: Kit, folder: Path) -> Truth:
    (data,) = source.cut("mouse_bladder_16types", cells=2746, genes=40)
    symbols, unique = formats.repeated(data.var_names)
    formats.write_10x_h5_v2(folder / "1M_neurons.h5", renamed(data, genes=symbols), "mm10")
    return {"rna": renamed(data, genes=unique)}


@builds("hgmm_10k_v3")
def species_mixture(card: DatasetCard, source: Kit, folder: Path) -> Truth:
    (human,) = source.cut("pbmc68k_reduced_counts", cells=60, genes=80)
    (mouse,) = source.cut("snare_cortex", "rna", cells=60, genes=80)
    names = [f"hg19_{g}" for g in human.var_names] + [f"mm10_{g}" for g in mouse.var_names]
    both = sparse.csr_matrix(sparse.block_diag([human.X, mouse.X]))
    mixed = sparse.csr_matrix(sparse.hstack([human.X[:10], mouse.X[:10]]))
    ambient = both.tolil()
    ambient[0, 80] = 1  # a single mouse molecule is no doublet
    data = AnnData(sparse.csr_matrix(sparse.vstack([ambient, mixed]), dtype=np.float32))
    data.obs_names, data.var_names = barcodes(data.n_obs), names
    genomes = [name.split("_")[0] for name in names]
    formats.write_10x_h5(folder / next(iter(card.files)), {GEX: data}, genomes)
    totals = np.column_stack([data.X[:, :80].sum(axis=1), data.X[:, 80:].sum(axis=1)])
    data.obs["cell_type"] = np.where(totals[:, 0] > totals[:, 1], "hg19", "mm10")
    data.obs["doublet"] = np.arange(data.n_obs) >= 120
    return {"rna": data}


def old_runs(runs: Mapping[str, str], inside: str) -> Builder:
    """A .tar.gz of Cell Ranger 1 or 2 for each run, made from a batch or type of three lines."""

    def build(card: DatasetCard, source: Kit, folder: Path) -> Truth:
        made = {}
        for run, line in runs.items():
            (data,) = source.cut(
                "cellbench_3cl_2tech", cells=50, only=lambda d, b=line: d.obs["cell_type"] == b
            )
            data = renamed(data, cells=barcodes(data.n_obs))  # the same in all runs
            symbols, unique = formats.repeated(data.var_names)
            stored = with_empty(renamed(data, genes=symbols))
            formats.write_10x_mtx_v2(folder / f"{run}.tar.gz", stored, inside)
            made[run] = renamed(data, genes=unique)
            del made[run].obs["cell_type"]
        return {"rna": in_runs(made)}

    return build


BUILDERS["jurkat_293t"] = old_runs(
    {"jurkat": "H1975", "293t": "H2228", "mixture": "HCC827"}, "filtered_matrices_mex/hg19"
)
BUILDERS["pbmc_4k8k"] = old_runs(
    {"pbmc8k": "H1975", "pbmc4k": "HCC827"}, "filtered_gene_bc_matrices/GRCh38"
)


@builds("pbmc10k_protein_v3")
def proteins_in_a_folder(card: DatasetCard, source: Kit, folder: Path) -> Truth:
    rna, protein = source.cut("bmmc_cite", "rna", "prot")
    symbols, unique = formats.repeated(rna.var_names)
    stored = {GEX: with_empty(renamed(rna, genes=symbols)), ADT: protein}
    formats.write_10x_mtx(folder / next(iter(card.files)), stored)
    return {"rna": renamed(rna, genes=unique), "protein": protein}


@builds("pbmc_cite_5k_10k")
def two_panels(card: DatasetCard, source: Kit, folder: Path) -> Truth:
    runs: dict[str, dict[str, AnnData]] = {"rna": {}, "protein": {}}
    for run, start in (("pbmc5k", 0), ("pbmc10k", 3)):
        rna, protein = source.cut(
            "pbmc_cite_10k_5k", "rna", "prot", cells=60,
            only=lambda d, r=run: d.obs["batch"] == r.removeprefix("pbmc"),
        )  # fmt: skip
        cells = barcodes(rna.n_obs)  # the same in both runs
        rna, protein = renamed(rna, cells=cells), renamed(protein[:, start:], cells=cells)
        stored = {GEX: rna, ADT: protein}
        if run == "pbmc5k":
            path = folder / "5k_pbmc_protein_v3_filtered_feature_bc_matrix.h5"
            formats.write_10x_h5(path, stored)
        else:
            path = folder / "pbmc_10k_protein_v3_filtered_feature_bc_matrix.tar.gz"
            formats.write_10x_mtx(path, stored)
        runs["rna"][run], runs["protein"][run] = rna, protein
    return {kind: in_runs(of_kind) for kind, of_kind in runs.items()}


@builds("pbmc68k")
def labelled_by_barcode(card: DatasetCard, source: Kit, folder: Path) -> Truth:
    (data,) = source.cut("pbmc68k_reduced_counts")
    symbols, unique = formats.repeated(data.var_names)
    path = folder / "fresh_68k_pbmc_donor_a.tar.gz"
    stored = with_empty(renamed(data, genes=symbols))
    formats.write_10x_mtx_v2(path, stored, "filtered_matrices_mex/hg19")
    table = data.obs[::-1]  # in another order than the matrix
    (folder / "68k_pbmc_barcodes_annotation.tsv").write_bytes(
        b"TSNE.1\tTSNE.2\tbarcodes\tcelltype\n"
        + formats.lines([0.5] * len(table), [1.5] * len(table), table.index, table["cell_type"])
    )
    return {"rna": renamed(data, genes=unique)}


@builds("visium_human_heart", "visium_human_lymph_node", "visium_mouse_brain")
def visium(card: DatasetCard, source: Kit, folder: Path) -> Truth:
    (data,) = source.cut("pdac_spatial")
    data = renamed(data, cells=barcodes(data.n_obs))
    symbols, unique = formats.repeated(data.var_names)
    matrix, archive = card.files
    formats.write_10x_h5(folder / matrix, {GEX: with_empty(renamed(data, genes=symbols))})
    formats.write_tar(
        folder / archive,
        {
            "spatial/scalefactors_json.json": b'{"tissue_hires_scalef": 0.17}',
            "spatial/tissue_positions_list.csv": formats.tissue_positions(data[::-1]),
            "spatial/tissue_lowres_image.png": b"\x89PNG",
        },
    )
    return {"rna": renamed(data, genes=unique)}


# ---------------------------------------------------------------- tables and matrices of GEO, GitHub


@builds("cbmc_cite")
def two_tables(card: DatasetCard, source: Kit, folder: Path) -> Truth:
    rna, protein = source.cut("bmmc_cite", "rna", "prot")
    names = [("HUMAN_", "MOUSE_")[i % 5 == 0] + gene for i, gene in enumerate(rna.var_names)]
    rna, protein = renamed(rna, genes=names), renamed(protein)
    for name, data in (("rna", rna), ("protein", protein[3:][::-1])):  # not the same cells
        text = formats.r_table(formats.genes_by_cells(data), named=True)
        (folder / f"{name}.csv.gz").write_bytes(gzip.compress(text))
    return {"rna": rna[3:].copy(), "protein": protein[3:].copy()}


@builds("cortex_zeisel")
def annotated_table(card: DatasetCard, source: Kit, folder: Path) -> Truth:
    (data,) = source.cut("snare_cortex", "rna")
    cells = [f"1772071015_C{i:02d}" for i in range(data.n_obs)]
    above = ("tissue", "group #", "total mRNA mol", "well", "sex", "age", "diameter")
    head = {name: ["1"] * data.n_obs for name in above}
    head |= {"cell_id": cells, "level1class": list(data.obs["cell_type"]), "level2class": cells}
    rows = ["\t".join(["", name, *values]) for name, values in head.items()]
    rows += ["\t" * (data.n_obs + 1)]
    for i, gene in enumerate(data.var_names):
        counts = data.X[:, i].toarray().ravel().astype(int).astype(str)
        rows.append("\t".join([gene, str(i % 9), *counts]))
    (folder / "expression_mRNA_17-Aug-2014.txt").write_text("\n".join([*rows, ""]))
    return {"rna": renamed(data, cells=[f"cell_{i}" for i in range(data.n_obs)])}


@builds("kang_2018_doublets")
def called_doublets(card: DatasetCard, source: Kit, folder: Path) -> Truth:
    # R made the row names of both runs unique by a digit behind those of the second
    runs = (("ctrl", "GSM2560248", "2.1", ""), ("stim", "GSM2560249", "2.2", "1"))
    cuts = {
        run: source.cut("kang_ifnb", only=lambda d, r=run: d.obs["condition"] == r)[0]
        for run, *_ in runs
    }
    genes = [gene for gene in cuts["ctrl"].var_names if gene in cuts["stim"].var_names]
    members, tables, truth = {"GSM2560245_A.mat.gz": gzip.compress(b"of another batch")}, [], {}
    for run, sample, matrix, digit in runs:
        data = cuts[run][:, genes]
        data = renamed(data, cells=barcodes(data.n_obs))  # the same in both runs
        members[f"{sample}_{matrix}.mtx.gz"] = gzip.compress(formats.mtx(data.X))
        members[f"{sample}_barcodes.tsv.gz"] = gzip.compress(formats.lines(data.obs_names))
        n = np.arange(data.n_obs)
        call = np.select([n % 11 == 0, n % 7 == 0], ["ambs", "doublet"], "singlet")
        kind = data.obs["cell_type"].where(n % 13 != 0)  # R's NA
        columns = {"tsne1": 0.5, "tsne2": 1.5, "ind": data.obs["batch"], "stim": run}
        columns |= {"cluster": 3, "cell": kind, "multiplets": call}
        rows = pd.DataFrame(columns).set_axis([f"{cell}{digit}" for cell in data.obs_names])
        tables.append(rows.iloc[2:])  # some cells are in no row
        data.obs["doublet"] = call == "doublet"
        truth[run] = data[(call != "ambs") & kind.notna().to_numpy() & (n >= 2)].copy()
    formats.write_tar(folder / "GSE96583_RAW.tar", members)
    table = formats.r_table(pd.concat(tables), "\t")
    (folder / "batch2.tsne.df.tsv.gz").write_bytes(gzip.compress(table))
    ids = [f"ENSG{i:05d}" for i in range(len(genes))]
    (folder / "batch2.genes.tsv.gz").write_bytes(gzip.compress(formats.lines(ids, genes)))
    made = in_runs(truth, key="run")
    del made.obs["run"]
    return {"rna": made}


@builds("sc_mixology")
def three_platforms(card: DatasetCard, source: Kit, folder: Path) -> Truth:
    lines = ("H1975", "H2228", "HCC827")
    cuts = {
        "sc_10x": ("cellbench_5cl_doublets", lambda d: d.obs["cell_type"].isin(lines)),
        "sc_celseq2": ("cellbench_3cl_2tech", lambda d: d.obs["batch"] == "CELseq2"),
        "sc_dropseq": ("cellbench_3cl_2tech", lambda d: d.obs["batch"] == "Dropseq"),
    }
    runs = {}
    for platform, (kit_set, only) in cuts.items():
        (data,) = source.cut(kit_set, cells=60, genes=200, only=only)
        data = renamed(data, cells=[f"CELL_{i:06d}" for i in range(data.n_obs)])
        counts = formats.r_table(formats.genes_by_cells(data))
        (folder / f"{platform}.count.csv.gz").write_bytes(gzip.compress(counts))
        table = pd.DataFrame({"unaligned": 7.0}, index=data.obs_names[4:])  # others are unknown
        table["cell_line_demuxlet"] = data.obs["cell_type"]
        table["demuxlet_cls"] = "SNG"
        text = formats.r_table(table)
        (folder / f"{platform}.metadata.csv.gz").write_bytes(gzip.compress(text))
        data.obs = data.obs[["cell_type"]].copy()
        runs[platform] = data[4:].copy()
    return {"rna": in_runs(runs)}


@builds("scicar_cell_lines", "scicar_mouse_kidney")
def sci_car(card: DatasetCard, source: Kit, folder: Path) -> Truth:
    rna, atac = source.cut("snare_cortex", "rna", "atac")
    cells = [f"sci-RNA-A-001.{name}" for name in barcodes(rna.n_obs)]
    rna, atac = renamed(rna, cells=cells), renamed(atac, cells=cells)
    n = np.arange(rna.n_obs)
    kidney = "batch" in card.has
    kind = rna.obs["cell_type"].where(~(kidney & (n % 5 == 0)))  # NA: the authors give no type
    if kidney:
        table = pd.DataFrame({"source": "kidney", "replicate": rna.obs["batch"], "tsne_1": 0.5})
        table["cell_name"] = kind
    else:
        table = pd.DataFrame({"cell_name": kind, "experiment": "coassay"})
    genes = pd.DataFrame({"gene_type": "protein_coding", "gene_short_name": rna.var_names})
    genes.index = pd.Index([f"ENSMUSG{i:05d}" for i in range(rna.n_vars)], name="gene_id")
    peaks = pd.DataFrame({"peak": [name.replace("_", "-") for name in atac.var_names]})
    peaks["chr"] = [name.split("_")[0] for name in atac.var_names]
    peaks.index = pd.RangeIndex(1, atac.n_vars + 1, name="id")
    only_rna, only_atac = rna[:-3], atac[4:][::-1]  # not the same cells, nor in one order
    texts = {
        "rna_cell": table[:-3].rename_axis("sample").to_csv(na_rep="NA"),
        "rna_gene": genes.to_csv(),
        "rna_gene_count": formats.mtx(only_rna.X).decode(),
        "atac_cell": pd.DataFrame({"source": "x"}, only_atac.obs_names).to_csv(
            index_label="sample"
        ),
        "atac_peak": peaks.to_csv(),
        "atac_peak_count": formats.mtx(only_atac.X).decode(),
    }
    for name, text in texts.items():
        (folder / f"{name}.txt.gz").write_bytes(gzip.compress(text.encode()))
    both = (n >= 4) & (n < len(n) - 3) & kind.notna().to_numpy()
    rna, atac = renamed(rna, genes=list(genes.index)), renamed(atac, genes=list(peaks["peak"]))
    return {"rna": rna[both].copy(), "atac": atac[both].copy()}


@builds("snareseq_adbrain")
def snare_seq(card: DatasetCard, source: Kit, folder: Path) -> Truth:
    rna, atac = source.cut("snare_cortex", "rna", "atac")
    peaks = ["{}:{}-{}".format(*name.split("_")) for name in atac.var_names]
    atac = renamed(atac, genes=peaks)
    for kind, data, features in (("rna", rna, "genes"), ("atac", atac[5:][::-1], "peaks")):
        parts = {"counts.mtx": formats.mtx(data.X), "barcodes.tsv": formats.lines(data.obs_names)}
        parts |= {f"{features}.tsv": formats.lines(data.var_names)}
        for name, content in parts.items():
            (folder / f"{kind}.{name}.gz").write_bytes(gzip.compress(content))
    return {"rna": rna[5:].copy(), "atac": atac[5:].copy()}


@builds("paul15")
def paul(card: DatasetCard, source: Kit, folder: Path) -> Truth:
    (data,) = source.cut("mouse_bladder_16types")
    clusters = data.obs["cell_type"].str.removeprefix("cluster_").astype(int)
    names = [f"{name};alias_{i}" if i % 3 else name for i, name in enumerate(data.var_names)]
    names[9] = f"{data.var_names[1]};again"  # a name that occurs twice: the first one counts
    informative = [name for i, name in enumerate(data.var_names) if i % 4 and i != 9]
    with h5py.File(folder / "paul15.h5", "w") as file:
        file["data.debatched"] = data.X.T.toarray().astype(float)
        file["data.debatched_rownames"] = np.array(names, dtype="S")
        file["data.debatched_colnames"] = np.array(list(data.obs_names), dtype="S")
        file["cluster.id"] = clusters.to_numpy(float)[:, None]
        file["info.genes_strings"] = np.array([*informative, "corrupted|name"], dtype="S")
    types = 6 * ["Ery"] + ["MEP", "Mk", "GMP", "GMP", "DC", "Baso", "Baso", "Mo", "Mo", "Neu"]
    truth = renamed(data, cells=[f"cell_{i}" for i in range(data.n_obs)])[:, informative].copy()
    truth.obs["cell_type"] = [f"{i}{types[i - 1]}" for i in clusters]
    return {"rna": truth}


# ---------------------------------------------------------------- h5ad with code of their own


@builds("adamson_2016_10x001", "adamson_2016_10x005", "adamson_2016_10x010")
def guides(card: DatasetCard, source: Kit, folder: Path) -> Truth:
    (data,) = source.cut("norman_perturbseq")
    n = np.arange(data.n_obs)
    stored = formats.placed(data)
    stored.obs["perturbation"] = pd.Series(
        np.where(n % 9 == 0, "*", data.obs["condition"]), data.obs_names
    ).where(n % 7 != 0)  # the tables were joined: no guide, no value
    formats.write_csc(folder / next(iter(card.files)), stored)
    return {"rna": data[(n % 9 != 0) & (n % 7 != 0)].copy()}


@builds("sciplex3")
def hashed(card: DatasetCard, source: Kit, folder: Path) -> Truth:
    (data,) = source.cut("kang_ifnb")
    n = np.arange(data.n_obs)
    stored = formats.placed(data)
    stored.obs["cell_line"] = data.obs["cell_type"].where(n % 7 != 0)
    stored.obs["perturbation"] = data.obs["condition"].where(n % 9 != 0)
    formats.write_h5ad(folder / next(iter(card.files)), stored)
    return {"rna": data[(n % 9 != 0) & (n % 7 != 0)].copy()}


@builds("heart_cell_atlas_20k")
def heart(card: DatasetCard, source: Kit, folder: Path) -> Truth:
    (data,) = source.cut("worm_embryo")
    n = np.arange(data.n_obs)
    stored = formats.placed(data)
    stored.obs = stored.obs.rename(columns={"batch": "donor"})
    stored.obs["cell_type"] = np.select(
        [n % 9 == 0, n % 7 == 0], ["doublets", "NotAssigned"], data.obs["cell_type"]
    )
    formats.write_h5ad_07(folder / next(iter(card.files)), stored)
    return {"rna": data[(n % 9 != 0) & (n % 7 != 0)].copy()}


@builds("kang_2018")
def kang(card: DatasetCard, source: Kit, folder: Path) -> Truth:
    (data,) = source.cut("kang_ifnb", genes=500)
    stored = formats.placed(data)
    stored.obs = stored.obs.rename(columns={"batch": "replicate", "condition": "label"})
    formats.write_h5ad(folder / "kang_2018.h5ad", stored)
    sets = source.folder / "genesets" / "reactome_v4.0_symbols.gmt"
    (folder / "c2.cp.reactome.v4.0.symbols.gmt").write_bytes(sets.read_bytes())
    truth = renamed(data)
    for row in sets.read_text().splitlines():
        name, _, *genes = row.split("\t")
        if data.var_names.isin(genes).sum() >= 12:
            truth.var[name] = data.var_names.isin(genes)
    assert truth.var.shape[1] > 3
    return {"rna": truth}


@builds("neurips2021_bmmc_cite", "neurips2021_bmmc_multiome")
def neurips(card: DatasetCard, source: Kit, folder: Path) -> Truth:
    second = card.modalities[1]
    kit_set, other, _ = PAIRS[second]
    rna, more = source.cut(kit_set, "rna", other)
    more = renamed(more, genes=[name.replace("_", "-") for name in more.var_names])
    both = anndata.concat([rna, more], axis=1)
    both.obs = rna.obs.copy()
    stored = formats.placed(both, "layers/counts")
    word = {"protein": "ADT", "atac": "ATAC"}[second]
    stored.var["feature_types"] = ["GEX"] * rna.n_vars + [word] * more.n_vars
    stored.obs["Site"], stored.obs["is_train"] = "site1", True
    formats.write_h5ad(folder / "plain.h5ad", stored)
    name = next(iter(card.files))
    (folder / name).write_bytes(gzip.compress((folder / "plain.h5ad").read_bytes()))
    return {"rna": rna, second: more}


@builds("papalexi_2021")
def eccite(card: DatasetCard, source: Kit, folder: Path) -> Truth:
    rna, protein = source.cut("eccite_pbmc_hashing", "rna", "prot")
    stored = formats.placed(rna)
    stored.obs["perturbation"] = rna.obs["condition"]
    formats.write_h5ad(folder / "rna.h5ad", stored[:-2].copy())
    formats.write_h5ad(folder / "protein.h5ad", formats.placed(protein[3:][::-1].copy()))
    return {"rna": rna[3:-2].copy(), "protein": protein[3:-2].copy()}


@builds("pbmc3k")
def labels_in_another_file(card: DatasetCard, source: Kit, folder: Path) -> Truth:
    (data,) = source.cut("pbmc68k_reduced_counts")
    bare = renamed(data)
    bare.obs = bare.obs[[]].copy()
    bare.var["gene_ids"] = [f"ENSG{i:05d}" for i in range(data.n_vars)]
    formats.write_h5ad_06(folder / "pbmc3k_raw.h5ad", bare)
    processed = formats.placed(data[6:][::-1].copy(), "raw")
    processed.obs["louvain"] = data.obs["cell_type"]
    formats.write_h5ad_06(folder / "pbmc3k.h5ad", processed)
    return {"rna": data[6:].copy()}


@builds("pbmc68k_reduced")
def shipped_with_scanpy(card: DatasetCard, source: Kit, folder: Path) -> Truth:
    return {"rna": source.cut("pbmc68k_reduced_counts", cells=700, genes=765)[0]}


def scib(batches: Mapping[str, str], batch: str, cell_type: str) -> Builder:
    """Dense layers of which some batches hold no counts: see `as_distributed`."""

    def build(card: DatasetCard, source: Kit, folder: Path) -> Truth:
        (data,) = source.cut("worm_embryo", cells=140)
        names = np.resize(list(batches), data.n_obs)
        data.obs["batch"] = names
        data.X[0, int(data.X[0].argmax())] = 256  # every UMI of a gene was seen
        data.X.data = np.minimum(data.X.data, 256)
        stored = formats.placed(data, "layers/counts")
        stored.layers["counts"] = as_distributed(data.X, [batches[name] for name in names])
        stored.obs = data.obs.rename(columns={"batch": batch, "cell_type": cell_type})
        formats.write_dense(folder / next(iter(card.files)), stored)
        return {"rna": data[[batches[name] != "lost" for name in names]].copy()}

    return build


def as_distributed(counts: sparse.csr_matrix, what: Sequence[str]) -> sparse.csr_matrix:
    """What is stored for the counts of each cell: `counts`, `corrected`, `estimated` or `lost`."""
    made = counts.copy()
    for row, kind in enumerate(what):
        values = made.data[made.indptr[row] : made.indptr[row + 1]]
        if kind == "corrected":  # UMI collisions; a gene with all 256 is taken to have 255.5
            values[:] = -256 * np.log1p(-np.minimum(values, 255.5) / 256)
        elif kind == "estimated":  # RSEM
            values += 0.3
        elif kind == "lost":
            values *= 1e6 / values.sum()
    return made


BUILDERS["scib_pancreas"] = scib(
    {
        "celseq": "corrected", "celseq2": "corrected", "fluidigmc1": "estimated",
        "inDrop1": "counts", "smarter": "lost", "smartseq2": "counts",
    },
    "tech",
    "celltype",
)  # fmt: skip
BUILDERS["scib_immune_human"] = scib(
    {"Villani": "lost", "Oetjen_P": "counts", "10X": "counts"}, "batch", "final_annotation"
)
BUILDERS["scib_lung_atlas"] = scib(
    {"1": "lost", "A1": "lost", "B1": "counts", "B2": "counts", "B3": "counts", "B4": "counts"},
    "batch",
    "cell_type",
)


@builds("setty_bone_marrow")
def three_donors(card: DatasetCard, source: Kit, folder: Path) -> Truth:
    runs = {}
    for i, batch in enumerate(("300", "400", "500"), 1):
        (data,) = source.cut(
            "worm_embryo", cells=60, genes=150,
            only=lambda d, b=batch: d.obs["time_point"] == f"{b}_minutes",
        )  # fmt: skip
        data = renamed(data, cells=[f"Run{i}_{j}" for j in range(data.n_obs)])
        codes = data.obs["cell_type"].astype("category").cat.codes.astype(str)
        stored = formats.placed(data, "raw")
        stored.obs["clusters"] = codes
        stored.obs["palantir_pseudotime"] = data.obs["pseudotime"] / 700
        stored.obs["cluster_of_one"] = "all"
        formats.write_h5ad_06(folder / f"human_cd34_bm_rep{i}.h5ad", stored)
        data.obs["pseudotime"] = data.obs["pseudotime"] / 700
        data.obs["cell_type"] = f"rep{i}_" + codes
        runs[f"rep{i}"] = data
    return {"rna": in_runs(runs)}


@builds("sln_cite")
def two_antibody_panels(card: DatasetCard, source: Kit, folder: Path) -> Truth:
    runs: dict[str, dict[str, AnnData]] = {"rna": {}, "protein": {}}
    rna, protein = source.cut("bmmc_cite", "rna", "prot", cells=120)
    for panel, cells, proteins in (
        ("sln_111", slice(0, 60), slice(0, 70)),
        ("sln_208", slice(60, 120), slice(20, 120)),
    ):
        data, more = rna[cells].copy(), protein[cells, proteins].copy()
        n = np.arange(data.n_obs)
        stored = formats.placed(data)
        stored.obs = stored.obs.rename(columns={"cell_type": "cell_types"})
        stored.obs["leiden_subclusters"] = np.select(
            [n % 9 == 0, n % 7 == 0], ["16,0", "29"], "16,1"
        )
        stored.obsm["protein_expression"] = pd.DataFrame(
            more.X.toarray(), index=data.obs_names, columns=list(more.var_names)
        )
        stored.obsm["htos"] = np.zeros((data.n_obs, 3))
        stored.uns["protein_names"] = list(more.var_names)
        formats.write_h5ad(folder / f"{panel}.h5ad", stored)
        good = (n % 9 != 0) & (n % 7 != 0)
        runs["rna"][panel], runs["protein"][panel] = data[good].copy(), more[good].copy()
    made = {kind: in_runs(of_kind, key="panel") for kind, of_kind in runs.items()}
    for part in made.values():
        del part.obs["panel"]
    return made
