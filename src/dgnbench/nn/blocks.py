"""Layers that several models share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn


def mlp(
    n_in: int,
    hidden: Sequence[int],
    *,
    activation: Callable[[], nn.Module] = nn.ReLU,
    norm: bool = False,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Linear → BatchNorm (if `norm`) → activation → Dropout (if any), once a hidden width.

    Maps (cells, n_in) to (cells, hidden[-1]); with no hidden width it is the identity.
    """
    layers: list[nn.Module] = []
    for width in hidden:
        layers.append(nn.Linear(n_in, width, bias=not norm))
        if norm:
            layers.append(nn.BatchNorm1d(width))
        layers.append(activation())
        if dropout:
            layers.append(nn.Dropout(dropout))
        n_in = width
    return nn.Sequential(*layers)
