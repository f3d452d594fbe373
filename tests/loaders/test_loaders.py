"""Every real dataset's loader reads files in the format of its source, fetched as any file is.

The files are small and made from the kit, so that each count, label and place is known.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from dgnbench import data, reading
from dgnbench.cards import FILTERS, OBS, DatasetCard, read_house
from dgnbench.fetching import Settings, fetch
from dgnbench.plan import dataset_card
from tests.loaders import formats
from tests.loaders.builders import BUILDERS, builder_of
from tests.loaders.kit import Kit
from tests.server import Server

REAL = [
    card
    for card in read_house().datasets.cards.values()
    if card.kind == "real" or card.files  # public simulations come in files, too
]


@pytest.fixture(scope="module")
def kit(shared_folder):
    return Kit(shared_folder / "data" / "kit")


@pytest.fixture(scope="module")
def server():
    with Server({}) as running:
        yield running


class Source:
    """A card whose files are the small ones that were made for it, on a server of our own."""

    def __init__(self, card: DatasetCard, kit: Kit, server: Server, folder: Path) -> None:
        self.server, self.folder, self.made = server, folder, folder / "made"
        shutil.copytree(card.folder, folder / card.id)  # the checksums are recorded beside the card
        files = {
            name: replace(file, checksum=None, standing="unknown", size=None)
            for name, file in card.files.items()
        }  # those of the real files
        self.card = replace(card, folder=folder / card.id, files=files, expected={})
        self.made.mkdir()
        builder = builder_of(card)
        assert builder is not None
        self.truth = builder(self.card, kit, self.made)

    def raw(self, *, mirror: int = 0) -> Path | None:
        """Fetch the files, each from its first URL or another one, or as put there by hand."""
        if not self.card.files:
            return None
        self.server.files.clear()
        hosts = set()
        for name, file in self.card.files.items():
            if not file.urls:
                by_hand = self.folder / "manual" / self.card.id
                by_hand.mkdir(parents=True, exist_ok=True)
                shutil.copy(self.made / name, by_hand)
                continue
            for url in file.urls:
                hosts.add(url[: url.index("/", 8) + 1])
            served = file.urls[min(mirror, len(file.urls) - 1)]
            self.server.files[unquote(served.split("://")[1])] = (self.made / name).read_bytes()
        settings = Settings(
            cache_dir=self.folder / "cache",
            manual_dir=self.folder / "manual",
            rewrite_urls={host: f"{self.server.url}/{urlsplit(host).netloc}/" for host in hosts},
            wait=0,
        )
        fetch(self.card, settings, self.folder / "raw")
        return self.folder / "raw"

    def load(
        self, card: DatasetCard | None = None, raw: Path | None = None, **params: object
    ) -> dict[str, AnnData]:
        """By modality, through `dgnbench.data.load`; from the files as made unless some are given."""
        card = card or self.card
        loaded = data.load(card, {**card.params, **params}, raw or self.made)
        return dict(loaded.mod) if hasattr(loaded, "mod") else {card.modalities[0]: loaded}


@pytest.fixture
def source(kit, server, tmp_path):
    def make(name: str) -> Source:
        return Source(read_house().datasets[name], kit, server, tmp_path)

    return make


def assert_same_counts(got: AnnData, wanted: AnnData) -> None:
    """Cell by cell and feature by feature; features without a count are left out."""
    seen = np.asarray(wanted.X.sum(axis=0)).ravel() > 0
    wanted = wanted[:, seen]
    assert sorted(got.obs_names) == sorted(wanted.obs_names)
    assert sorted(got.var_names) == sorted(wanted.var_names)
    found = got[wanted.obs_names, wanted.var_names].X.toarray()
    np.testing.assert_array_equal(found, wanted.X.toarray())
    assert found.any()


def assert_same_columns(got: AnnData, wanted: AnnData, card: DatasetCard) -> None:
    """All that the card's `has` names, with the right values, and nothing else."""
    assert set(got.obs) == {key for key in OBS if key in card.has}
    for key in got.obs:
        found, right = got.obs[key], wanted.obs.loc[got.obs_names, key]
        if OBS[key] == "category":
            assert list(found.astype(str)) == list(right.astype(str)), key
            assert found.nunique() > 1
        else:
            np.testing.assert_allclose(found.astype(float), right.astype(float), err_msg=key)
    if "spatial" in card.has:
        places = wanted[got.obs_names].obsm["spatial"]
        np.testing.assert_allclose(got.obsm["spatial"], places)
        assert len(np.unique(places, axis=0)) > 10
    if "gene_sets" in card.has:
        members = pd.DataFrame(got.varm["gene_sets"].toarray() == 1, columns=got.uns["gene_sets"])
        right = wanted.var.loc[got.var_names]
        assert sorted(members) == sorted(right)
        for name in members:
            assert list(members[name]) == list(right[name]), name


