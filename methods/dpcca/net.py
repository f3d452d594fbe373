"""Deep probabilistic CCA (Gundersen et al. 2019): autoencoders around a linear-Gaussian factor model.

Probabilistic CCA: embeddings of a cell's two modalities are ``y_m = W_m s + B_m p_m + noise`` with shared
factors s and private ones p_m, all standard normal, and independent noise a coordinate.
"""

import torch
from torch import nn

from dgnbench.nn.blocks import CountsLinear, mlp

MODALITIES = ("source", "target")
SMALLEST = 1e-6  # variance of the noise


class Pcca(nn.Module):
    """Loadings ``[W_m, B_m]`` (n_embedding, 2 n_latent) and log-variances of the noise, a modality each."""

    def __init__(self, n_embedding, n_latent):
        super().__init__()
        self.n_latent = n_latent
        self.loadings = nn.ParameterList(
            torch.randn(n_embedding, 2 * n_latent, dtype=torch.float64) for _ in MODALITIES
        )
        self.log_noise = nn.ParameterList(
            torch.zeros(n_embedding, dtype=torch.float64) for _ in MODALITIES
        )

    def parts(self):
        """Loadings and variances of the noise, a list of two tensors each."""
        return list(self.loadings), [log.exp() for log in self.log_noise]


def columns(m, k):
    """Where modality m's shared and private factors stand among all: shared, private 0, private 1."""
    private = range((m + 1) * k, (m + 2) * k)
    return [*range(k), *private]


def joint_loadings(loadings):
    """The loadings of both modalities on all factors, (sum of n_embedding, 3 n_latent)."""
    k = loadings[0].shape[1] // 2
    rows = []
    for m, own in enumerate(loadings):
        row = own.new_zeros(len(own), 3 * k)
        row[:, columns(m, k)] = own
        rows.append(row)
    return torch.cat(rows)


def posterior(loadings, noise):
    """The map (n, factors) from embeddings to the factors' mean, and their covariance (factors, factors).

    By Woodbury's identity what is inverted has the size of the factors.
    """
    weighed = loadings / noise[:, None]
    identity = torch.eye(loadings.shape[1], dtype=loadings.dtype, device=loadings.device)
    covariance = torch.linalg.inv(identity + loadings.T @ weighed)
    return weighed @ covariance, covariance


def em_step(moments, loadings, noise):
    """One step of expectation maximisation, which never lowers the likelihood.

    `moments` is the embeddings' covariance, (n, n) with n the sum of n_embedding. Returns new loadings and
    variances, lists of two.
    """
    k = loadings[0].shape[1] // 2
    to_factors, covariance = posterior(joint_loadings(loadings), torch.cat(noise))
    cross = moments @ to_factors
    second_moment = covariance + to_factors.T @ cross
    new_loadings, new_noise, first = [], [], 0
    for m, own in enumerate(loadings):
        rows, mine = slice(first, first + len(own)), columns(m, k)
        first += len(own)
        its_cross = cross[rows, mine]
        new = torch.linalg.solve(second_moment[mine][:, mine], its_cross.T).T
        variance = moments.diagonal()[rows] - (new * its_cross).sum(1)
        new_loadings.append(new)
        new_noise.append(variance.clamp(min=SMALLEST))
    return new_loadings, new_noise


class Dpcca(nn.Module):
    """An encoder and a decoder a modality, and the factor model between their embeddings."""

    def __init__(self, n_features, *, n_embedding, n_latent, hidden):
        super().__init__()
        first, *others = hidden
        self.encoders, self.decoders = nn.ModuleDict(), nn.ModuleDict()
        for k in MODALITIES:
            self.encoders[k] = nn.Sequential(
                CountsLinear(n_features[k], first),
                nn.ReLU(),
                mlp(first, others),
                nn.Linear(hidden[-1], n_embedding),
            )
            self.decoders[k] = nn.Sequential(
                mlp(n_embedding, hidden[::-1]), nn.Linear(first, n_features[k])
            )
        self.pcca = Pcca(n_embedding, n_latent)

    def losses(self, values, em_steps):
        """Mean squared error of both modalities, a tensor () each, and the mean absolute loading.

        The factor model is brought closer to this minibatch by `em_steps` steps, through which gradients
        flow; embeddings are drawn anew given the factors' posterior mean, and decoded.
        """
        y = [self.encoders[k](values[k]).double() for k in MODALITIES]
        centre = [own.mean(0) for own in y]
        y = torch.cat([own - c for own, c in zip(y, centre, strict=True)], 1)
        loadings, noise = self.pcca.parts()
        for _ in range(em_steps):
            loadings, noise = em_step(y.T @ y / len(y), loadings, noise)
        mean = y @ posterior(joint_loadings(loadings), torch.cat(noise))[0]
        errors = []
        for m, k in enumerate(MODALITIES):
            expected = mean[:, columns(m, self.pcca.n_latent)] @ loadings[m].T + centre[m]
            drawn = expected + noise[m].sqrt() * torch.randn_like(expected)
            errors.append(((self.decoders[k](drawn.float()) - values[k].dense()) ** 2).mean())
        return errors, sum(own.abs().mean() for own in self.pcca.loadings).float()
