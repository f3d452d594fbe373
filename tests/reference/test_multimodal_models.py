"""Own multimodal models: losses against SciPy and closed forms, and the factors that they are to find."""

import numpy as np
import pytest
import torch
from anndata import AnnData
from scipy import integrate, sparse, stats

from dgnbench.cards import read_house
from dgnbench.contract import Declined
from dgnbench.nn.adversarial import critic_network
from dgnbench.nn.counts import Counts

HOUSE = read_house()


def settings(method, **others):
    card = HOUSE.methods[method]
    return {**card.params, **card.smoke, **others}


def simulate(kind, n_cells=600, n_genes=150, seed=0):
    """RNA and a second modality of the same cells, of three shared factors and two private ones each.

    Log-linear rates and overdispersed counts. Also returns the shared factors (n_cells, 3).
    """
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n_cells, 3))
    parts = []
    for modality, n, base in (
        ("rna", n_genes, 1.5),
        (kind, 30, 3) if kind == "protein" else (kind, 300, -1),
    ):
        factors = np.hstack([shared, rng.normal(size=(n_cells, 2))])
        rate = np.exp(base + factors @ rng.normal(0, 0.5, (5, n)))
        counts = rng.poisson(rate * rng.gamma(4, 1 / 4, rate.shape))
        made = AnnData(sparse.csr_matrix(counts, dtype=np.float32), uns={"modality": modality})
        parts.append(made)
    return *parts, shared


def canonical_correlations(x, y):
    q, r = (np.linalg.qr(a - a.mean(0))[0] for a in (np.asarray(x, float), np.asarray(y, float)))
    return np.linalg.svd(q.T @ r, compute_uv=False)


def embedding(method, loaded, *parts, **params):
    """Of paired cells: the method's joint one, or the mean of a cell's two."""
    module = loaded(method)
    if hasattr(module, "joint_embedding"):
        return module.joint_embedding(*parts, seed=0, **params)
    module.nn.start(0)
    values = {k: module._values(x, "cpu") for k, x in zip(module.MODALITIES, parts, strict=True)}
    model = module._train(*values.values(), torch.device("cpu"), **params)
    with torch.no_grad():
        return sum(model.encode(k, values[k]) for k in values).numpy() / 2


OWN = ("scmm", "cobolt", "dpcca", "cross_modal_ae")


@pytest.mark.parametrize("kind", ["protein", "atac"])
@pytest.mark.parametrize(
    ("method", "others"), [*((m, {}) for m in (*OWN, "clue")), ("jae", {"label_fraction": 0.0})]
)
def test_it_recovers_the_factors_that_both_modalities_share(method, others, kind, loaded):
    source, target, shared = simulate(kind)
    found = embedding(method, loaded, source, target, **settings(method, **others))
    assert canonical_correlations(found, shared).min() >= 0.9


@pytest.mark.parametrize(
    ("method", "kind", "others"),
    [
        ("cca", "protein", {}),
        ("cobolt", "protein", {}),
        ("cobolt", "atac", {}),
        ("totalvi", "protein", {}),
        ("multivi", "atac", {"max_epochs": 150}),
    ],
)
def test_in_a_mosaic_cells_with_one_modality_lie_among_those_with_both(
    method, kind, others, loaded
):
    """The shared factors of either kind of cell are told by one and the same linear map."""
    source, target, shared = simulate(kind)
    both = np.arange(source.n_obs) % 2 == 0
    found = loaded(method).mosaic_embedding(
        source, target[both].copy(), seed=0, **settings(method, **others)
    )
    both_first = np.argsort(~both, kind="stable")
    x, y = np.c_[found, np.ones(len(found))][both_first], shared[both_first]
    n = both.sum()
    told = x[n:] @ np.linalg.lstsq(x[:n], y[:n], rcond=None)[0]
    error = ((told - y[n:]) ** 2).mean(0) / y[n:].var(0)
    assert error.max() < 0.5
    assert np.linalg.norm((told - y[n:]).mean(0)) < 0.3


@pytest.mark.parametrize("method", OWN)
def test_equal_seeds_give_equal_embeddings(method, loaded):
    source, target, _ = simulate("protein", n_cells=100)
    first, again = (
        embedding(method, loaded, source, target, **settings(method, epochs=2)) for _ in range(2)
    )
    assert np.array_equal(first, again)


