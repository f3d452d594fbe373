"""Layers that several models share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dgnbench.nn.counts import Counts


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


class CountsLinear(nn.Module):
    """Linear layer over sparse rows: `Counts` (cells, n_in) to (cells, n_out).

    On the CPU only the non-zeros are worked on where they are few. The weight is (n_in, n_out), so that
    an input's weights lie side by side; drawn as by `torch.nn.Linear`.
    """

    FEW = 0.4  # share of non-zeros from which a dense product is faster: benchmarks/README.md

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(n_in)
        self.weight = nn.Parameter(torch.empty(n_in, n_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n_out).uniform_(-bound, bound))

    def forward(self, x: Counts) -> Tensor:
        compiled = self.weight.device.type == "cpu" and self.weight.dtype == torch.float32
        if compiled and x.density() < self.FEW:
            return _SparseRows.apply(x, self.weight) + self.bias
        return torch.addmm(self.bias, x.dense(), self.weight)


class _SparseRows(torch.autograd.Function):
    """Sparse rows times a weight by the kernels; no gradient goes to the rows."""

    @staticmethod
    def forward(ctx: Any, x: Counts, weight: Tensor) -> Tensor:
        from dgnbench.nn import kernels

        ctx.rows = [*(part.numpy() for part in (x.first, x.last, x.genes, x.values)), x.logged]
        ctx.shape = weight.shape
        out = weight.new_zeros(len(x), weight.shape[1])
        kernels.rows_times(*ctx.rows, weight.detach().numpy(), out.numpy())
        return out

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[None, Tensor]:
        from dgnbench.nn import kernels

        out = upstream.new_zeros(ctx.shape)
        kernels.transposed_rows_times(*ctx.rows, upstream.contiguous().numpy(), out.numpy())
        return None, out


class ConditionalMLP(nn.Module):
    """Layers of scVI: Linear → BatchNorm → ReLU → Dropout, covariates joined to every layer's input.

    Maps (cells, n_in), and (cells, n_covariates) if there are any, to (cells, hidden[-1]). With
    `counts` the input is `Counts` and the first layer, which then sees no covariates, a `CountsLinear`.
    """

    def __init__(
        self,
        n_in: int,
        hidden: Sequence[int],
        *,
        n_covariates: int = 0,
        counts: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.linears, self.afters = nn.ModuleList(), nn.ModuleList()
        for width in hidden:
            first = counts and not self.linears
            self.linears.append(
                CountsLinear(n_in, width) if first else nn.Linear(n_in + n_covariates, width)
            )
            norm = nn.BatchNorm1d(width, momentum=0.01, eps=0.001)  # scvi-tools, FCLayers
            self.afters.append(nn.Sequential(norm, nn.ReLU(), nn.Dropout(dropout)))
            n_in = width

    def forward(self, x: Any, covariates: Tensor | None = None) -> Tensor:
        for linear, after in zip(self.linears, self.afters, strict=True):
            if covariates is not None and not isinstance(linear, CountsLinear):
                x = torch.cat([x, covariates], 1)
            x = after(linear(x))
        return x
