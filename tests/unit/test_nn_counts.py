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


def test_rows_gathered_by_torch_as_on_a_gpu_are_those_of_the_kernel(monkeypatch):
    counts = Counts.of(DENSE)
    expected = counts[SOME]
    monkeypatch.setattr("dgnbench.nn.counts._compiled_here", lambda tensor: False)
    gathered = counts[SOME]
    for name in ("starts", "genes", "values", "library"):
        assert torch.equal(getattr(gathered, name), getattr(expected, name))


def test_zeros_that_are_stored_are_no_counts_and_the_given_matrix_stays():
    matrix = sparse.csr_matrix(DENSE)
    matrix.data[:5] = 0
    before = matrix.copy()
    assert (Counts.of(matrix).values > 0).all()
    assert matrix.nnz == before.nnz


def test_a_layer_over_counts_is_a_linear_layer_over_their_dense_rows():
    counts = Counts.of(DENSE)
    layer, upstream = CountsLinear(50, 7), torch.randn(30, 7)
    found = {}
    for few in (0.0, 1.0):  # dense; the kernels
        layer.FEW = few
        out = layer(counts)
        found[few] = out, *torch.autograd.grad((out * upstream).sum(), list(layer.parameters()))
    for one, other in zip(*found.values(), strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)
    linear = torch.nn.functional.linear(torch.as_tensor(DENSE), layer.weight.T, layer.bias)
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
