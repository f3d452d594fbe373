"""Log-likelihoods of counts, in the mean and inverse-dispersion form.

With inverse dispersion theta the variance is ``mean + mean² / theta``. Zeros have a closed form in which
no gamma function stands, and most counts are zeros: the special functions are taken at the others only.
Those are worked out in float64, as differences of logarithms of 1e7 that nearly cancel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from dgnbench.nn.counts import Counts

EPSILON = 1e-8  # added to the mean inside logarithms, as in scvi-tools: a softmax may give 0


def log_nb(x: Tensor, mean: Tensor, theta: Tensor) -> Tensor:
    """Log-probability of counts `x` under the negative binomial, entry by entry; shapes broadcast."""
    counts, mu, r = x.double(), mean.double(), theta.double()
    value = (
        torch.lgamma(counts + r)
        - torch.lgamma(r)
        - torch.lgamma(counts + 1)
        - r * torch.log1p(mu / r)
        + counts * torch.log((mu + EPSILON) / (r + mu + EPSILON))
    )
    return value.to(mean.dtype)


def log_likelihood(
    counts: Counts, logits: Tensor, theta: Tensor, inflation: Tensor | None = None
) -> Tensor:
    """Log-likelihood of every cell under a (zero-inflated) negative binomial.

    The mean is ``counts.library * softmax(logits)``, as in scVI (10.1038/s41592-018-0229-2). In float32
    on the CPU a compiled kernel works out value and gradients at once, elsewhere torch does.

    Parameters
    ----------
    counts
        (cells, genes).
    logits
        (cells, genes).
    theta
        (genes,), positive.
    inflation
        Logit of the probability of an additional zero, (cells, genes); None: there is none.

    Returns
    -------
    (cells,), summed over genes.
    """
    if logits.device.type == "cpu" and logits.dtype == torch.float32:
        return _Fused.apply(counts, logits, theta, inflation)
    mean = counts.library[:, None] * torch.softmax(logits, 1)
    at_zero = -theta * torch.log1p(mean / theta)
    genes, values = counts.padded()
    elsewhere = log_nb(values, mean.gather(1, genes), theta.expand_as(mean).gather(1, genes))
    if inflation is not None:
        at_zero = softplus(at_zero - inflation) - softplus(-inflation)
        elsewhere = elsewhere - softplus(inflation.gather(1, genes))
    # in float64 what a non-zero would have as a zero goes out of the sum without a trace
    change = elsewhere.double() - at_zero.gather(1, genes).double()
    total = at_zero.sum(1, dtype=torch.float64) + torch.where(values > 0, change, 0.0).sum(1)
    return total.to(logits.dtype)


class _Fused(torch.autograd.Function):
    """`log_likelihood` by the kernel, which leaves the gradients of every cell for `backward`."""

    @staticmethod
    def forward(
        ctx: Any, counts: Counts, logits: Tensor, theta: Tensor, inflation: Tensor | None
    ) -> Tensor:
        from dgnbench.nn import kernels

        r = theta.double()
        given = [counts.first, counts.last, counts.genes, counts.values, counts.library,
                 logits, logits.amax(1), theta, torch.lgamma(r), torch.digamma(r)]  # fmt: skip
        filled = [torch.empty(shape) for shape in (len(logits), logits.shape, logits.shape)]
        if inflation is not None:
            given.append(inflation)
            filled.append(torch.empty(inflation.shape))
        kernel = kernels.nb if inflation is None else kernels.zinb
        kernel(*(part.detach().contiguous().numpy() for part in (*given, *filled)))
        ctx.save_for_backward(*filled[1:])
        return filled[0]

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        by_logits, by_theta, *by_inflation = ctx.saved_tensors
        scale = upstream[:, None]
        inflation = by_inflation[0] * scale if by_inflation else None
        return None, by_logits * scale, upstream @ by_theta, inflation