@pytest.mark.parametrize("method", OWN)
def test_a_modality_without_counts_is_declined(method, loaded):
    source, target, _ = simulate("protein", n_cells=100)
    target.X = sparse.csr_matrix(target.shape, dtype=np.float32)
    with pytest.raises(Declined, match="protein has no counts"):
        embedding(method, loaded, source, target, **settings(method, epochs=2))


@pytest.mark.parametrize("method", OWN)
def test_cells_and_features_without_counts_and_a_single_target_feature_do_no_harm(method, loaded):
    source, target, _ = simulate("protein", n_cells=100)
    for part in (source, target):
        counts = part.X.toarray()
        counts[3], counts[:, 0] = 0, 0
        part.X = sparse.csr_matrix(counts)
    for one in (target, target[:, [1]].copy()):
        found = embedding(method, loaded, source, one, **settings(method, epochs=2))
        assert np.isfinite(found).all()


@pytest.mark.parametrize("kind", ["protein", "atac"])
def test_the_losses_of_scmm_are_those_of_scipy_on_the_same_weights(kind, loaded):
    net = loaded("scmm").net
    source, target, _ = simulate(kind, n_cells=8, n_genes=20)
    matrices = {"source": source.X.toarray(), "target": target.X.toarray()}
    counts = {k: Counts.of(x) for k, x in matrices.items()}
    shares = {k: Counts.of(x / x.sum(1, keepdims=True) * 1e4) for k, x in matrices.items()}
    model = net.Scmm(
        {k: x.shape[1] for k, x in matrices.items()}, n_latent=3,
        hidden={k: [6, 5] for k in matrices}, zero_inflated={"source": False, "target": kind == "atac"},
    )  # fmt: skip
    torch.manual_seed(1)
    with torch.no_grad():
        nll, kl = model.losses(counts, shares)
        torch.manual_seed(1)
        expected_nll, expected_kl = np.zeros(8), np.zeros(8)
        for of in net.MODALITIES:
            q = model.vaes[of].latent(shares[of])
            assert q.scale.sum(1).numpy() == pytest.approx(np.full(8, 3), rel=1e-5)
            z = q.rsample()
            for k, x in matrices.items():
                failures, logit, inflation = (
                    None if part is None else part.double().numpy()
                    for part in model.vaes[k].decode(z, counts[k].library)
                )
                log_p = stats.nbinom.logpmf(x, failures, 1 / (1 + np.exp(logit)))
                if inflation is not None:
                    extra, not_extra = -np.logaddexp(0, -inflation), -np.logaddexp(0, inflation)
                    log_p = np.where(
                        x == 0, np.logaddexp(extra, not_extra + log_p), not_extra + log_p
                    )
                expected_nll -= log_p.sum(1) / 2
            location, scale = q.loc.double().numpy(), q.scale.double().numpy()
            each = np.abs(location) + scale * np.exp(-np.abs(location) / scale) - np.log(scale) - 1
            expected_kl += each.sum(1) / 2
    assert np.allclose(nll, expected_nll, rtol=1e-4)
    assert np.allclose(kl, expected_kl, rtol=1e-4)


def test_the_kl_of_laplace_posteriors_is_its_integral():
    q, p = stats.laplace(0.7, 0.4), stats.laplace(0, 1)
    integral, _ = integrate.quad(
        lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), -9, 9, points=[0, 0.7]
    )
    assert integral == pytest.approx(0.7 + 0.4 * np.exp(-0.7 / 0.4) - np.log(0.4) - 1, rel=1e-6)


def test_counts_that_scmm_draws_have_the_mean_of_its_likelihood(loaded):
    net = loaded("scmm").net
    torch.manual_seed(0)
    vae = net.Vae(5, n_latent=2, hidden=[4], zero_inflated=True).eval()
    z, library = torch.randn(1, 2).expand(20000, 2), torch.full((20000,), 2e4)
    with torch.no_grad():
        failures, logit, inflation = vae.decode(z[:1], library[:1])
        mean = failures * logit.exp() * torch.sigmoid(-inflation)
        drawn = vae.draw(z, library)
    error = drawn.std(0) / np.sqrt(len(drawn))
    assert ((drawn.mean(0) - mean).abs() < 4 * error).all()


