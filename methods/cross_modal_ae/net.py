"""Autoencoders of two domains that meet in one latent space (Yang et al. 2021, the RNA-ATAC model)."""

import torch
from torch import nn

from dgnbench.nn.blocks import CountsLinear, mlp

MODALITIES = ("source", "target")
BEFORE_SHARED = 100  # width where the modalities' own layers end (the authors' config)


def _leaky():
    return nn.LeakyReLU(0.2)


def _block(n_in, hidden):
    return mlp(n_in, hidden, activation=_leaky)


class CrossModalAutoencoder(nn.Module):
    """An encoder and a decoder a modality, whose layers next to the latent space are shared.

    `widths` (a width a modality) holds for the three hidden layers of its encoder and decoder.
    """

    def __init__(self, n_features, widths, *, n_latent, n_layers):
        super().__init__()
        self.encoders, self.decoders = nn.ModuleDict(), nn.ModuleDict()
        for k in MODALITIES:
            hidden = [widths[k]] * n_layers
            self.encoders[k] = nn.Sequential(
                CountsLinear(n_features[k], hidden[0]),
                _leaky(),
                _block(hidden[0], [*hidden[1:], BEFORE_SHARED]),
            )
            self.decoders[k] = _block(BEFORE_SHARED, [*hidden, n_features[k]])
        self.to_latent = nn.Linear(BEFORE_SHARED, n_latent)
        self.from_latent = _block(n_latent, [BEFORE_SHARED])
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, a=0.2)
                nn.init.zeros_(layer.bias)

    def encode(self, modality, values):
        """Sparse values, `Counts` (cells, n_features), to (cells, n_latent)."""
        return self.to_latent(self.encoders[modality](values))

    def decode(self, modality, z):
        """(cells, n_latent) to values (cells, n_features)."""
        return self.decoders[modality](self.from_latent(z))

    def translate(self, values):
        """Values of the source to expected ones of the target, (cells, n_features)."""
        return self.decode("target", self.encode("source", values))

    def losses(self, values, critic, noise):
        """Reconstruction, distance of a cell's two latents, and fooling of the critic, a mean () each.

        `values` is a dict of the two modalities' `Counts` of the same cells, `noise` the standard
        deviation of what is added to their latents, which are returned too.
        """
        z = {k: self.encode(k, values[k]) for k in MODALITIES}
        noisy = {k: z[k] + noise * torch.randn_like(z[k]) for k in MODALITIES}
        error = sum(
            ((self.decode(k, noisy[k]) - values[k].dense()) ** 2).mean() for k in MODALITIES
        )
        apart = (z["source"] - z["target"]).abs().mean()
        return error, apart, critic_error(critic, noisy["target"], noisy["source"]), noisy


def critic_error(critic, source, target):
    """Mean squared error of a critic that is to say 0 for the source and 1 for the target, ()."""
    return (critic(source) ** 2).mean() + ((critic(target) - 1) ** 2).mean()
