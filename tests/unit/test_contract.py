"""check_output: every way in which an output can break its contract is told in words."""

import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse

from dgnbench.contract import ContractError, check_output
from dgnbench.tasks import all_tasks

TASKS = all_tasks()
CELLS = {"counts": AnnData(np.ones((6, 4), dtype=np.float32))}
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (None, "returned None"),
        ("text", "numeric"),
        (np.ones((6, 3)), r"wanted shape \(6, 4\)"),
        (np.ones(6), "wanted shape"),
        (np.full((6, 4), np.inf), "24 of 24 values are not finite"),
        (np.full((6, 4), -0.5), "24 negative"),
        (np.full((6, 4), 1e300), "too large"),
        (np.ones((6, 4)) * 1j, "real numbers"),
        (sparse.csr_matrix(np.full((6, 4), -1.0)), "negative"),
    ],
)
def test_a_broken_prediction_is_refused(output, said):
    with pytest.raises(ContractError, match=said):
        check_output(TASKS["denoising"], CELLS, output)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (np.ones((6, 2)), "same coordinates"),
        (np.outer(np.arange(6), [1.0, 2.0]), "rank 1"),
        (np.arange(6.0)[:, None], "rank 1"),
        (np.ones((6, 101)), "1..100"),
        (np.full((6, 2), np.nan), "not finite"),
    ],
)
def test_a_degenerate_embedding_is_refused(output, said):
    with pytest.raises(ContractError, match=said):
        check_output(TASKS["integration"], CELLS, output)


def test_generated_values_must_be_integer_counts():
    problem = {"train": CELLS["counts"], "request": AnnData(obs=CELLS["counts"].obs[[]])}
    with pytest.raises(ContractError, match="integer"):
        check_output(TASKS["generation"], problem, np.full((6, 4), 0.5))
    assert check_output(TASKS["generation"], problem, np.ones((6, 4), dtype=int)).sum() == 24


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, sparse.coo_matrix])
def test_a_good_output_keeps_its_values_as_float32(kind):
    values = RNG.poisson(2.0, (6, 4)).astype(float)
    checked = check_output(TASKS["denoising"], CELLS, kind(values))
    dense = checked.toarray() if sparse.issparse(checked) else checked
    assert dense.dtype == np.float32
    assert (dense == values).all()


MATCHING = {"test_source": AnnData(np.ones((3, 2))), "test_target": AnnData(np.ones((1200, 2)))}


def test_a_matching_is_brought_to_csr_without_stored_zeros_and_never_made_dense():
    weights = np.zeros((3, 1200))
    weights[:, 5] = weights[:, 9] = 0.5
    stored = sparse.coo_matrix(weights)
    stored.data[0], stored.data[1] = 0.0, 1.0  # row 0 keeps a stored zero
    checked = check_output(TASKS["modality_matching"], MATCHING, stored)
    assert sparse.issparse(checked)
    assert checked.format == "csr"
    assert checked.dtype == np.float32
    assert checked.nnz == 5
    assert check_output(TASKS["modality_matching"], MATCHING, weights).nnz == 6


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (np.full(1200, 1 / 1200), "at most 1000 non-zero values a row, got a row with 1200"),
        (np.eye(1200)[0] * 0.9, r"sum to 1, got 3 others \(row 0 sums to 0.9\)"),
        (np.zeros(1200), "row 0 sums to 0"),
        (2 * np.eye(1200)[0] - np.eye(1200)[1], "3 negative ones"),
        (np.ones(1199) / 1199, r"wanted shape \(3, 1200\)"),
    ],
)
def test_a_broken_matching_is_refused(row, said):
    with pytest.raises(ContractError, match=said):
        check_output(TASKS["modality_matching"], MATCHING, sparse.csr_matrix(np.tile(row, (3, 1))))