def assert_is(got: Mapping[str, AnnData], truth: Mapping[str, AnnData], card: DatasetCard) -> None:
    assert list(got) == list(truth) == list(card.modalities)
    for name, part in got.items():
        assert_same_counts(part, truth[name])
        assert list(part.obs_names) == list(got[card.modalities[0]].obs_names)
    first = card.modalities[0]
    assert_same_columns(got[first], truth[first], card)


def filtered(truth: Mapping[str, AnnData], card: DatasetCard) -> dict[str, AnnData]:
    """The truth after the filters among a card's parameters."""
    assert set(card.params) & set(FILTERS) <= {"min_cells"}, "say here what the filter does"
    least = card.params.get("min_cells", 0)
    seen = {name: np.asarray((part.X > 0).sum(axis=0)).ravel() for name, part in truth.items()}
    return {name: part[:, seen[name] >= least].copy() for name, part in truth.items()}


@pytest.mark.parametrize("card", REAL, ids=lambda card: card.id)
def test_every_real_card_has_small_files_made_for_it(card):
    assert builder_of(card) is not None, (
        f"datasets/{card.id} has a dataset.py of its own, and tests/loaders/builders.py does not know "
        "what its files look like: add there a function with @builds that writes them in the format "
        "of their source, from a cut of the kit, and returns what load() must make of them"
    )


def test_every_builder_is_that_of_a_card():
    assert set(BUILDERS) <= {card.id for card in REAL}


@pytest.mark.parametrize("name", [card.id for card in REAL])
def test_a_loader_gives_the_counts_and_labels_that_its_source_holds(source, name):
    made = source(name)
    got = made.load(raw=made.raw())
    assert_is(got, filtered(made.truth, made.card), made.card)


@pytest.mark.parametrize("name", ["scib_pancreas", "scib_immune_human", "scib_lung_atlas"])
def test_the_scib_sets_come_as_they_are_distributed_if_asked(source, name):
    made = source(name)
    config = {"datasets": {f"{name}@counts=as_distributed": None}}
    has = dataset_card(read_house(), config, f"{name}@counts=as_distributed").has
    (got,) = made.load(replace(made.card, has=has), counts="as_distributed").values()
    (path,) = made.made.iterdir()
    stored = anndata.read_h5ad(path)
    batch = {"scib_pancreas": "tech"}.get(name, "batch")
    assert set(got.obs["batch"]) == set(stored.obs[batch])
    wanted = pd.DataFrame(stored.layers["counts"], stored.obs_names, stored.var_names)
    np.testing.assert_allclose(got.X.toarray(), wanted.loc[got.obs_names, got.var_names])
    assert got.uns["counts_audit"]["n_fractional"].gt(0).sum() == sum(
        (stored.layers["counts"][stored.obs[batch] == b] % 1).any() for b in set(stored.obs[batch])
    )


def test_a_pancreas_whose_correction_is_another_one_is_refused(source):
    made = source("scib_pancreas")
    (path,) = made.made.iterdir()
    with h5py.File(path, "r+") as file:
        file["layers/counts"][...] = file["layers/counts"][()] * 1.013
    with pytest.raises(data.DataError, match="not UMI counts with collisions corrected for 256"):
        made.load()


