"""Every likelihood and KL term that a method has of its own, against SciPy, torch and closed forms."""

import importlib.util
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from anndata import AnnData
from scipy import integrate, sparse, stats

from dgnbench.cards import read_house
from dgnbench.nn.counts import Counts
from dgnbench.nn.likelihoods import log_likelihood, log_nb

X, MEAN, THETA = np.meshgrid([0, 1, 5, 200], [0.01, 1.0, 30.0], [0.1, 2.0, 100.0])
LOG_NB = stats.nbinom.logpmf(X, THETA, THETA / (THETA + MEAN))


def module(method):
    """A method's ``method.py``, imported as the runner does."""
    file = read_house().methods[method].folder / "method.py"
    spec = importlib.util.spec_from_file_location(f"method_{method}", file)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def dca():
    return module("dca")


@pytest.fixture(scope="module")
def keras_vae():
    return module("keras_vae")


def torch_tensors(*arrays):
    return [torch.as_tensor(a, dtype=torch.float64) for a in arrays]


def tensors(*arrays):
    import tensorflow as tf

    return [tf.constant(a, dtype=tf.float64) for a in arrays]


def test_the_negative_binomial_of_torch_is_scipy_s():
    assert np.allclose(log_nb(*torch_tensors(X, MEAN, THETA)), LOG_NB, rtol=1e-6, atol=1e-6)


def test_the_negative_binomial_of_torch_is_that_of_scvi_tools():
    from scvi.distributions import NegativeBinomial

    x, mean, theta = torch_tensors(X, MEAN, THETA)
    theirs = NegativeBinomial(mu=mean, theta=theta).log_prob(x)
    assert torch.allclose(log_nb(x, mean, theta), theirs, rtol=1e-6, atol=1e-8)


WIDE_X = [0, 1, 2, 3, 8, 9, 40, 1000, 1e6]
WIDE_MEAN = [0.1, 1.0, 30.0, 1e3, 1e6]  # below, the 1e-8 inside the logarithm shows


@pytest.mark.parametrize("dropout", [None, 1e-4, 0.3, 0.999])
@pytest.mark.parametrize("theta", [1e-4, 1e-2, 1.0, 300.0, 1e4])
def test_the_likelihood_of_counts_in_float32_is_scipy_s_from_nothing_to_a_million(theta, dropout):
    """A cell with a single gene has its library for a mean, without rounding."""
    x, mean, theta = (a.astype(np.float32) for a in np.meshgrid(WIDE_X, WIDE_MEAN, theta))
    x, mean, theta = x.ravel(), mean.ravel(), theta.ravel()[:1]
    log_p = stats.nbinom.logpmf(x, theta.astype(float), 1 / (1 + mean / theta.astype(float)))
    inflation = None
    if dropout is not None:
        logit = np.full((len(x), 1), np.log(dropout / (1 - dropout)), np.float32)
        inflation, probability = torch.as_tensor(logit), 1 / (1 + np.exp(-logit[0].astype(float)))
        log_p = np.where(
            x == 0,
            np.logaddexp(np.log(probability), np.log1p(-probability) + log_p),
            np.log1p(-probability) + log_p,
        )
    counts = replace(Counts.of(x[:, None]), library=torch.as_tensor(mean))
    for dtype in (torch.float32, torch.float64):  # the compiled kernel; torch
        logits = torch.zeros(len(x), 1, dtype=dtype)
        ours = log_likelihood(
            counts, logits, torch.as_tensor(theta, dtype=dtype),
            None if inflation is None else inflation.to(dtype),
        )  # fmt: skip
        absolute = 3e-7 if dtype is torch.float32 and dropout else 1e-10
        assert np.allclose(ours, log_p, rtol=1e-6, atol=absolute)


def decoded(n_cells, n_genes, share_of_zeros):
    """Counts, and logits, theta and inflation of a decoder that fits them poorly; float64."""
    rng = np.random.default_rng(0)
    x = rng.negative_binomial(1, 0.02, (n_cells, n_genes))
    x[rng.random(x.shape) < share_of_zeros] = 0
    logits, inflation = rng.normal(0, 2, (2, n_cells, n_genes))
    theta = np.exp(rng.normal(0, 2, n_genes))
    return Counts.of(x), torch_tensors(logits, theta, inflation)


