"""A user's own file comes to the standard form, or is refused with one clear message."""

import logging

import anndata
import mudata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from dgnbench import data
from dgnbench.cards import read_house
from dgnbench.plan import dataset_card

mudata.set_options(pull_on_update=False)


def cells(n=20, genes=6):
    counts = np.random.default_rng(0).poisson(2.0, (n, genes)).astype(np.float32)
    made = anndata.AnnData(sparse.csr_matrix(counts))
    made.obs_names, made.var_names = (
        [f"AAAC-{i}" for i in range(n)],
        [f"g{j}" for j in range(genes)],
    )
    made.obs["donor"] = np.array(["d1", "d2"])[np.arange(n) % 2]
    made.obs["label"] = np.array(["T", "B", "NK"])[np.arange(n) % 3]
    made.obs["age"] = 42
    return made


@pytest.fixture
def load(tmp_path):
    def read(made, **columns):
        suffix = "h5mu" if isinstance(made, mudata.MuData) else "h5ad"
        path = tmp_path / f"mine.{suffix}"
        made.write(path)
        given = {"path": str(path), "batch": "donor", "cell_type": "label", **columns}
        given = {key: value for key, value in given.items() if value is not None}
        card = dataset_card(read_house(), {"datasets": {"mine": given}}, "mine")
        return data.load(card, {})

    return read


def test_a_file_comes_to_the_standard_form(load):
    made = cells()
    made.layers["mean"] = made.X.copy()
    made.obsm["X_pca"] = np.zeros((20, 2))
    made.var["mean"] = 0.0
    loaded = load(made)
    assert [*loaded.layers, *loaded.obsm, *loaded.uns, *loaded.var.columns] == ["counts_audit"]
    assert sparse.isspmatrix_csr(loaded.X)
    assert loaded.X.dtype == np.float32
    assert list(loaded.obs.columns) == ["batch", "cell_type"]
    assert set(loaded.obs["batch"]) == {"d1", "d2"}
    assert data.describe(loaded) == {
        "n_cells": 20, "n_genes": 6, "n_batches": 2, "n_cell_types": 3,
    }  # fmt: skip


def test_counts_may_lie_in_a_layer(load):
    made = cells()
    made.layers["counts"] = made.X.copy()
    made.X = np.log1p(made.X.toarray())
    with pytest.raises(data.DataError, match=r"not integers.*wanted raw counts.*`counts:`"):
        load(made)
    assert (load(made, counts="layers/counts").X != cells().X).nnz == 0
    with pytest.raises(data.DataError, match=r"no counts at .layers/cnts.*layers/counts"):
        load(made, counts="layers/cnts")


def _set(made, row, column, value):
    dense = made.X.toarray()
    dense[row, column] = value
    made.X = sparse.csr_matrix(dense)


@pytest.mark.parametrize(("value", "said"), [(np.nan, "not finite"), (-1, "negative values")])
def test_values_that_are_no_counts_are_refused(load, value, said):
    made = cells()
    _set(made, 3, 2, value)
    with pytest.raises(data.DataError, match=said):
        load(made)


@pytest.mark.parametrize("axis", ["obs", "var"])
def test_duplicated_ids_are_refused(load, axis):
    made = cells()
    names = list(getattr(made, f"{axis}_names"))
    names[1] = names[0]
    setattr(made, f"{axis}_names", names)
    with pytest.raises(data.DataError, match=f"duplicated.*first '{names[0]}'.*{axis}_names_make"):
        load(made)


def test_a_cell_or_gene_without_a_count_is_left_out_and_said(load, caplog):
    made = cells()
    dense = made.X.toarray()
    dense[4], dense[:, 1] = 0, 0
    made.X = sparse.csr_matrix(dense)
    with caplog.at_level(logging.WARNING):
        loaded = load(made)
    assert loaded.shape == (19, 5)
    assert "1 cells without a count" in caplog.text
    assert "1 features without a count" in caplog.text


def test_one_batch_where_two_are_needed_is_refused(load):
    made = cells()
    made.obs["donor"] = "d1"
    with pytest.raises(data.DataError, match=r"one value only \('d1'\).*leave `batch:` out"):
        load(made)
    assert "batch" not in load(made, batch=None).obs


def test_a_column_that_is_not_there_or_has_gaps_is_refused(load):
    with pytest.raises(data.DataError, match=r"no column 'doner'.*there are: donor, label, age"):
        load(cells(), batch="doner")
    made = cells()
    made.obs["label"] = pd.Categorical([None, *made.obs["label"][1:]])
    with pytest.raises(data.DataError, match="1 cells have no cell_type"):
        load(made)


def test_a_broken_file_is_refused(load, tmp_path):
    made = cells()
    load(made)
    path = tmp_path / "mine.h5ad"
    path.write_bytes(path.read_bytes()[:2000])
    card = dataset_card(read_house(), {"datasets": {"mine": {"path": str(path)}}}, "mine")
    with pytest.raises(data.DataError, match=r"cannot be read.*is the file complete"):
        data.load(card, {})


def test_a_multimodal_file_keeps_the_cells_that_have_both(load, caplog):
    rna, protein = cells(), cells(genes=4)
    protein.var_names = [f"p{j}" for j in range(4)]
    del protein.obs
    both = mudata.MuData({"rna": rna, "adt": protein[:15].copy()})
    with caplog.at_level(logging.WARNING):
        loaded = load(both, second_modality="adt")
    assert data.describe(loaded)["n_second"] == 4
    assert loaded["rna"].n_obs == 15
    assert "15 of 20 cells have both modalities" in caplog.text
    with pytest.raises(data.DataError, match="there are: rna, adt"):
        load(both, second_modality="atac")


def test_modalities_with_duplicated_or_no_common_cells_are_refused(load):
    rna, protein = cells(), cells(genes=4)
    del protein.obs
    rna.obs_names = ["twice", "twice", *rna.obs_names[2:]]
    with pytest.raises(data.DataError, match=r"modality rna: 1 duplicated cell ids.*'twice'"):
        load(mudata.MuData({"rna": rna, "adt": protein}), second_modality="adt")
    rna = cells()
    protein.obs_names = [f"other-{i}" for i in range(20)]
    with pytest.raises(data.DataError, match=r"no cell is in both modalities.*'AAAC-0'.*'other-0'"):
        load(mudata.MuData({"rna": rna, "adt": protein}), second_modality="adt")


def test_gene_sets_of_a_user_come_along_and_must_fit(load, tmp_path):
    sets = tmp_path / "sets.gmt"
    sets.write_text("A\tnone\tg0\tg3\tabsent\nB\tnone\tg5\nC\tnone\tabsent\n")
    loaded = load(cells(), gene_sets=str(sets))
    assert loaded.uns["gene_sets"] == ["A", "B"]
    assert loaded.varm["gene_sets"].toarray().tolist() == [
        [1, 0],
        [0, 0],
        [0, 0],
        [1, 0],
        [0, 0],
        [0, 1],
    ]
    sets.write_text("A\tnone\tENSG0\n")
    with pytest.raises(data.DataError, match=r"no gene of sets.gmt \('ENSG0', …\).*\('g0', …\)"):
        load(cells(), gene_sets=str(sets))
