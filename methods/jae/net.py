"""The network of JAE: an autoencoder whose latent begins with logits of cell types, then of batches."""

from itertools import pairwise

from torch import nn


class Residual(nn.Module):
    """Linear, ReLU, Dropout, BatchNorm, Linear; the first's output added; ReLU."""

    def __init__(self, n_in, width, dropout):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(n_in, width), nn.ReLU())
        self.then = nn.Sequential(
            nn.Dropout(dropout), nn.BatchNorm1d(width), nn.Linear(width, width)
        )

    def forward(self, x):
        h = self.first(x)
        return (h + self.then(h)).relu()


class Jae(nn.Module):
    """Features of both modalities (cells, n_in) to a latent (cells, n_latent), and back."""

    def __init__(self, n_in, n_latent, hidden, dropout):
        super().__init__()
        self.encoder = nn.Sequential(
            *(Residual(a, b, dropout) for a, b in pairwise([n_in, *hidden])),
            nn.Linear(hidden[-1], n_latent),
            nn.ReLU(),
        )
        self.decoder = nn.Sequential(
            *(Residual(a, b, dropout) for a, b in pairwise([n_latent, *reversed(hidden)])),
            nn.Linear(hidden[0], n_in),
        )

    def forward(self, x):
        latent = self.encoder(x)
        return latent, self.decoder(latent)
