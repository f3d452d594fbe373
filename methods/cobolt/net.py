"""The network of Cobolt (Gong, Zhou & Purdom 2021): topics shared by modalities, written from the paper.

A cell's latent is Gaussian and its softmax the cell's shares of K topics, so that the prior stands for a
Dirichlet. A modality's counts are multinomial, from a mixture of the topics' profiles.
"""

import math

import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from dgnbench.nn.blocks import CountsLinear, mlp
from dgnbench.nn.experts import product_of_experts
from dgnbench.nn.likelihoods import log_multinomial

MODALITIES = ("source", "target")
SUBSETS = (("source",), ("target",), MODALITIES)
CONCENTRATION = 50  # of the Dirichlet, summed over topics


def prior(n_topics):
    """Laplace's approximation, in softmax's basis, of the symmetric Dirichlet of 50 / K a topic.

    Its mean is 0 and its variance ``(1 / a) (1 − 2 / K) + 1 / (a K)`` (Srivastava & Sutton 2017,
    arXiv:1703.01488, section 3.2).
    """
    a = CONCENTRATION / n_topics
    variance = (1 / a) * (1 - 2 / n_topics) + 1 / (a * n_topics)
    return Normal(0.0, math.sqrt(variance))


class Encoder(nn.Module):
    """One modality's counts (cells, n_features) to a Gaussian over the latent, (cells, n_topics)."""

    def __init__(self, n_features, n_topics, hidden):
        super().__init__()
        first, *others = hidden
        self.body = nn.Sequential(
            CountsLinear(n_features, first),
            nn.BatchNorm1d(first),
            nn.LeakyReLU(),
            mlp(first, others, activation=nn.LeakyReLU, norm=True),
        )
        self.mean = nn.Linear(hidden[-1], n_topics)
        self.log_variance = nn.Linear(hidden[-1], n_topics)

    def forward(self, counts):
        h = self.body(counts.log1p())
        return Normal(self.mean(h), (self.log_variance(h) / 2).exp(), validate_args=False)


class Decoder(nn.Module):
    """Topics (cells, n_topics) to logits of features, each with a slope and an intercept a batch."""

    def __init__(self, n_topics, n_features, n_batches):
        super().__init__()
        self.profiles = nn.Parameter(torch.randn(n_topics, n_features))
        self.slope = nn.Parameter(torch.zeros(n_batches, n_features))
        self.intercept = nn.Parameter(torch.zeros(n_batches, n_features))

    def forward(self, topics, batch):
        return topics @ self.profiles * (1 + batch @ self.slope) + batch @ self.intercept


class Cobolt(nn.Module):
    """An encoder and a decoder a modality; the posterior is the product of the experts at hand."""

    def __init__(self, n_features, n_batches, *, n_topics, hidden):
        super().__init__()
        of_topics = prior(n_topics)
        self.register_buffer("prior_mean", of_topics.mean)  # so that it goes where the model goes
        self.register_buffer("prior_scale", of_topics.stddev)
        self.encoders = nn.ModuleDict(
            {k: Encoder(n_features[k], n_topics, hidden) for k in MODALITIES}
        )
        self.decoders = nn.ModuleDict(
            {k: Decoder(n_topics, n_features[k], n_batches) for k in MODALITIES}
        )

    @property
    def prior(self):
        """On the topics' logits, (n_topics,)."""
        return Normal(self.prior_mean, self.prior_scale, validate_args=False)

    def latent(self, counts):
        """q(z|x) from the modalities that `counts`, a dict of `Counts`, holds; (cells, n_topics)."""
        experts = [self.encoders[k](counts[k]) for k in counts]
        return product_of_experts([self.prior, *experts])

    def losses(self, counts, batch):
        """Negative log-likelihood and KL of every cell, (cells,) both.

        Each is a sum over those of `SUBSETS` that `counts`, a dict of `Counts`, holds all of: the sets of
        modalities that a cell could have been seen with. A set explains its own members. `batch` is one-hot
        (cells, n_batches).
        """
        experts = {k: self.encoders[k](counts[k]) for k in counts}
        nll, kl = 0.0, 0.0
        for subset in (s for s in SUBSETS if set(s) <= set(counts)):
            q = product_of_experts([self.prior, *(experts[k] for k in subset)])
            topics = torch.softmax(q.rsample(), 1)
            for k in subset:
                nll = nll - log_multinomial(counts[k], self.decoders[k](topics, batch))
            kl = kl + kl_divergence(q, self.prior).sum(1)
        return nll, kl
