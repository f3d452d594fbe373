"""The network of CLUE: a matrix of encoders and a decoder a modality; and the discriminator.

Modality k is embedded as u_k = [source subspace, target subspace] by its own encoders, and the decoder
of modality j reads subspace j alone, whichever modality the embedding came from.
"""

import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import cosine_similarity, normalize, softplus

from dgnbench.nn.blocks import mlp
from dgnbench.nn.likelihoods import log_likelihood

EPSILON = 1e-7  # added to standard deviations
MODALITIES = ("source", "target")


def _block(n_in, hidden, dropout, norm=True):
    """Linear, BatchNorm, LeakyReLU(0.2), Dropout, a hidden layer (scglue)."""
    return mlp(n_in, hidden, activation=lambda: nn.LeakyReLU(0.2), norm=norm, dropout=dropout)


class Encoder(nn.Module):
    """A modality's features to a Gaussian on the concatenation of both subspaces."""

    def __init__(self, n_in, n_latent, hidden, dropout):
        super().__init__()
        self.bodies = nn.ModuleList(_block(n_in, hidden, dropout) for _ in MODALITIES)
        self.heads = nn.ModuleList(nn.Linear(hidden[-1], 2 * n_latent) for _ in MODALITIES)

    def forward(self, x):
        parts = [head(body(x)) for body, head in zip(self.bodies, self.heads, strict=True)]
        means, scales = zip(*(part.chunk(2, dim=1) for part in parts), strict=True)
        return Normal(torch.cat(means, 1), softplus(torch.cat(scales, 1)) + EPSILON)


class CountDecoder(nn.Module):
    """A subspace to negative binomial counts at the observed library size."""

    def __init__(self, n_latent, n_batches, n_features, hidden, dropout):
        super().__init__()
        self.body = _block(n_latent + n_batches, hidden, dropout)
        self.share = nn.Linear(hidden[-1], n_features)
        self.log_theta = nn.Parameter(torch.zeros(n_features))

    def nll(self, u, batch, counts):
        """Mean negative log-likelihood over cells and features."""
        logits = self.share(self.body(torch.cat([u, batch], 1)))
        return -log_likelihood(counts, logits, self.log_theta.exp()).mean() / counts.n_genes


class GaussianDecoder(nn.Module):
    """A subspace to values on a continuous scale, with one standard deviation a feature."""

    def __init__(self, n_latent, n_batches, n_features, hidden, dropout):
        super().__init__()
        self.body = _block(n_latent + n_batches, hidden, dropout)
        self.mean = nn.Linear(hidden[-1], n_features)
        self.raw_scale = nn.Parameter(torch.zeros(n_features))

    def forward(self, u, batch):
        return self.mean(self.body(torch.cat([u, batch], 1)))

    def nll(self, u, batch, values):
        """Mean negative log-likelihood over cells and features."""
        scale = softplus(self.raw_scale) + EPSILON
        return -Normal(self(u, batch), scale).log_prob(values).mean()


class Clue(nn.Module):
    """The four encoders and two decoders.

    The source comes as `features` (cells x n_components), read by its encoders, and as `counts`
    (`Counts`, cells x genes), which its decoder explains; the target as values; batch as one-hot columns.
    """

    def __init__(self, n_components, n_genes, n_target, n_batches, *, n_latent, encoder_hidden,
                 decoder_hidden, dropout, normalize_u):  # fmt: skip
        super().__init__()
        self.length_one = normalize if normalize_u else nn.Identity()
        n_in = {"source": n_components, "target": n_target}
        self.n_features = {"source": n_genes, "target": n_target}
        self.subspace = {"source": slice(n_latent), "target": slice(n_latent, 2 * n_latent)}
        decoder = {"source": CountDecoder, "target": GaussianDecoder}
        self.encoders, self.decoders = nn.ModuleDict(), nn.ModuleDict()
        for k in MODALITIES:
            self.encoders[k] = Encoder(n_in[k], n_latent, encoder_hidden, dropout)
            self.decoders[k] = decoder[k](
                n_latent, n_batches, self.n_features[k], decoder_hidden, dropout
            )

    def losses(self, features, counts, target, batch):
        """The parts of the loss, each a mean over cells, and both modalities' embeddings."""
        q = {"source": self.encoders["source"](features), "target": self.encoders["target"](target)}
        u_mean = {k: self.length_one(q[k].mean) for k in MODALITIES}
        u = {k: self.length_one(q[k].rsample()) for k in MODALITIES} if self.training else u_mean
        joint, joint_mean = ((v["source"] + v["target"]) / 2 for v in (u, u_mean))
        observed = {"source": counts, "target": target}
        prior = Normal(torch.zeros_like(joint), 1.0)  # of the embedding before it is normalised

        def nll(j, embedding):
            return self.decoders[j].nll(embedding[:, self.subspace[j]], batch, observed[j])

        parts = {
            "data": sum(nll(k, u[k]) for k in MODALITIES),
            "kl": sum(
                kl_divergence(q[k], prior).sum(1).mean() / self.n_features[k] for k in MODALITIES
            ),
            "joint_cross": sum(nll(k, joint) for k in MODALITIES),
            "real_cross": nll("target", u["source"]),
            "cos": sum(1 - cosine_similarity(u_mean[k], joint_mean).mean() for k in MODALITIES),
        }
        return parts, u_mean

    def embed(self, modality, x):
        """The embedding from one modality alone, (cells, 2 n_latent)."""
        return self.length_one(self.encoders[modality](x).mean)

    def predict(self, features, batch):
        """The target decoded from the source's embedding alone."""
        u = self.embed("source", features)
        return self.decoders["target"](u[:, self.subspace["target"]], batch)


class Discriminator(nn.Module):
    """Tells from an embedding and its batch which modality it came from."""

    def __init__(self, n_latent, n_batches, hidden, dropout):
        super().__init__()
        self.logit = nn.Sequential(
            _block(2 * n_latent + n_batches, hidden, dropout, norm=False), nn.Linear(hidden[-1], 1)
        )

    def cross_entropy(self, embeddings, batch, noise):
        """Mean over the cells of both modalities; `noise`, in standard deviations, blurs them."""
        spread = torch.cat([embeddings[k] for k in MODALITIES]).detach().std(0)
        source, target = (
            self.logit(torch.cat([u + noise * spread * torch.randn_like(u), batch], 1)).squeeze(1)
            for u in (embeddings[k] for k in MODALITIES)
        )
        return (softplus(source).mean() + softplus(-target).mean()) / 2