@pytest.mark.skipif("cobolt" not in OWN, reason="no task for it yet")
def test_the_losses_of_cobolt_are_those_of_scipy_on_the_same_weights(loaded):
    net = loaded("cobolt").net
    source, target, _ = simulate("atac", n_cells=8, n_genes=20)
    matrices = {"source": source.X.toarray(), "target": target.X.toarray()}
    counts = {k: Counts.of(x) for k, x in matrices.items()}
    model = net.Cobolt(
        {k: x.shape[1] for k, x in matrices.items()}, 2, n_topics=4, hidden=[6, 5]
    ).eval()
    batch = torch.eye(2)[[0, 1] * 4]
    with torch.no_grad():
        for decoder in model.decoders.values():
            decoder.slope.normal_()
            decoder.intercept.normal_()
        torch.manual_seed(1)
        nll, kl = model.losses(counts, batch)
        torch.manual_seed(1)
        a = 50 / 4
        variance = (1 / a) * (1 - 2 / 4) + 1 / (a * 4)
        expected_nll, expected_kl = np.zeros(8), np.zeros(8)
        for subset in (["source"], ["target"], ["source", "target"]):
            q = model.latent({k: counts[k] for k in subset})
            topics = torch.softmax(q.rsample(), 1)
            for k in subset:
                d = model.decoders[k]
                logits = topics @ d.profiles * (1 + batch @ d.slope) + batch @ d.intercept
                shares = torch.softmax(logits.double(), 1).numpy()
                for i, x in enumerate(matrices[k]):
                    expected_nll[i] -= stats.multinomial.logpmf(
                        x, x.sum(), shares[i] / shares[i].sum()
                    )
            mean, var = q.mean.double().numpy(), q.variance.double().numpy()
            expected_kl += ((var + mean**2) / variance - 1 + np.log(variance / var)).sum(1) / 2
    assert np.allclose(nll, expected_nll, rtol=1e-4)
    assert np.allclose(kl, expected_kl, rtol=1e-4)


def factor_model(n_cells=20000, seed=0):
    """Embeddings of two shared factors and one private a modality, and their loadings and noise."""
    rng = np.random.default_rng(seed)
    loadings = [torch.as_tensor(rng.normal(0, 1, (6, 4))) for _ in range(2)]
    for own in loadings:
        own[:, 3] = 0  # of the two private factors one does nothing
    noise = [torch.as_tensor(rng.uniform(0.5, 1.5, 6)) for _ in range(2)]
    shared = rng.normal(size=(n_cells, 2))
    y = np.hstack([
        np.hstack([shared, rng.normal(size=(n_cells, 2))]) @ own.numpy().T
        + rng.normal(size=(n_cells, 6)) * its.numpy() ** 0.5
        for own, its in zip(loadings, noise, strict=True)
    ])  # fmt: skip
    return torch.as_tensor(y - y.mean(0)), loadings, noise


def test_the_posterior_of_probabilistic_cca_is_that_of_the_whole_covariance(loaded):
    net = loaded("dpcca").net
    _, loadings, noise = factor_model(10)
    joint = net.joint_loadings(loadings)
    whole = torch.linalg.inv(joint @ joint.T + torch.cat(noise).diag())
    to_factors, covariance = net.posterior(joint, torch.cat(noise))
    assert torch.allclose(to_factors, whole @ joint)
    assert torch.allclose(covariance, torch.eye(6).double() - joint.T @ whole @ joint)


def test_em_of_probabilistic_cca_never_loses_likelihood_and_finds_the_model(loaded):
    net = loaded("dpcca").net
    y, true_loadings, true_noise = factor_model()
    moments = y.T @ y / len(y)
    torch.manual_seed(0)
    loadings, noise = [torch.randn(6, 4).double() for _ in range(2)], [torch.ones(6).double()] * 2

    def covariance(loadings, noise):
        joint = net.joint_loadings(loadings)
        return joint @ joint.T + torch.cat(noise).diag()

    def log_likelihood():
        c = covariance(loadings, noise)
        return -(torch.logdet(c) + torch.trace(torch.linalg.solve(c, moments))) / 2

    seen = [log_likelihood()]
    for _ in range(2000):
        loadings, noise = net.em_step(moments, loadings, noise)
        seen.append(log_likelihood())
    assert (torch.stack(seen).diff() > -1e-10).all()
    truth = covariance(true_loadings, true_noise)
    assert (covariance(loadings, noise) - truth).abs().max() < 0.05 * truth.abs().max()


