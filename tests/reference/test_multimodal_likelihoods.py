"""Likelihoods of multimodal models and products of experts against SciPy and closed forms."""

import numpy as np
import pytest
import torch
from scipy import sparse, stats
from torch.distributions import Normal

from dgnbench.nn.counts import Counts
from dgnbench.nn.experts import product_of_experts
from dgnbench.nn.likelihoods import log_multinomial, log_nb_of_logits

WIDE_X = [0, 1, 2, 9, 40, 1000, 1e6]
FAILURES = [1e-3, 0.1, 1.0, 30.0, 1e4]
LOGITS = [-8.0, -1.0, 0.0, 2.0, 8.0]


def doubles(*arrays):
    return [torch.as_tensor(np.asarray(a), dtype=torch.float64) for a in arrays]


def one_gene_a_cell(x):
    return Counts.of(np.asarray(x, dtype=np.float32)[:, None])


@pytest.mark.parametrize("dropout", [None, 1e-4, 0.3, 0.999])
@pytest.mark.parametrize(("dtype", "relative"), [(torch.float64, 1e-6), (torch.float32, 1e-5)])
def test_the_negative_binomial_of_logits_is_scipy_s_up_to_a_million(dropout, dtype, relative):
    x, failures, logits = (a.ravel().astype(np.float32).astype(float)
                           for a in np.meshgrid(WIDE_X, FAILURES, LOGITS))  # fmt: skip
    # SciPy takes the probability of a failure, 1 - p, exact for large logits too
    log_p = stats.nbinom.logpmf(x, failures, 1 / (1 + np.exp(logits)))
    inflation = None
    if dropout is not None:
        logit = float(np.float32(np.log(dropout / (1 - dropout))))
        inflation = torch.full((len(x), 1), logit, dtype=dtype)
        log_extra, log_not = -np.logaddexp(0, -logit), -np.logaddexp(0, logit)
        log_p = np.where(x == 0, np.logaddexp(log_extra, log_not + log_p), log_not + log_p)
    r, logits = (p[:, None].to(dtype) for p in doubles(failures, logits))
    ours = log_nb_of_logits(one_gene_a_cell(x), r, logits, inflation)
    assert np.allclose(ours, log_p, rtol=relative, atol=relative / 10)


def test_the_negative_binomial_of_logits_is_that_of_torch():
    rng = np.random.default_rng(0)
    x = rng.negative_binomial(2, 0.3, (6, 30))
    failures, logits = doubles(rng.gamma(2, 2, x.shape), rng.normal(0, 2, x.shape))
    theirs = torch.distributions.NegativeBinomial(failures, logits=logits).log_prob(
        torch.as_tensor(x, dtype=torch.float64)
    )
    assert torch.allclose(
        log_nb_of_logits(Counts.of(x), failures, logits), theirs.sum(1), rtol=1e-9
    )


@pytest.mark.parametrize("n", [1, 100, 10**6])
def test_the_multinomial_is_scipy_s(n):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4, 8))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    x = np.array([rng.multinomial(n, p) for p in shares])
    expected = [stats.multinomial.logpmf(row, n, p) for row, p in zip(x, shares, strict=True)]
    assert np.allclose(log_multinomial(Counts.of(x), *doubles(logits)), expected, rtol=1e-6)


@pytest.mark.parametrize("zero_inflated", [False, True])
def test_gradients_of_the_negative_binomial_of_logits_are_its_finite_differences(zero_inflated):
    rng = np.random.default_rng(0)
    counts = Counts.of(rng.poisson(1.0, (3, 5)))
    given = doubles(*rng.gamma(2, 2, (1, 3, 5)), *rng.normal(0, 1, (1 + zero_inflated, 3, 5)))
    given = [part.requires_grad_() for part in given]
    assert torch.autograd.gradcheck(lambda *parts: log_nb_of_logits(counts, *parts), given)


def test_gradients_of_the_multinomial_are_its_finite_differences():
    rng = np.random.default_rng(0)
    counts = Counts.of(rng.poisson(1.0, (3, 5)))
    (logits,) = doubles(rng.normal(0, 1, (3, 5)))
    given = logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda logits: log_multinomial(counts, logits), [given])


@pytest.mark.parametrize("model", ["negative binomial", "zero-inflated", "multinomial"])
def test_dense_and_sparse_counts_have_the_same_likelihood(model):
    rng = np.random.default_rng(0)
    x = rng.poisson(0.3, (20, 50))
    r, logits, inflation = doubles(rng.gamma(2, 2, x.shape), *rng.normal(0, 1, (2, 20, 50)))

    def total(matrix):
        counts = Counts.of(matrix)
        if model == "multinomial":
            return log_multinomial(counts, logits)
        return log_nb_of_logits(counts, r, logits, inflation if model[0] == "z" else None)

    assert torch.allclose(total(x), total(sparse.csr_matrix(x)), rtol=1e-6)


def test_a_cell_without_counts_has_a_likelihood_of_one_and_harms_no_gradient():
    counts = Counts.of(np.array([[0, 0, 0], [1, 0, 4]]))
    logits = torch.zeros(2, 3, requires_grad=True)
    failures = torch.tensor([[0.0, 0, 0], [1, 1, 1]], requires_grad=True)
    for total in (log_multinomial(counts, logits), log_nb_of_logits(counts, failures, logits)):
        assert total[0] == 0
        total.sum().backward()
        assert logits.grad.isfinite().all()
    assert failures.grad.isfinite().all()


def test_a_product_of_experts_is_the_normalised_product_of_their_densities():
    rng = np.random.default_rng(0)
    experts = [
        Normal(*doubles(rng.normal(0, 2, (4, 3)), rng.gamma(2, 1, (4, 3)))) for _ in range(3)
    ]
    experts.append(Normal(*doubles(0.0, 0.7)))  # a prior
    joint = product_of_experts(experts)
    x = torch.linspace(-3, 3, 50, dtype=torch.float64)[:, None, None]
    difference = sum(e.log_prob(x) for e in experts) - joint.log_prob(x)
    assert torch.allclose(difference, difference[:1].expand_as(difference), rtol=1e-9)
    alone = product_of_experts(experts[:1])
    assert torch.allclose(alone.mean, experts[0].mean)
    assert torch.allclose(alone.stddev, experts[0].stddev)