def test_the_million_neurons_are_read_in_runs_over_the_whole_file(source):
    made = source("brain_large_1m")
    (got,) = made.load(n_cells=2000).values()
    order = made.truth["rna"].obs_names.get_indexer(got.obs_names)
    assert got.n_obs == 2000
    assert order[0] == 0
    assert order[-1] == made.truth["rna"].n_obs - 1
    assert_same_counts(got, made.truth["rna"][order])


NAMED = [
    (card.id, key)
    for card in REAL
    for key, name in card.columns.items()
    if card.id not in BUILDERS
    and key not in ("rna", "second_modality")
    and name != "raw_or_X"  # one of the two is always there
]


@pytest.mark.parametrize(("name", "key"), NAMED)
def test_a_column_that_is_not_there_is_named_beside_those_that_are(source, name, key):
    made = source(name)
    others = made.card.columns
    wrong = {"counts": "layers/nowhere", "spatial": "nowhere"}.get(key, "nowhere")
    if key == "spatial" and "," in others[key]:
        wrong = f"nowhere,{others[key].split(',')[1]}"
    card = replace(made.card, columns={**others, key: wrong})
    there = others[key].split(",")[0].removeprefix("layers/")
    with pytest.raises(data.DataError, match=f"nowhere.*there are: .*{there}"):
        made.load(card)


def rename_column(path: Path, old: str, new: str) -> None:
    if path.suffix == ".gz":
        text = gzip.decompress(path.read_bytes())
        assert text.count(old.encode()) == 1
        path.write_bytes(gzip.compress(text.replace(old.encode(), new.encode())))
        return
    with h5py.File(path, "r+") as file:
        obs = file["obs"]
        obs.move(old, new)
        order = [new if name == old else name for name in obs.attrs["column-order"]]
        obs.attrs["column-order"] = order


@pytest.mark.parametrize(
    ("name", "file", "column"),
    [
        ("kang_2018", "kang_2018.h5ad", "replicate"),
        ("adamson_2016_10x001", "AdamsonWeissman2016_GSM2406675_10X001.h5ad", "perturbation"),
        ("sciplex3", "SrivatsanTrapnell2020_sciplex3.h5ad", "cell_line"),
        ("papalexi_2021", "rna.h5ad", "perturbation"),
        ("sc_mixology", "sc_celseq2.metadata.csv.gz", "cell_line_demuxlet"),
        ("scicar_mouse_kidney", "rna_cell.txt.gz", "cell_name"),
        ("scicar_mouse_kidney", "atac_peak.txt.gz", "peak"),
        ("kang_2018_doublets", "batch2.tsne.df.tsv.gz", "multiplets"),
    ],
)
def test_code_that_finds_a_column_renamed_lists_the_real_ones(source, name, file, column):
    made = source(name)
    rename_column(made.made / file, column, "renamed_since")
    with pytest.raises(data.DataError, match=f"'{column}'.*there are: .*renamed_since"):
        made.load()


@pytest.mark.parametrize("name", ["scicar_cell_lines", "cbmc_cite", "pbmc_seurat_v4_cite"])
def test_another_address_of_a_card_gives_the_same_data(source, name):
    """GEO's second door differs from file to file in the query only."""
    made = source(name)
    made.server.requests.clear()
    got = made.load(raw=made.raw(mirror=1))
    assert {request.status for request in made.server.requests} == {200, 404}
    assert_is(got, made.truth, made.card)


# ---------------------------------------------------------------- formats that no card has yet


def card_for(path: Path, **given: object) -> DatasetCard:
    return dataset_card(read_house(), {"datasets": {"mine": {"path": str(path), **given}}}, "mine")


def test_a_loom_is_read_as_the_h5ad_of_the_same_cells(kit, tmp_path):
    (cells,) = kit.cut("snare_cortex", "rna")
    formats.write_loom(tmp_path / "mine.loom", cells)
    card = card_for(tmp_path / "mine.loom", batch="batch", cell_type="cell_type")
    assert_is({"rna": data.load(card, {})}, {"rna": cells}, card)


