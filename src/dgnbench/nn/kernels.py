"""Compiled loops for the CPU: the count likelihoods with their gradients, the product with sparse rows.

Each takes NumPy arrays of one minibatch. Dense rows are worked on in float32 by loops without branches,
which the compiler turns into vector instructions; the non-zeros, a few in a hundred, in float64.
"""

# mypy: disable-error-code="import-untyped, untyped-decorator, no-untyped-def, no-untyped-call"
from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy import float32 as f32
from numpy import float64 as f64
from numpy import int32 as i32

from dgnbench.compiling import compiled

EPSILON = 1e-8  # added to the mean inside logarithms, as in scvi-tools: a softmax may give 0
SMALL = 8  # counts up to here: a product stands for the gamma functions
ONE_OVER = tuple(1 / k for k in range(1, SMALL + 1))

_inlined: Any = numba.njit(inline="always")


@_inlined
def _exp(x):
    """e**x in float32 for x <= 0, to 2e-7 relative; the polynomial of Cephes' expf."""
    x = max(x, f32(-87.0))
    n = np.floor(x * f32(1.44269504088896341) + f32(0.5))
    r = x - n * f32(0.693359375) + n * f32(2.12194440e-4)
    p = f32(1.9875691500e-4) * r + f32(1.3981999507e-3)
    p = p * r + f32(8.3334519073e-3)
    p = p * r + f32(4.1665795894e-2)
    p = p * r + f32(1.6666665459e-1)
    p = p * r + f32(5.0000001201e-1)
    return (p * r * r + r + f32(1)) * i32((i32(n) + i32(127)) << i32(23)).view(np.float32)


@_inlined
def _log1p(x):
    """ln(1 + x) in float32 for x >= 0, to 2e-7 relative; the polynomial of Cephes' logf."""
    bits = f32(f32(1) + x).view(np.int32) - i32(
        0x3F3504F3
    )  # sqrt(1/2): 1 + x = m 2**e, m from there
    e = f32(bits >> i32(23))
    m = i32((bits & i32(0x007FFFFF)) + i32(0x3F3504F3)).view(np.float32)
    r = x if x < f32(0.41421) else m - f32(1)  # a small x is not rounded by adding 1
    p = f32(7.0376836292e-2) * r - f32(1.1514610310e-1)
    p = p * r + f32(1.1676998740e-1)
    p = p * r - f32(1.2420140846e-1)
    p = p * r + f32(1.4249322787e-1)
    p = p * r - f32(1.6668057665e-1)
    p = p * r + f32(2.0000714765e-1)
    p = p * r - f32(2.4999993993e-1)
    p = p * r + f32(3.3333331174e-1)
    return p * r * r * r - f32(0.5) * r * r + r + e * f32(0.69314718056)


@compiled
def _digamma(x):
    """d ln Γ / dx for x > 0, to 1e-12: recurrence up to 8, then the asymptotic series."""
    shift = 0.0
    while x < 8.0:
        shift += 1.0 / x
        x += 1.0
    q = 1.0 / (x * x)
    tail = q * (1 / 12 - q * (1 / 120 - q * (1 / 252 - q * (1 / 240 - q * (1 / 132)))))
    return math.log(x) - 0.5 / x - tail - shift


@compiled
def _log_nb(x, mean, theta, log_gamma, digamma, at_zero):
    """Log-probability of a non-zero count and its derivatives by mean and theta, in float64.

    `log_gamma` and `digamma` are those of theta, `at_zero` is ``-ln(1 + mean / theta)`` in float32.
    """
    if theta * at_zero < -1.0:  # float32 would show
        at_zero = -math.log1p(mean / theta)
    inverse = 1.0 / (theta + mean + EPSILON)
    odds = (mean + EPSILON) * inverse
    if x <= SMALL and x == math.floor(x):  # Γ(x + θ) / Γ(θ) = θ (θ + 1) … (θ + x - 1)
        product, change, term = 1.0, 0.0, theta
        for k in range(int(x)):
            product *= term * odds * ONE_OVER[k]
            change += 1.0 / term
            term += 1.0
        value = math.log(product)
    else:
        value = math.lgamma(x + theta) - log_gamma - math.lgamma(x + 1.0) + x * math.log(odds)
        change = _digamma(x + theta) - digamma
    by_mean = x / (mean + EPSILON) - (x + theta) * inverse
    by_theta = change + at_zero + 1.0 - (x + theta) * inverse
    return value + theta * at_zero, by_mean, by_theta


@compiled
def nb(
    first, last, genes, values, library, logits, largest, theta, log_gamma, digamma,
    total, by_logits, by_theta,
):  # fmt: skip
    """Negative binomial with mean ``library * softmax(logits)``, and its gradients.

    Parameters
    ----------
    first, last, genes, values
        Sparse rows of the counts, as in `Counts`: (cells,) both, (non-zeros,) both.
    library, logits, largest, theta
        (cells,), (cells, genes), (cells,) the largest logit, (genes,), float32.
    log_gamma, digamma
        Of theta, (genes,), float64.
    total
        Filled: log-likelihood of every cell, (cells,).
    by_logits, by_theta
        Filled: derivatives of a cell's log-likelihood, both (cells, genes).
    """
    mean, at_zero, minus_log, inverse = _scratch(theta)
    for i in range(len(library)):
        _share_out(logits[i], largest[i], library[i], mean)
        by_mean, by = by_logits[i], by_theta[i]
        _at_zero(mean, inverse, theta, minus_log, at_zero, by_mean, by)
        sum_ = _sum(at_zero)
        for k in range(first[i], last[i]):
            j = genes[k]
            value, by_mean[j], by[j] = _log_nb(
                f64(values[k]), f64(mean[j]), f64(theta[j]), log_gamma[j], digamma[j],
                f64(minus_log[j]),
            )  # fmt: skip
            sum_ += value - f64(at_zero[j])
        total[i] = sum_
        _through_softmax(mean, library[i], by_mean)


