"""The loops behind this package."""

# mypy: disable-error-code="untyped-decorator, no-untyped-def, no-untyped-call"
from __future__ import annotations

import math

import numpy as np
from numpy import float32 as f32

from dgnbench.compiling import compiled

BLOCK = 512  # cells whose distances to one cell are worked out at a time: they stay in the cache


@compiled
def _distances(one, others, first, last, out):
    """Fill `out` with the Euclidean distances of a cell to the columns first … last of `others`."""
    n = last - first
    for j in range(n):
        out[j] = f32(0)
    for d in range(len(one)):
        value, row = one[d], others[d]
        for j in range(n):
            difference = value - row[first + j]
            out[j] += difference * difference
    for j in range(n):
        out[j] = math.sqrt(out[j])


@compiled
def _add_by_label(distances, first, last, label, ends, sums):
    """Add to `sums` (labels,) the distances to the cells first … last, the first of which has `label`."""
    j = first
    while j < last:
        end = min(last, ends[label])
        total = 0.0
        for k in range(j - first, end - first):
            total += distances[k]
        sums[label] += total
        j = end
        label += 1


@compiled
def pairs_by_label(x, transposed, labels, ends):
    """Sums of the distances of every cell to the cells of every label, (cells, labels); each pair once.

    `x` (cells, dimensions) float32 in the order of their labels, `transposed` (dimensions, cells), `labels`
    (cells,) from 0, `ends` (labels,) where the cells of each end.
    """
    n, n_labels = len(x), len(ends)
    to_label = np.zeros((n_labels, n))
    out = np.empty(BLOCK, np.float32)
    sums = np.zeros((n, n_labels))
    for block in range(0, n, BLOCK):
        for i in range(min(n, block + BLOCK)):
            first, last = max(block, i + 1), min(n, block + BLOCK)
            if first >= last:
                continue
            _distances(x[i], transposed, first, last, out)
            row = to_label[labels[i]]
            for j in range(last - first):
                row[first + j] += out[j]
            _add_by_label(out, first, last, labels[first], ends, sums[i])
    return sums + to_label.T


@compiled
def some_by_label(some, transposed, ends):
    """As `pairs_by_label` for the cells of `some` (n, dimensions) only, (n, labels)."""
    n = transposed.shape[1]
    out = np.empty(BLOCK, np.float32)
    sums = np.zeros((len(some), len(ends)))
    for block in range(0, n, BLOCK):
        last = min(n, block + BLOCK)
        for i in range(len(some)):
            _distances(some[i], transposed, block, last, out)
            label = 0
            while ends[label] <= block:
                label += 1
            _add_by_label(out, block, last, label, ends, sums[i])
    return sums


@compiled
def lisi(indices, distances, labels, n_labels, others, n_others, perplexity):
    """Inverse Simpson index of two labellings around every cell, from the same probabilities; (cells, 2).

    The probabilities are Gaussian in the distance (sic: not squared), of the width at which their
    entropy is ln(perplexity), found by bisection to 1e-5; a cell is no neighbour of its own.
    """
    n, k = indices.shape
    found = np.empty((n, 2))
    p = np.empty(k)
    for i in range(n):
        beta, low, high = 1.0, -np.inf, np.inf
        for _ in range(51):
            total, weighted = 0.0, 0.0
            for j in range(k):
                p[j] = math.exp(-distances[i, j] * beta) if indices[i, j] != i else 0.0
                total += p[j]
                weighted += distances[i, j] * p[j]
            entropy = math.log(total) + beta * weighted / total if total > 0 else 0.0
            off = entropy - math.log(perplexity)
            if abs(off) < 1e-5:
                break
            if off > 0:
                low = beta
                beta = beta * 2 if high == np.inf else (beta + high) / 2
            else:
                high = beta
                beta = beta / 2 if low == -np.inf else (beta + low) / 2
        found[i, 0] = _inverse_simpson(p, total, entropy, indices[i], labels, n_labels)
        found[i, 1] = _inverse_simpson(p, total, entropy, indices[i], others, n_others)
    return found


@compiled
def _inverse_simpson(p, total, entropy, neighbours, labels, n_labels):
    if entropy == 0:
        return -1.0  # as in scib-metrics
    shares = np.zeros(n_labels)
    for j in range(len(p)):
        shares[labels[neighbours[j]]] += p[j] / total
    simpson = 0.0
    for share in shares:
        simpson += share * share
    return 1 / simpson


@compiled
def memberships(indices, distances):
    """How surely each neighbour is one, as umap has it, (cells, k) float32.

    exp(-(d - ρ) / σ), ρ the distance to the nearest other cell and σ such that a cell's memberships add up
    to log2(k) (McInnes et al., arXiv:1802.03426, algorithm 3; the least σ is 1e-3 of a mean distance).
    """
    n, k = indices.shape
    out = np.zeros((n, k), np.float32)
    mean = 0.0
    for i in range(n):
        for j in range(k):
            mean += distances[i, j]
    mean /= n * k
    target = math.log2(k)
    for i in range(n):
        rho, own_mean = 0.0, 0.0
        for j in range(k - 1, -1, -1):
            own_mean += distances[i, j] / k
            if distances[i, j] > 0:
                rho = distances[i, j]
        low, high, sigma = 0.0, np.inf, 1.0
        for _ in range(64):
            total = 0.0
            for j in range(1, k):
                beyond = distances[i, j] - rho
                total += math.exp(-beyond / sigma) if beyond > 0 else 1.0
            if abs(total - target) < 1e-5:
                break
            if total > target:
                high = sigma
                sigma = (low + high) / 2
            else:
                low = sigma
                sigma = sigma * 2 if high == np.inf else (low + high) / 2
        sigma = max(sigma, 1e-3 * (own_mean if rho > 0 else mean))
        for j in range(k):
            if indices[i, j] != i:
                beyond = distances[i, j] - rho
                out[i, j] = math.exp(-beyond / sigma) if beyond > 0 else 1.0
    return out