def test_a_matrix_of_cell_ranger_2_is_read_as_that_of_cell_ranger_3(kit, tmp_path):
    (cells,) = kit.cut("pbmc68k_reduced_counts")
    symbols, unique = formats.repeated(cells.var_names)
    cells.var_names = symbols
    formats.write_10x_h5_v2(tmp_path / "old.h5", cells, "hg19")
    formats.write_10x_h5(tmp_path / "new.h5", {"Gene Expression": cells})
    cells.var_names = unique
    for name in ("old.h5", "new.h5"):
        assert_same_counts(reading.read_10x_h5(tmp_path / name), cells)


def test_features_of_a_type_that_is_not_there_are_named_beside_those_that_are(kit, tmp_path):
    (cells,) = kit.cut("pbmc68k_reduced_counts")
    formats.write_10x_h5(tmp_path / "rna.h5", {"Gene Expression": cells})
    with pytest.raises(reading.ReadError, match="type 'Peaks'; there are: Gene Expression"):
        reading.read_10x_h5(tmp_path / "rna.h5", {"rna": "Gene Expression", "atac": "Peaks"})


def test_places_of_space_ranger_2_have_a_header(kit, tmp_path):
    (spots,) = kit.cut("pdac_spatial")
    formats.write_10x_h5(tmp_path / "matrix.h5", {"Gene Expression": spots})
    places = formats.tissue_positions(spots, header=True)
    formats.write_tar(tmp_path / "spatial.tar.gz", {"spatial/tissue_positions.csv": places})
    got = reading.read_visium(tmp_path / "matrix.h5", tmp_path / "spatial.tar.gz")
    np.testing.assert_allclose(got.obsm["spatial"], spots.obsm["spatial"])


def test_a_spot_without_a_place_is_refused(kit, tmp_path):
    (spots,) = kit.cut("pdac_spatial")
    formats.write_10x_h5(tmp_path / "matrix.h5", {"Gene Expression": spots})
    places = formats.tissue_positions(spots[1:])
    formats.write_tar(tmp_path / "spatial.tar.gz", {"spatial/tissue_positions_list.csv": places})
    with pytest.raises(
        reading.ReadError, match=f"1 spots have no place, the first '{spots.obs_names[0]}'"
    ):
        reading.read_visium(tmp_path / "matrix.h5", tmp_path / "spatial.tar.gz")


@pytest.mark.parametrize(
    "write", [formats.write_h5ad, formats.write_h5ad_07, formats.write_h5ad_06]
)
def test_proteins_in_a_bare_array_get_the_names_that_stand_in_uns(kit, tmp_path, write):
    rna, protein = kit.cut("bmmc_cite", "rna", "prot", cells=30)
    stored = formats.placed(rna)
    stored.obsm["protein_expression"] = protein.X.toarray()
    path = tmp_path / "mine.h5ad"
    write(path, stored)
    with h5py.File(path, "r+") as file:
        file["uns/protein_names"] = np.array(list(protein.var_names), dtype="S")
    names = {"rna": "X", "protein": "obsm/protein_expression"}
    got = reading.read_h5ad_with_second(path, names, {"batch": "batch"})
    assert_same_counts(got["protein"], protein)
    assert_same_counts(got["rna"], rna)


@pytest.mark.parametrize("named", [True, False])
def test_a_table_of_r_keeps_its_columns_whether_or_not_its_header_names_the_first(
    kit, tmp_path, named
):
    (cells,) = kit.cut("cellbench_3cl_2tech", genes=30)
    text = formats.r_table(formats.genes_by_cells(cells), named=named)
    (tmp_path / "counts.csv.gz").write_bytes(gzip.compress(text))
    assert_same_counts(reading.read_genes_by_cells(tmp_path / "counts.csv.gz", rows=7), cells)
