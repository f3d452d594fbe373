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
TINY = 1e-30  # for a number of failures of 0, whose gamma function is infinite


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

    The mean is ``counts.library * softmax(logits)``, as in scVI (10.1038/s41592-018-0229-2). Value and
    gradients are worked out at once from their closed forms: in float32 on the CPU by a compiled
    kernel, elsewhere by torch, whose automatic gradients take twice as many passes over the genes.

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
    return _Likelihood.apply(counts, logits, theta, inflation)


class _Likelihood(torch.autograd.Function):
    """`log_likelihood`, which leaves the derivatives of every cell for `backward`."""

    @staticmethod
    def forward(
        ctx: Any, counts: Counts, logits: Tensor, theta: Tensor, inflation: Tensor | None
    ) -> Tensor:
        compiled = logits.device.type == "cpu" and logits.dtype == torch.float32
        total, *derivatives = (_by_kernel if compiled else _by_torch)(
            counts, logits, theta, inflation
        )
        ctx.save_for_backward(*derivatives)
        return total

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        by_logits, by_theta, *by_inflation = ctx.saved_tensors
        scale = upstream[:, None]
        inflation = by_inflation[0] * scale if by_inflation else None
        return None, by_logits * scale, upstream @ by_theta, inflation


def _by_kernel(
    counts: Counts, logits: Tensor, theta: Tensor, inflation: Tensor | None
) -> list[Tensor]:
    """Log-likelihood (cells,), its derivatives by logits, theta and inflation, (cells, genes) each."""
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
    return filled


def _by_torch(
    counts: Counts, logits: Tensor, theta: Tensor, inflation: Tensor | None
) -> list[Tensor]:
    """As `_by_kernel`. Everything as if all counts were zero, then what non-zeros change."""
    library = counts.library[:, None]
    mean = library * torch.softmax(logits, 1)
    ratio = mean / theta
    log = -ratio.log1p()
    from_theta = ratio / (1 + ratio)
    at_zero, by_mean, by_theta = theta * log, from_theta - 1, log + from_theta
    by_inflation = []
    genes, x = counts.padded()
    x, mu, r = (part.double() for part in (x, mean.gather(1, genes), theta[genes]))
    inverse = 1 / (r + mu + EPSILON)
    log_r_share = -torch.log1p(mu / r)
    value = log_nb(x, mu, r)
    share = (x + r) * inverse
    x_by_mean = x / (mu + EPSILON) - share
    x_by_theta = torch.digamma(x + r) - torch.digamma(r) + log_r_share + 1 - share
    is_count = x > 0

    def with_counts(as_zeros: Tensor, at_counts: Tensor) -> Tensor:
        change = (at_counts - as_zeros.gather(1, genes)).to(as_zeros.dtype)
        return as_zeros.scatter_add(1, genes, torch.where(is_count, change, 0.0))

    if inflation is not None:
        # with inflation a zero has ln(e^a + e^pi) - softplus(pi), where a is what it has without
        from_nb, extra = torch.sigmoid(at_zero - inflation), torch.sigmoid(inflation)
        at_zero = softplus(at_zero - inflation) + inflation - softplus(inflation)
        by_mean, by_theta = by_mean * from_nb, by_theta * from_nb
        value = value - softplus(inflation.gather(1, genes).double())
        by_inflation = [with_counts(1 - from_nb - extra, -extra.gather(1, genes))]
    # in float64 what a non-zero would have as a zero leaves the sum without a trace
    change = torch.where(is_count, value - at_zero.gather(1, genes), 0.0)
    total = at_zero.sum(1, dtype=torch.float64) + change.sum(1)
    by_mean, by_theta = with_counts(by_mean, x_by_mean), with_counts(by_theta, x_by_theta)
    slope = by_mean * mean
    share_of_all = slope.sum(1, keepdim=True) / library.clamp(min=EPSILON)
    return [total.to(logits.dtype), slope - share_of_all * mean, by_theta, *by_inflation]


def log_nb_of_logits(
    counts: Counts, total_count: Tensor, logits: Tensor, inflation: Tensor | None = None
) -> Tensor:
    """Log-likelihood of every cell under a negative binomial in the form of failures and successes.

    ``C(x + r − 1, x) · (1 − p)^r · p^x`` with p = sigmoid(logits), whose mean is ``r · exp(logits)``:
    `torch.distributions.NegativeBinomial`, as scMM has it (10.1016/j.crmeth.2021.100071), where r may
    differ between cells. Gamma functions are taken at non-zeros only, in float64.

    Parameters
    ----------
    counts
        (cells, n_genes).
    total_count
        r, (cells, n_genes), non-negative; where it is 0 all counts are 0.
    logits
        (cells, n_genes).
    inflation
        Logit of the probability of an additional zero, (cells, n_genes); None: there is none.

    Returns
    -------
    (cells,), summed over genes.
    """
    at_zero = -total_count * softplus(logits)
    genes, values = counts.padded()
    x, r, logit, zero = (
        part.double()
        for part in (values, *(p.gather(1, genes) for p in (total_count, logits, at_zero)))
    )
    r = r.clamp(min=TINY)
    change = torch.lgamma(x + r) - torch.lgamma(r) - torch.lgamma(x + 1) - x * softplus(-logit)
    if inflation is not None:
        # ln(e^a + e^pi) - softplus(pi) where a is at_zero: a non-zero has no share in the first
        pi = inflation.gather(1, genes).double()
        change = change + zero - softplus(pi)
        at_zero = softplus(at_zero - inflation) - softplus(-inflation)
        change = change - at_zero.gather(1, genes).double()
    total = at_zero.sum(1, dtype=torch.float64) + torch.where(x > 0, change, 0.0).sum(1)
    return total.to(logits.dtype)


def log_multinomial(counts: Counts, logits: Tensor) -> Tensor:
    """Log-likelihood of every cell's counts, given their sum, under shares ``softmax(logits)``.

    Parameters
    ----------
    counts, logits
        (cells, n_genes) both.

    Returns
    -------
    (cells,), with the multinomial coefficient.
    """
    genes, values = counts.padded()
    x = values.double()
    shares = logits.double() - torch.logsumexp(logits.double(), 1, keepdim=True)
    total = (
        torch.lgamma(x.sum(1) + 1)
        - torch.lgamma(x + 1).sum(1)
        + (x * shares.gather(1, genes)).sum(1)
    )
    return total.to(logits.dtype)