@compiled
def zinb(
    first, last, genes, values, library, logits, largest, theta, log_gamma, digamma, inflation,
    total, by_logits, by_theta, by_inflation,
):  # fmt: skip
    """`nb` with zero inflation, whose logits and their derivatives are (cells, genes)."""
    mean, at_zero, minus_log, inverse = _scratch(theta)
    softplus = np.empty_like(theta)
    for i in range(len(library)):
        _share_out(logits[i], largest[i], library[i], mean)
        by_mean, by, by_pi, pi = by_logits[i], by_theta[i], by_inflation[i], inflation[i]
        _at_zero(mean, inverse, theta, minus_log, at_zero, by_mean, by)
        # with inflation a zero has ln(e^a + e^pi) - softplus(pi), where a is what it has without
        for j in range(len(theta)):
            e = _exp(-abs(pi[j]))
            softplus[j] = max(pi[j], f32(0)) + _log1p(e)
            by_pi[j] = -(f32(1) if pi[j] > f32(0) else e) / (f32(1) + e)
        for j in range(len(theta)):
            a, p = at_zero[j], pi[j]
            e = _exp(-abs(a - p))
            from_nb = (f32(1) if a > p else e) / (f32(1) + e)
            at_zero[j] = max(a, p) + _log1p(e) - softplus[j]
            by_mean[j] *= from_nb
            by[j] *= from_nb
            by_pi[j] += f32(1) - from_nb
        sum_ = _sum(at_zero)
        for k in range(first[i], last[i]):
            j = genes[k]
            value, by_mean[j], by[j] = _log_nb(
                f64(values[k]), f64(mean[j]), f64(theta[j]), log_gamma[j], digamma[j],
                f64(minus_log[j]),
            )  # fmt: skip
            sum_ += value - f64(softplus[j]) - f64(at_zero[j])
            by_pi[j] = _minus_logistic(pi[j])
        total[i] = sum_
        _through_softmax(mean, library[i], by_mean)


@compiled
def _scratch(theta):
    """Three arrays of a cell, and 1 / theta; (genes,)."""
    mean, at_zero, minus_log = np.empty_like(theta), np.empty_like(theta), np.empty_like(theta)
    return mean, at_zero, minus_log, f32(1) / theta


@compiled
def _minus_logistic(x):
    e = _exp(-abs(x))
    return -(f32(1) if x > f32(0) else e) / (f32(1) + e)


@compiled
def _sum(x):
    sum_ = 0.0  # float64
    for j in range(len(x)):
        sum_ += x[j]
    return sum_


@compiled
def _share_out(logits, largest, library, mean):
    """Fill `mean` with ``library * softmax(logits)`` of one cell."""
    sum_ = f32(0)
    for j in range(len(mean)):
        mean[j] = _exp(logits[j] - largest)
        sum_ += mean[j]
    scale = library / sum_
    for j in range(len(mean)):
        mean[j] *= scale


@compiled
def _at_zero(mean, inverse, theta, minus_log, at_zero, by_mean, by_theta):
    """Fill ``-ln(1 + mean / theta)``, and log-probability and derivatives as if all counts were zero."""
    for j in range(len(theta)):
        ratio = mean[j] * inverse[j]
        log = -_log1p(ratio)
        slope = f32(-1) / (f32(1) + ratio)
        minus_log[j] = log
        by_mean[j] = slope
        by_theta[j] = log - slope * ratio
        at_zero[j] = theta[j] * log


@compiled
def _through_softmax(mean, library, slope):
    """Turn a cell's derivatives by its means, in place, into those by its logits."""
    sum_ = f32(0)
    for j in range(len(mean)):
        slope[j] *= mean[j]
        sum_ += slope[j]
    share = sum_ / library if library > 0 else f32(0)
    for j in range(len(mean)):
        slope[j] -= mean[j] * share


@compiled
def rows_times(first, last, genes, values, logged, weight, out):
    """Add to `out` (cells, width) the sparse rows times `weight` (genes, width).

    With `logged` the rows have ln(1 + x) for their values x.
    """
    for i in range(len(out)):
        for k in range(first[i], last[i]):
            row, value = weight[genes[k]], values[k]
            if logged:
                value = _log1p(value)
            for j in range(out.shape[1]):
                out[i, j] += value * row[j]


@compiled
def transposed_rows_times(first, last, genes, values, logged, upstream, out):
    """Add to `out` (genes, width) the transposed sparse rows times `upstream` (cells, width)."""
    for i in range(len(upstream)):
        for k in range(first[i], last[i]):
            row, value = out[genes[k]], values[k]
            if logged:
                value = _log1p(value)
            for j in range(out.shape[1]):
                row[j] += value * upstream[i, j]
