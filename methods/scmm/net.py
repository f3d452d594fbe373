"""The network of scMM (Minoura et al. 2021): a variational autoencoder a modality, latents shared."""

import torch
from torch import nn
from torch.distributions import Gamma, Laplace, kl_divergence
from torch.nn.functional import logsigmoid

from dgnbench.nn.blocks import CountsLinear, mlp
from dgnbench.nn.likelihoods import log_nb_of_logits

MODALITIES = ("source", "target")
EPSILON = 1e-6  # added to the posterior's scale (scMM, vae_rna.py)
BOUND = 12  # of logarithms of scales and of numbers of failures (scMM, vae_rna.py)
PER = 1e4  # counts to which encoders and decoders refer


class Vae(nn.Module):
    """One modality: counts per ten thousand (cells, n_features) to a Laplace latent, and back to counts."""

    def __init__(self, n_features, *, n_latent, hidden, zero_inflated):
        super().__init__()
        first, *others = hidden
        self.encoder = nn.Sequential(
            CountsLinear(n_features, first),
            nn.BatchNorm1d(first),
            nn.ReLU(),
            mlp(first, others, norm=True),
        )
        self.location = nn.Linear(hidden[-1], n_latent)
        self.raw_scale = nn.Linear(hidden[-1], n_latent)
        self.decoder = mlp(n_latent, hidden[::-1], norm=True)
        self.log_failures = nn.Linear(first, n_features)
        self.logit = nn.Linear(first, n_features)
        self.inflation = nn.Linear(first, n_features) if zero_inflated else None

    def latent(self, shares):
        """q(z|x), (cells, n_latent); its scales add up to n_latent."""
        h = self.encoder(shares)
        scale = torch.softmax(self.raw_scale(h).clamp(-BOUND, BOUND), 1)
        return Laplace(self.location(h), scale * scale.shape[1] + EPSILON, validate_args=False)

    def decode(self, z, library):
        """Number of failures, logit of success and of zero inflation (or None), (cells, n_features)."""
        h = self.decoder(z)
        failures = self.log_failures(h).clamp(-BOUND, BOUND).exp() * (library / PER)[:, None]
        return failures, self.logit(h), None if self.inflation is None else self.inflation(h)

    def log_likelihood(self, z, counts):
        """Of every cell, (cells,)."""
        failures, logit, inflation = self.decode(z, counts.library)
        return log_nb_of_logits(counts, failures, logit, inflation)

    def chance_of_any(self, z, library):
        """The probability of a count above zero, (cells, n_features)."""
        failures, logit, inflation = self.decode(z, library)
        chance = -torch.expm1(failures * logsigmoid(-logit))
        return chance if inflation is None else chance * torch.sigmoid(-inflation)

    def draw(self, z, library):
        """Counts (cells, n_features)."""
        failures, logit, inflation = self.decode(z, library)
        rate = Gamma(failures.clamp(min=1e-8), 1.0).sample() * logit.exp()
        drawn = torch.poisson(rate)
        if inflation is None:
            return drawn
        return drawn * (torch.rand_like(drawn) >= torch.sigmoid(inflation))


class Scmm(nn.Module):
    """Both modalities; the joint posterior is the even mixture of theirs."""

    def __init__(self, n_features, *, n_latent, hidden, zero_inflated):
        super().__init__()
        self.vaes = nn.ModuleDict(
            {
                k: Vae(
                    n_features[k],
                    n_latent=n_latent,
                    hidden=hidden[k],
                    zero_inflated=zero_inflated[k],
                )
                for k in MODALITIES
            }
        )

    def losses(self, counts, shares):
        """Negative log-likelihood and KL of every cell, (cells,) both, each a mean over the experts.

        A cell is drawn once from each modality's posterior, and both modalities are explained from
        either draw: a stratified sample of the mixture (Shi et al. 2019, arXiv:1911.03393, equation 3).
        `counts` and `shares`, counts per ten thousand, are dicts of `Counts`.
        """
        likelihood, kl = 0.0, 0.0
        for of in MODALITIES:
            q = self.vaes[of].latent(shares[of])
            z = q.rsample()
            likelihood += sum(self.vaes[k].log_likelihood(z, counts[k]) for k in MODALITIES)
            kl += kl_divergence(q, Laplace(torch.zeros_like(z), 1.0)).sum(1)
        return -likelihood / len(MODALITIES), kl / len(MODALITIES)

    def latent(self, modality, shares):
        """Mean of a modality's posterior, (cells, n_latent)."""
        return self.vaes[modality].latent(shares).mean
