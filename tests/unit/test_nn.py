"""The torch parts against closed forms; their likelihoods stand in reference/test_likelihoods.py."""

import numpy as np
import pytest
import torch
from anndata import AnnData
from scipy import sparse

from dgnbench import nn
from dgnbench.nn.adversarial import (
    Generator,
    gradient_penalty,
    make_counts,
    squared_gradient,
)
from dgnbench.nn.blocks import mlp
from dgnbench.nn.scvi_tools import mosaic, scored_draws

LARGEST = torch.log1p(torch.tensor([1.0, 2, 3, 4, 5, 600]))


def test_a_linear_critic_of_unit_weight_has_no_penalty():
    critic = torch.nn.Linear(4, 1, bias=False)
    real, fake = torch.randn(8, 4), torch.randn(8, 4)
    with torch.no_grad():
        critic.weight[:] = torch.tensor([[0.5, -0.5, 0.5, 0.5]])
    assert gradient_penalty(critic, real, fake).item() == pytest.approx(0, abs=1e-10)
    with torch.no_grad():
        critic.weight *= 3
    assert gradient_penalty(critic, real, fake).item() == pytest.approx(4, abs=1e-5)


def test_the_squared_gradient_of_a_linear_critic_is_its_squared_weight():
    critic = torch.nn.Linear(4, 1, bias=False)
    penalty = squared_gradient(critic, torch.randn(8, 4))
    assert penalty.item() == pytest.approx((critic.weight**2).sum().item(), rel=1e-6)
    penalty.backward()  # it is to be minimised: d w^2 / dw = 2 w
    assert torch.allclose(critic.weight.grad, 2 * critic.weight)


def test_an_mlp_without_hidden_layers_is_the_identity():
    x = torch.randn(3, 5)
    assert torch.equal(mlp(5, [])(x), x)


def test_generated_cells_are_counts_and_follow_the_seed():
    made = []
    for _ in range(2):
        nn.start(7)
        made.append(make_counts(Generator(4, [8], LARGEST).eval(), 20))
    assert made[0].shape == (20, 6)
    assert (made[0] == np.round(made[0])).all()
    assert (made[0] >= 0).all()
    assert (made[0] <= [1, 2, 3, 4, 5, 600]).all()
    assert (made[0] == made[1]).all()


@pytest.mark.parametrize("layer", [None, "counts"])
def test_cells_of_a_mosaic_have_their_own_counts_or_zeros(layer):
    def part(modality, counts, names, **obs):
        made = AnnData(sparse.csr_matrix(np.array(counts, dtype=np.float32)), obs=obs or None)
        made.obs_names, made.uns["modality"] = names, modality
        return made

    source = part("rna", [[1, 0], [2, 0], [3, 0]], ["a", "b", "c"], batch=["x", "y", "x"])
    target = part("protein", [[7, 8], [5, 6]], ["c", "a"])  # in another order, without b
    if layer:
        target.layers[layer], target.X = target.X, -target.X
    more = part("rna", [[4, 0]], ["a"])  # another cell, in spite of its name
    cells = mosaic(source, target, more)
    assert cells.counts["rna"].toarray()[:, 0].tolist() == [1, 2, 3, 4]
    assert cells.counts["protein"].toarray().tolist() == [[5, 6], [0, 0], [7, 8], [0, 0]]
    assert cells.batch.tolist() == ["x", "y", "x", "one"]
    assert (cells.known.tolist(), cells.unknown.tolist()) == ([0, 2], [1, 3])
    assert cells.known_batches == ["x"]


def test_draws_of_counts_are_scored_and_not_their_mean():
    """Of one gene a cell has log1p(10,000) or nothing; how often nothing, the distribution says."""
    depths, theta = np.array([0.5, 2.0]), np.array([1.5])
    made = scored_draws(np.ones((4000, 1)), depths, theta, n_samples=20, seed=0)
    of_any = 1 - np.mean((theta / (theta + depths)) ** theta)
    assert made.mean() == pytest.approx(np.log1p(1e4) * of_any, rel=0.01)
    again = scored_draws(np.ones((4000, 1)), depths, theta, n_samples=20, seed=0)
    assert np.array_equal(made, again)