def test_what_each_modality_tells_of_shared_factors_correlates_as_in_cca(loaded):
    net = loaded("dpcca").net
    y, loadings, noise = factor_model(50000)
    told = [
        y[:, rows] @ net.posterior(own, its)[0][:, :2]
        for rows, own, its in zip((slice(6), slice(6, 12)), loadings, noise, strict=True)
    ]
    classical = canonical_correlations(y[:, :6], y[:, 6:])
    assert np.allclose(canonical_correlations(*told), classical[:2], atol=0.01)


def test_the_losses_of_cross_modal_autoencoders_are_their_closed_forms(loaded):
    net = loaded("cross_modal_ae").net
    source, target, _ = simulate("protein", n_cells=8, n_genes=20)
    values = {"source": Counts.of(source.X), "target": Counts.of(target.X)}
    model = net.CrossModalAutoencoder(
        {k: x.n_genes for k, x in values.items()}, dict.fromkeys(values, 7), n_latent=3, n_layers=2
    )
    critic = critic_network(3, [4])
    error, apart, fooled, z = model.losses(values, critic, 0.0)
    expected = sum(((model.decode(k, z[k]) - x.dense()) ** 2).mean() for k, x in values.items())
    assert torch.allclose(error, expected)
    assert torch.allclose(apart, (z["source"] - z["target"]).abs().mean())
    says = {k: critic(z[k]) for k in values}
    assert torch.allclose(fooled, ((says["source"] - 1) ** 2).mean() + (says["target"] ** 2).mean())
    told = net.critic_error(critic, z["source"], z["target"])
    assert torch.allclose(told, (says["source"] ** 2).mean() + ((says["target"] - 1) ** 2).mean())


def test_the_losses_of_magan_are_scipys_on_the_same_weights(loaded):
    """Four cross entropies; fooling is one with the labels turned; errors there, and there and back."""
    net = loaded("magan").net
    torch.manual_seed(0)
    generators, critics = net.Generators(3, 2, [5, 4]), net.Discriminators(3, 2, [6])
    source, target = torch.randn(7, 3), torch.randn(7, 2)

    def cross_entropy(logits, real):
        log_odds = logits.detach().double().numpy()
        return -stats.logistic.logcdf(log_odds if real else -log_odds).mean()

    def error(x, y):
        return ((x - y) ** 2).mean().item()

    there, back = generators.to_target, generators.to_source
    fooled, cycle, mapped = generators.losses(source, target, critics)
    assert fooled.item() == pytest.approx(
        cross_entropy(critics.of_target(there(source)), True)
        + cross_entropy(critics.of_source(back(target)), True)
    )
    expected = error(back(there(source)), source) + error(there(back(target)), target)
    assert cycle.item() == pytest.approx(expected)
    apart = generators.correspondence(source, target).item()
    assert apart == pytest.approx(error(there(source), target) + error(back(target), source))
    told, _ = critics.losses(source, target, *(m.detach() for m in mapped))
    each = [
        cross_entropy(critics.of_source(source), True),
        cross_entropy(critics.of_target(target), True),
        cross_entropy(critics.of_source(back(target)), False),
        cross_entropy(critics.of_target(there(source)), False),
    ]
    assert told.item() == pytest.approx(np.mean(each))


@pytest.mark.parametrize("partner", [[1, 2, 0], [1, 0, 2]])
def test_magan_sends_clusters_of_unpaired_cells_where_its_few_pairs_say(partner, loaded):
    """Three clusters a domain, which may be laid on each other in six ways; 30 pairs of 600 cells."""
    module, rng = loaded("magan"), np.random.default_rng(0)
    centres = 2 * np.array([[0, 1], [0.9, -0.5], [-0.9, -0.5]])
    kinds = np.tile([0, 1, 2], 200)
    source = centres[kinds] + rng.normal(0, 0.2, (600, 2))
    target = centres[np.array(partner)[kinds]] + rng.normal(0, 0.2, (600, 2))
    target[30:] = rng.permutation(target[30:])
    module.nn.start(0)
    params = settings("magan", epochs=300, patience=300)
    del params["n_components"]
    domains = (torch.as_tensor(x, dtype=torch.float32) for x in (source, target))
    generators = module._train(*domains, 30, **params)
    with torch.no_grad():
        mapped = generators.to_target(torch.as_tensor(source[30:], dtype=torch.float32)).numpy()
    nearest = ((mapped[:, None] - centres) ** 2).sum(2).argmin(1)
    assert (nearest == np.array(partner)[kinds[30:]]).mean() > 0.98
