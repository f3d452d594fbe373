"""The torch parts against SciPy and closed forms."""

import numpy as np
import pytest
import torch
from scipy import stats

from dgnbench import nn
from dgnbench.nn.adversarial import Generator, gradient_penalty, make_counts
from dgnbench.nn.blocks import mlp
from dgnbench.nn.likelihoods import log_nb, log_zinb

LARGEST = torch.log1p(torch.tensor([1.0, 2, 3, 4, 5, 600]))
X, MEAN, THETA = np.meshgrid([0, 1, 5, 200], [0.01, 1.0, 30.0], [0.1, 2.0, 100.0])


def tensors(*arrays):
    return [torch.as_tensor(a, dtype=torch.float64) for a in arrays]


def test_negative_binomial_is_scipy_s():
    expected = stats.nbinom.logpmf(X, THETA, THETA / (THETA + MEAN))
    assert np.allclose(log_nb(*tensors(X, MEAN, THETA)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dropout", [0.05, 0.7])
def test_zero_inflation_is_the_explicit_mixture(dropout):
    log_nb_part = np.log(1 - dropout) + stats.nbinom.logpmf(X, THETA, THETA / (THETA + MEAN))
    expected = np.where(X == 0, np.logaddexp(np.log(dropout), log_nb_part), log_nb_part)
    logit = torch.tensor(np.log(dropout / (1 - dropout)))
    assert np.allclose(log_zinb(*tensors(X, MEAN, THETA), logit), expected, rtol=1e-5, atol=1e-5)


def test_likelihoods_are_those_of_scvi_tools():
    from scvi.distributions import NegativeBinomial, ZeroInflatedNegativeBinomial

    x, mean, theta = tensors(X, MEAN, THETA)
    theirs = NegativeBinomial(mu=mean, theta=theta).log_prob(x)
    assert torch.allclose(log_nb(x, mean, theta), theirs, rtol=1e-6)
    logit = torch.full_like(x, 0.3)
    theirs = ZeroInflatedNegativeBinomial(mu=mean, theta=theta, zi_logits=logit).log_prob(x)
    assert torch.allclose(log_zinb(x, mean, theta, logit), theirs, rtol=1e-6)


def test_a_linear_critic_of_unit_weight_has_no_penalty():
    critic = torch.nn.Linear(4, 1, bias=False)
    real, fake = torch.randn(8, 4), torch.randn(8, 4)
    with torch.no_grad():
        critic.weight[:] = torch.tensor([[0.5, -0.5, 0.5, 0.5]])
    assert gradient_penalty(critic, real, fake).item() == pytest.approx(0, abs=1e-10)
    with torch.no_grad():
        critic.weight *= 3
    assert gradient_penalty(critic, real, fake).item() == pytest.approx(4, abs=1e-5)


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