@pytest.mark.parametrize("zero_inflated", [False, True])
def test_gradients_of_the_likelihood_are_its_finite_differences(zero_inflated):
    counts, parts = decoded(3, 5, 0.5)
    given = [part.requires_grad_() for part in parts[: 2 + zero_inflated]]
    assert torch.autograd.gradcheck(lambda *parts: log_likelihood(counts, *parts), given)


@pytest.mark.parametrize("share_of_zeros", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("zero_inflated", [False, True])
def test_the_compiled_likelihood_and_its_gradients_are_those_of_torch(
    zero_inflated, share_of_zeros
):
    counts, parts = decoded(20, 101, share_of_zeros)
    if share_of_zeros == 1:  # a cell without counts has no library and no gradient
        counts = replace(counts, library=torch.full((20,), 90.0))
    upstream, found = torch.linspace(-1, 2, 20), {}
    for dtype in (torch.float32, torch.float64):
        given = [part.to(dtype).requires_grad_() for part in parts[: 2 + zero_inflated]]
        total = log_likelihood(counts, *given)
        found[dtype] = [total, *torch.autograd.grad(total @ upstream.to(dtype), given)]
    for ours, exact in zip(*found.values(), strict=True):
        assert (ours - exact).norm() <= 1e-6 * exact.norm()


def test_the_likelihood_of_counts_is_that_of_dense_entries():
    counts, (logits, theta, _) = decoded(6, 40, 0.8)
    mean = counts.library[:, None] * torch.softmax(logits, 1)
    dense = log_nb(counts.dense(), mean, theta).sum(1)
    assert torch.allclose(log_likelihood(counts, logits, theta), dense, rtol=1e-9)


def test_logits_may_lie_in_memory_as_they_will():
    counts, (logits, theta, inflation) = decoded(6, 40, 0.8)
    parts = logits.float(), theta.float(), inflation.float()
    turned = parts[0].T.contiguous().T.requires_grad_(), parts[1], parts[2].T.contiguous().T
    straight = parts[0].clone().requires_grad_(), *parts[1:]
    totals = [log_likelihood(counts, *given) for given in (turned, straight)]
    for total in totals:
        total.sum().backward()
    assert torch.equal(*totals)
    assert torch.equal(turned[0].grad, straight[0].grad)


def test_a_cell_without_counts_has_a_likelihood_of_one_and_harms_no_gradient():
    logits, theta = torch.zeros(2, 3, requires_grad=True), torch.ones(3, requires_grad=True)
    total = log_likelihood(Counts.of(np.array([[0, 0, 0], [1, 0, 4]])), logits, theta)
    total.sum().backward()
    assert total[0] == 0
    assert logits.grad.isfinite().all()
    assert theta.grad.isfinite().all()


def test_the_negative_binomial_of_dca_is_scipy_s(dca):
    assert np.allclose(dca.nb_nll(*tensors(X, MEAN, THETA)), -LOG_NB, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dropout", [0.05, 0.7])
def test_the_zero_inflation_of_dca_is_the_explicit_mixture(dca, dropout):
    from_nb = np.log(1 - dropout) + LOG_NB
    expected = np.where(X == 0, np.logaddexp(np.log(dropout), from_nb), from_nb)
    ours = dca.zinb_nll(*tensors(X, MEAN, THETA, dropout))
    assert np.allclose(ours, -expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_probabilities_under_dca_add_up_to_one_and_have_the_mean_that_it_returns(dca, dropout):
    counts = np.arange(2000.0)
    probability = np.exp(-dca.zinb_nll(*tensors(counts, 12.0, 1.5, dropout)).numpy())
    assert probability.sum() == pytest.approx(1, abs=1e-6)
    assert (counts * probability).sum() == pytest.approx((1 - dropout) * 12, rel=1e-6)


@pytest.mark.parametrize("likelihood", ["nb", "zinb"])
def test_dca_denoises_to_the_expected_counts_of_its_likelihood(dca, monkeypatch, likelihood):
    mean, theta, dropout = np.full((2, 3), 8.0), np.ones((2, 3)), np.full((2, 3), 0.25)
    heads = np.hstack([mean, theta, dropout] if likelihood == "zinb" else [mean, theta])
    model = SimpleNamespace(predict=lambda *inputs, **options: heads)
    monkeypatch.setattr(dca, "_train", lambda counts, **params: (model, None, None, None))
    denoised = dca.denoising(AnnData(sparse.csr_matrix((2, 3))), seed=0, likelihood=likelihood)
    assert np.allclose(denoised, 6 if likelihood == "zinb" else 8)


def test_the_kl_of_the_keras_vae_is_torch_s_mean_over_dimensions(keras_vae):
    from torch.distributions import Normal, kl_divergence

    rng = np.random.default_rng(0)
    mean, log_var, sigma0 = rng.normal(0, 2, (5, 4)), rng.normal(0, 1, (5, 4)), 0.8
    posterior = Normal(*torch_tensors(mean, np.exp(log_var / 2)))
    expected = kl_divergence(posterior, Normal(*torch_tensors(0.0, sigma0))).mean(dim=1)
    ours = keras_vae.kl_divergence(*tensors(mean, log_var), sigma0)
    assert np.allclose(ours, expected, rtol=1e-9)


def test_the_kl_of_the_keras_vae_is_its_integral_and_zero_at_the_prior(keras_vae):
    sigma0, mean, scale = 0.8, 1.3, 0.4
    q, p = stats.norm(mean, scale), stats.norm(0, sigma0)
    expected, _ = integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), -4, 6)
    ours = keras_vae.kl_divergence(*tensors([[mean]], [[2 * np.log(scale)]]), sigma0)
    assert float(ours[0]) == pytest.approx(expected, rel=1e-6)
    at_prior = keras_vae.kl_divergence(*tensors([[0.0]], [[2 * np.log(sigma0)]]), sigma0)
    assert float(at_prior[0]) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("latents", ["gaussian", "prior", "posterior"])
def test_latents_of_the_keras_vae_have_the_moments_of_where_they_are_drawn_from(keras_vae, latents):
    rng = np.random.default_rng(0)
    mixing = np.array([[1.0, 0.0], [0.8, 0.3]])
    mean, log_var = rng.normal(size=(500, 2)) @ mixing.T + [3, -1], np.log(np.full((500, 2), 0.25))
    drawn = keras_vae._draw(rng, latents, 20_000, mean, log_var, 0.8)
    if latents == "prior":
        centre, covariance = np.zeros(2), 0.64 * np.eye(2)
    else:  # the law of total covariance
        centre, covariance = mean.mean(axis=0), np.cov(mean.T) + 0.25 * np.eye(2)
    assert np.allclose(drawn.mean(axis=0), centre, atol=0.05)
    assert np.allclose(np.cov(drawn.T), covariance, atol=0.06)


CHOICES = {"noise": "per_cells", "schedule": "lectures", "latents": "priors"}


@pytest.mark.parametrize("name", CHOICES)
def test_the_keras_vae_refuses_a_misspelt_choice(keras_vae, name):
    card = read_house().methods["keras_vae"]
    train = AnnData(sparse.csr_matrix(np.eye(4)))
    with pytest.raises(ValueError, match=f"{name}: wanted .* got '{CHOICES[name]}'"):
        keras_vae.generation(train, None, seed=0, **{**card.params, name: CHOICES[name]})


def test_dca_refuses_a_misspelt_likelihood(dca):
    card = read_house().methods["dca"]
    counts = AnnData(sparse.csr_matrix(np.eye(4)))
    with pytest.raises(ValueError, match="likelihood: wanted nb or zinb, got 'znib'"):
        dca.denoising(counts, seed=0, **{**card.params, "likelihood": "znib"})
