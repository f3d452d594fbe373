"""Generative adversarial networks over cells: two networks, their training, making counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dgnbench import progress
from dgnbench.nn.blocks import mlp

CriticLoss = Callable[[nn.Module, Tensor, Tensor], Tensor]
GeneratorLoss = Callable[[Tensor], Tensor]

ROWS = 100  # of the training history, whatever the number of steps


class Generator(nn.Module):
    """Noise (cells, n_latent) to log1p counts (cells, n_genes): MLP with BatchNorm.

    The output lies between 0 and `largest` (n_genes,), the largest value of a gene in training: an
    exponential lies behind it, and a slip beyond would be thousands of counts.
    """

    largest: Tensor

    def __init__(self, n_latent: int, hidden: Sequence[int], largest: Tensor) -> None:
        super().__init__()
        self.n_latent = n_latent
        self.body = mlp(n_latent, hidden, norm=True)
        self.out = nn.Linear(hidden[-1], len(largest))
        self.register_buffer("largest", largest)

    def forward(self, noise: Tensor) -> Tensor:
        return torch.minimum(torch.relu(self.out(self.body(noise))), self.largest)

    def sample(self, n: int) -> Tensor:
        """Cells from standard normal noise, in the model's mode and device."""
        return self(torch.randn(n, self.n_latent, device=self.out.weight.device))


def critic_network(n_genes: int, hidden: Sequence[int]) -> nn.Module:
    """Cells (cells, n_genes) to one number a cell: MLP with LeakyReLU, without BatchNorm."""
    return nn.Sequential(
        mlp(n_genes, hidden, activation=lambda: nn.LeakyReLU(0.2)),
        nn.Linear(hidden[-1], 1),
        nn.Flatten(0),
    )


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Mean of (‖∇ critic(x)‖₂ − 1)² at x between real and fake, one random place a cell.

    Gulrajani et al. 2017, arXiv:1704.00028, equation 3.
    """
    place = torch.rand(len(real), 1, device=real.device)
    between = (real + place * (fake - real)).requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return ((gradient.norm(2, dim=1) - 1) ** 2).mean()


def squared_gradient(critic: nn.Module, real: Tensor) -> Tensor:
    """Mean of ‖∇ critic(x)‖₂² over real cells.

    R1 of Mescheder, Geiger & Nowozin 2018, arXiv:1801.04406, equation 9, without its gamma / 2.
    """
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(real).sum(), real, create_graph=True)
    return (gradient**2).sum(dim=1).mean()


def train(
    counts: Any,
    *,
    device: torch.device,
    critic_loss: CriticLoss,
    generator_loss: GeneratorLoss,
    n_latent: int,
    generator_hidden: Sequence[int],
    critic_hidden: Sequence[int],
    steps: int,
    epochs: int | None,
    critic_steps: int,
    batch_size: int,
    learning_rate: float,
    betas: Sequence[float],
) -> Generator:
    """Alternate `critic_steps` steps of the critic with one of the generator, `steps` times.

    With `epochs`, as many times as it takes for the generator to see that often as many cells as there are.

    Parameters
    ----------
    counts
        Cells x genes, sparse; the networks see log1p of them.
    critic_loss, generator_loss
        ``critic_loss(critic, real, fake)`` and ``generator_loss(critic(fake))``, to be minimised.

    Returns
    -------
    The trained generator, in evaluation mode.

    Raises
    ------
    FloatingPointError
        As soon as a loss is not finite.
    """
    cells = torch.from_numpy(np.log1p(counts.toarray()).astype(np.float32)).to(device)
    generator = Generator(n_latent, generator_hidden, cells.amax(0)).to(device)
    critic = critic_network(cells.shape[1], critic_hidden).to(device)
    progress.parameters(sum(p.numel() for n in (generator, critic) for p in n.parameters()))
    optimise_generator, optimise_critic = (
        torch.optim.Adam(network.parameters(), learning_rate, betas=(betas[0], betas[1]))
        for network in (generator, critic)
    )
    size = min(batch_size, len(cells))
    rounds, steps_a_round = (epochs, math.ceil(len(cells) / size)) if epochs else (steps, 1)
    every, label = max(1, rounds // ROWS), "epoch" if epochs else "step"
    for i in progress.training(range(rounds), label):
        for _ in range(steps_a_round):
            for _ in range(critic_steps):
                real = cells[torch.randperm(len(cells), device=device)[:size]]
                with torch.no_grad():
                    fake = generator.sample(size)
                of_critic = critic_loss(critic, real, fake)
                optimise_critic.zero_grad(set_to_none=True)
                of_critic.backward()
                optimise_critic.step()
            of_generator = generator_loss(critic(generator.sample(size)))
            optimise_generator.zero_grad(set_to_none=True)
            of_generator.backward()
            optimise_generator.step()
        if i % every == 0 or i == rounds - 1 or progress.time_is_up():
            losses = {"critic_loss": of_critic.item(), "generator_loss": of_generator.item()}
            progress.log(i, **losses)
            if not np.isfinite(list(losses.values())).all():
                raise FloatingPointError(f"training diverged at {label} {i}: {losses}")
    return generator.eval()


def make_counts(generator: Generator, n: int) -> np.ndarray[Any, Any]:
    """`n` cells as counts: ``exp(x) − 1`` rounded, where x is what the generator makes."""
    with progress.phase("predict"), torch.no_grad():
        return np.rint(np.expm1(generator.sample(n).cpu().numpy().astype(np.float64)))
