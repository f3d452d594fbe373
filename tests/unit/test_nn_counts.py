"""Minibatches from sparse counts, and the layers that read them."""

import numpy as np
import pytest
import torch
from scipy import sparse

from dgnbench.nn.blocks import ConditionalMLP, CountsLinear
from dgnbench.nn.counts import Counts

DENSE = np.random.default_rng(0).poisson(0.3, (30, 50)).astype(np.float32)
SOME = torch.tensor([4, 29, 4, 0])


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, np.array])
def test_counts_are_the_matrix_in_whatever_form_it_came(form):
    counts = Counts.of(form(DENSE))
    assert np.array_equal(counts.dense(), DENSE)
    assert np.array_equal(counts.library, DENSE.sum(axis=1))
    assert np.array_equal(counts.log1p().dense(), torch.as_tensor(DENSE).log1p())


def test_a_minibatch_has_the_rows_asked_for_in_their_order():
    batch = Counts.of(DENSE)[SOME]
    assert np.array_equal(batch.dense(), DENSE[SOME])
    assert np.array_equal(batch.library, DENSE[SOME].sum(axis=1))


def test_padded_rows_are_equally_long_whichever_cells_they_are_and_hold_the_non_zeros():
    counts = Counts.of(DENSE)
    longest = int((DENSE > 0).sum(axis=1).max())
    for cells in (SOME, torch.tensor([int((DENSE > 0).sum(axis=1).argmin())])):
        genes, values = counts[cells].padded()
        assert genes.shape == values.shape == (len(cells), longest)
        for i, row in enumerate(DENSE[cells.numpy()]):
            is_count = values[i] > 0
            assert np.array_equal(genes[i][is_count], np.flatnonzero(row))
            assert np.array_equal(values[i][is_count], row[row > 0])


def test_a_minibatch_shares_the_memory_of_all_counts():
    counts = Counts.of(DENSE)
    assert counts[SOME].values.data_ptr() == counts.values.data_ptr()
    assert counts[SOME].density() == pytest.approx((DENSE[SOME] > 0).mean())


def test_counts_in_their_plain_form_are_not_copied_and_others_leave_the_matrix_alone():
    plain = sparse.csr_matrix(DENSE)
    assert Counts.of(plain).values.data_ptr() == plain.data.ctypes.data
    doubled = sparse.csr_matrix((np.ones(4, np.float32), [1, 1, 2, 0], [0, 3, 4]), shape=(2, 3))
    counts = Counts.of(doubled)
    assert np.array_equal(counts.dense(), [[0, 2, 1], [1, 0, 0]])
    assert doubled.nnz == 4


def test_no_counts_at_all_are_rows_of_zeros():
    empty = Counts.of(np.zeros((3, 4)))
    assert torch.equal(empty[torch.tensor([2, 0])].dense(), torch.zeros(2, 4))


def test_zeros_that_are_stored_are_no_counts_and_the_given_matrix_stays():
    matrix = sparse.csr_matrix(DENSE)
    matrix.data[:5] = 0
    before = matrix.copy()
    assert (Counts.of(matrix).values > 0).all()
    assert matrix.nnz == before.nnz


@pytest.mark.parametrize("logged", [False, True])
def test_a_layer_over_counts_is_a_linear_layer_over_their_dense_rows(logged):
    counts = Counts.of(DENSE)
    counts = counts.log1p() if logged else counts
    layer, upstream = CountsLinear(50, 7), torch.randn(30, 7)
    found = {}
    for few in (0.0, 1.0):  # dense; the kernels
        layer.FEW = few
        out = layer(counts)
        found[few] = out, *torch.autograd.grad((out * upstream).sum(), list(layer.parameters()))
    for one, other in zip(*found.values(), strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)
    linear = torch.nn.functional.linear(counts.dense(), layer.weight.T, layer.bias)
    assert torch.allclose(found[1.0][0], linear, rtol=1e-5, atol=1e-5)


def test_a_layer_over_counts_is_drawn_like_a_linear_layer():
    torch.manual_seed(0)
    ours, its = CountsLinear(400, 300), torch.nn.Linear(400, 300)
    for name in ("weight", "bias"):
        drawn, like = getattr(ours, name).detach(), getattr(its, name).detach()
        assert drawn.std().item() == pytest.approx(like.std().item(), rel=0.1)
        assert drawn.abs().max() <= 400**-0.5


def test_covariates_reach_every_layer_but_the_one_over_counts():
    dense = ConditionalMLP(5, [4, 3], n_covariates=2)
    assert [linear.in_features for linear in dense.linears] == [7, 6]
    of_counts = ConditionalMLP(50, [4, 3], n_covariates=2, counts=True)
    assert of_counts.linears[0].weight.shape == (50, 4)
    assert of_counts.linears[1].in_features == 6
    assert of_counts(Counts.of(DENSE), torch.ones(30, 2)).shape == (30, 3)
