"""The network of CLUE: a matrix of encoders and a decoder a modality; and the discriminator.

Modality k is embedded as u_k = [source subspace, target subspace] by its own encoders, and the decoder
of modality j reads subspace j alone, whichever modality the embedding came from. Losses on shared weights
are those of scglue 0.4.1 (tests/reference/test_clue.py).
"""

from itertools import pairwise

import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import cosine_similarity, normalize, softplus

from dgnbench.nn.blocks import mlp
from dgnbench.nn.likelihoods import log_likelihood

EPSILON = 1e-7  # added to standard deviations
MODALITIES = ("source", "target")


def _leaky():
    return nn.LeakyReLU(0.2)


class Layers(nn.Module):
    """Linear, LeakyReLU(0.2), BatchNorm, Dropout, a hidden layer.

    Covariates (cells, n_covariates) are joined to every layer's input, and to what comes out.
    """

    def __init__(self, n_in, hidden, dropout, n_covariates=0):
        super().__init__()
        widths = [n_in, *hidden]
        self.linears = nn.ModuleList(
            nn.Linear(n + n_covariates, width) for n, width in pairwise(widths)
        )
        self.afters = nn.ModuleList(
            nn.Sequential(_leaky(), nn.BatchNorm1d(width), nn.Dropout(dropout)) for width in hidden
        )
        self.n_out = widths[-1] + n_covariates

    def forward(self, x, *covariates):
        for linear, after in zip(self.linears, self.afters, strict=True):
            x = after(linear(torch.cat([x, *covariates], 1)))
        return torch.cat([x, *covariates], 1)


class Encoder(nn.Module):
    """A modality's features to a Gaussian on the concatenation of both subspaces."""

    def __init__(self, n_in, n_latent, hidden, dropout):
        super().__init__()
        self.bodies = nn.ModuleList(Layers(n_in, hidden, dropout) for _ in MODALITIES)
        self.heads = nn.ModuleList(nn.Linear(body.n_out, 2 * n_latent) for body in self.bodies)

    def forward(self, x):
        parts = [head(body(x)) for body, head in zip(self.bodies, self.heads, strict=True)]
        means, scales = zip(*(part.chunk(2, dim=1) for part in parts), strict=True)
        return Normal(torch.cat(means, 1), softplus(torch.cat(scales, 1)) + EPSILON)


class CountDecoder(nn.Module):
    """A subspace to negative binomial counts at the observed library size.

    Every batch scales and shifts a feature's logit in a way of its own.
    """

    def __init__(self, n_latent, n_batches, n_features, hidden, dropout):
        super().__init__()
        self.body = Layers(n_latent, hidden, dropout, n_batches)
        self.logit = nn.Linear(self.body.n_out, n_features)
        self.raw_scale = nn.Parameter(torch.zeros(n_batches, n_features))
        self.shift = nn.Parameter(torch.zeros(n_batches, n_features))
        self.log_theta = nn.Parameter(torch.zeros(n_features))

    def nll(self, u, batch, counts):
        """Mean negative log-likelihood over cells and features."""
        logits = batch @ softplus(self.raw_scale) * self.logit(self.body(u, batch))
        logits = logits + batch @ self.shift
        return -log_likelihood(counts, logits, self.log_theta.exp()).mean() / counts.n_genes


class GaussianDecoder(nn.Module):
    """A subspace to values on a continuous scale, with a standard deviation a feature and batch."""

    def __init__(self, n_latent, n_batches, n_features, hidden, dropout):
        super().__init__()
        self.body = Layers(n_latent, hidden, dropout, n_batches)
        self.mean = nn.Linear(self.body.n_out, n_features)
        self.raw_scale = nn.Parameter(torch.zeros(n_batches, n_features))

    def forward(self, u, batch):
        return self.mean(self.body(u, batch))

    def nll(self, u, batch, values):
        """Mean negative log-likelihood over cells and features."""
        scale = batch @ softplus(self.raw_scale) + EPSILON
        return -Normal(self(u, batch), scale).log_prob(values).mean()


class Clue(nn.Module):
    """The four encoders and two decoders.

    A modality is read as `features` (cells, n_in[k]) and explained as `observed`, `Counts` (cells, genes)
    by a `CountDecoder` or values (cells, features) by a `GaussianDecoder`; batch are one-hot columns.
    """

    def __init__(
        self, n_in, n_features, decoders, n_batches, *, n_latent, encoder_hidden, decoder_hidden, dropout,
        normalize_u,
    ):  # fmt: skip
        super().__init__()
        self.length_one = normalize if normalize_u else nn.Identity()
        self.n_features = n_features
        self.subspace = {"source": slice(n_latent), "target": slice(n_latent, 2 * n_latent)}
        self.encoders, self.decoders = nn.ModuleDict(), nn.ModuleDict()
        for k in MODALITIES:
            self.encoders[k] = Encoder(n_in[k], n_latent, encoder_hidden, dropout)
            self.decoders[k] = decoders[k](
                n_latent, n_batches, n_features[k], decoder_hidden, dropout
            )

    def losses(self, features, observed, batch):
        """The parts of the loss, each a mean over cells, and the mean embedding of either modality."""
        q = {k: self.encoders[k](features[k]) for k in MODALITIES}
        u = {k: self.length_one(q[k].rsample() if self.training else q[k].mean) for k in MODALITIES}
        joint = self.length_one((u["source"] + u["target"]) / 2)
        prior = Normal(torch.zeros_like(joint), 1.0)  # of the embedding before it is normalised

        def nll(k, embedding):
            return self.decoders[k].nll(embedding[:, self.subspace[k]], batch, observed[k])

        parts = {
            "data": sum(nll(k, u[k]) for k in MODALITIES),
            "kl": sum(
                kl_divergence(q[k], prior).sum(1).mean() / self.n_features[k] for k in MODALITIES
            ),
            "cross": sum(nll(k, joint) for k in MODALITIES),
            "cos": sum(1 - cosine_similarity(u[k], joint).mean() for k in MODALITIES),
        }
        return parts, {k: q[k].mean for k in MODALITIES}

    def embed(self, modality, features):
        """The embedding from one modality alone, not normalised, (cells, 2 n_latent)."""
        return self.encoders[modality](features).mean

    def predict(self, features, batch):
        """The target decoded from the source's embedding alone."""
        u = self.length_one(self.embed("source", features))
        return self.decoders["target"](u[:, self.subspace["target"]], batch)


class Discriminator(nn.Module):
    """Tells from an embedding and its batch which modality it came from."""

    def __init__(self, n_latent, n_batches, hidden, dropout):
        super().__init__()
        body = mlp(2 * n_latent + n_batches, hidden, activation=_leaky, dropout=dropout)
        self.logit = nn.Sequential(body, nn.Linear(hidden[-1], 1))

    def cross_entropy(self, embeddings, batch, noise):
        """Mean over the cells of both modalities; `noise`, in units of the prior, blurs them."""
        source, target = (
            self.logit(torch.cat([u + noise * torch.randn_like(u), batch], 1)).squeeze(1)
            for u in (embeddings[k] for k in MODALITIES)
        )
        return (softplus(source).mean() + softplus(-target).mean()) / 2
