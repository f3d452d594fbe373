"""The network of scVI (Lopez et al. 2018), with the layers and defaults of scvi-tools 1.4.2."""

import torch
from torch import nn
from torch.distributions import Gamma, Normal, kl_divergence

from dgnbench.nn.blocks import ConditionalMLP
from dgnbench.nn.likelihoods import log_likelihood

EPSILON = 1e-4  # added to the latent's variance (scvi-tools, Encoder)


class Vae(nn.Module):
    """Counts (cells, n_genes) to a Gaussian latent (cells, n_latent), and with the batch back."""

    def __init__(
        self, n_genes, n_batches, *, n_latent, n_hidden, n_layers, dropout_rate, zero_inflated
    ):
        super().__init__()
        hidden = [n_hidden] * n_layers
        self.encoder = ConditionalMLP(n_genes, hidden, counts=True, dropout=dropout_rate)
        self.latent_mean = nn.Linear(n_hidden, n_latent)
        self.latent_log_variance = nn.Linear(n_hidden, n_latent)
        self.decoder = ConditionalMLP(n_latent, hidden, n_covariates=n_batches)
        self.share = nn.Linear(n_hidden, n_genes)
        self.inflation = nn.Linear(n_hidden, n_genes) if zero_inflated else None
        self.log_theta = nn.Parameter(torch.randn(n_genes))

    def latent(self, counts):
        """q(z|x), (cells, n_latent)."""
        h = self.encoder(counts.log1p())
        return Normal(
            self.latent_mean(h),
            (self.latent_log_variance(h).exp() + EPSILON).sqrt(),
            validate_args=False,
        )

    def decode(self, z, batch):
        """Logits of the genes' shares, and of the zero inflation or None; (cells, n_genes) both."""
        h = self.decoder(z, batch)
        return self.share(h), None if self.inflation is None else self.inflation(h)

    def losses(self, counts, batch):
        """Negative log-likelihood and KL to the prior of every cell, (cells,) both.

        The library is the observed one; `batch` is one-hot (cells, n_batches).
        """
        q = self.latent(counts)
        logits, inflation = self.decode(q.rsample(), batch)
        found = log_likelihood(counts, logits, self.log_theta.exp(), inflation)
        return -found, kl_divergence(q, Normal(0.0, 1.0)).sum(1)

    def expected(self, counts, batch):
        """Mean counts at the observed library for one draw of the latent, (cells, n_genes)."""
        mean, inflation = self._mean(counts, batch)
        return mean if inflation is None else mean * torch.sigmoid(-inflation)

    def draw(self, counts, batch):
        """Counts from the posterior predictive, (cells, n_genes)."""
        mean, inflation = self._mean(counts, batch)
        theta = self.log_theta.exp().expand_as(mean)
        drawn = torch.poisson(Gamma(theta, theta / mean.clamp(min=1e-8)).sample())
        if inflation is None:
            return drawn
        return drawn * (torch.rand_like(drawn) >= torch.sigmoid(inflation))

    def _mean(self, counts, batch):
        logits, inflation = self.decode(self.latent(counts).sample(), batch)
        return counts.library[:, None] * torch.softmax(logits, 1), inflation
