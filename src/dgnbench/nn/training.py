"""Training in epochs: what every model needs around its own step."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dgnbench import progress

CHECKPOINT = "DGNBENCH_CHECKPOINT"  # in the environment: the file to save to and go on from
EVERY_S = 60.0  # between two checkpoints

Step = Callable[[Tensor, Tensor], Mapping[str, Tensor]]


class Diverged(FloatingPointError):
    """A loss was not finite."""


def minimise(optimiser: torch.optim.Optimizer, loss: Tensor, clip: float | None = None) -> None:
    """One step of the optimiser down the gradient of `loss` (), of norm `clip` at most, if given."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    if clip is not None:
        learnt = [p for group in optimiser.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(learnt, clip)
    optimiser.step()


def warm_up(epoch: Tensor, epochs: int) -> Tensor:
    """A weight that grows from 0 to 1 over `epochs` epochs, (); `epoch` () counts from 0."""
    return (epoch / epochs).clamp(max=1.0)


def split(n: int, held_out: float, batch_size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cells to train on and held-out cells, at random; no last minibatch of one or two cells.

    As in scvi-tools, such cells are held out too: BatchNorm cannot use them.
    """
    order = torch.randperm(n, device=device)
    n_train = n - int(n * held_out)
    if 0 < n_train % batch_size < 3 and n_train > batch_size:
        n_train -= n_train % batch_size
    return order[:n_train], order[n_train:]


def train(
    modules: Sequence[nn.Module],
    optimisers: Sequence[torch.optim.Optimizer],
    step: Step,
    cells: Tensor,
    *,
    epochs: int,
    batch_size: int,
    validate: Callable[[], float] | None = None,
    patience: int | None = None,
    validate_from: int = 0,
    schedule: torch.optim.lr_scheduler.ReduceLROnPlateau | None = None,
    recorded: bool = False,
) -> None:
    """Train the modules, which are left in evaluation mode.

    With ``DGNBENCH_CHECKPOINT=FILE`` in the environment the state is saved there once a minute and a
    training that finds the file goes on from it, with the same numbers as if it had never ended.

    Parameters
    ----------
    modules, optimisers
        All that learns; their states are saved and brought back.
    step
        ``step(rows, epoch)`` learns from the cells `rows` (batch,) in epoch `epoch` (), a tensor, and
        returns what to log, each a mean over these cells (). A minibatch of one cell is left out.
    cells
        Rows to train on, (cells,), on the device; shuffled before every epoch.
    validate
        The loss on held-out cells, called in evaluation mode and without gradients. The weights of
        the epoch at which it was lowest are those that stay.
    patience
        Epochs without a lower one after which training ends; None: never.
    validate_from
        First epoch that is validated: before it, say while a loss is warmed up, nothing ends training.
    schedule
        Told every validation loss.
    recorded
        On a GPU, record the step once as a CUDA graph and replay it: launching its hundred small
        kernels one by one takes several times as long as their work. The step must then do the same
        whatever its arguments hold (no branch on a value, no wait for the device), and its optimisers
        must be `capturable`. Elsewhere it changes nothing.

    Raises
    ------
    Diverged
        With the step, when a loss is not finite; the modules are as at the last good epoch's end.
    """
    learners: list[Any] = [*modules, *optimisers, *([schedule] if schedule else [])]
    state: dict[str, Any] = {"epoch": 0, "cells": cells, "best": float("inf"), "since": 0}
    file = Path(os.environ[CHECKPOINT]) if os.environ.get(CHECKPOINT) else None
    if file and file.exists():
        state = _resume(file, learners, cells, epochs)
    best, saved = state.pop("best_weights", None), time.monotonic()
    if recorded and cells.is_cuda:
        step = _Recorded(step, batch_size)
    for epoch in progress.training(range(state["epoch"], epochs)):
        good = _weights(modules)
        for module in modules:
            module.train()
        state["cells"] = state["cells"][torch.randperm(len(cells), device=cells.device)]
        logged = _epoch(step, state["cells"].split(batch_size), epoch, modules, good)
        for module in modules:
            module.eval()
        if validate and epoch >= validate_from:
            with torch.no_grad():
                logged["val_loss"] = validate()
        progress.log(epoch, **logged)
        if "val_loss" in logged:
            if schedule:
                schedule.step(logged["val_loss"])
            state["since"] += 1
            if logged["val_loss"] < state["best"]:
                state |= {"best": logged["val_loss"], "since": 0}
                best = _weights(modules)
        state["epoch"] = epoch + 1
        if patience is not None and state["since"] >= patience:
            break
        if file and time.monotonic() - saved >= EVERY_S:
            _save(file, learners, {**state, "epochs": epochs, "best_weights": best})
            saved = time.monotonic()
    for module in modules:
        module.eval()
    if best:
        _bring_back(modules, best)
    if file:
        file.unlink(missing_ok=True)


def _epoch(
    step: Step,
    batches: Sequence[Tensor],
    epoch: int,
    modules: Sequence[nn.Module],
    good: list[dict[str, Tensor]],
) -> dict[str, float]:
    """Means over cells of what the steps of an epoch log; the device is asked for them once."""
    used = [rows for rows in batches if len(rows) > 1]
    names: list[str] = []
    steps = []
    now = torch.tensor(float(epoch), device=used[0].device)
    for rows in used:
        logged = step(rows, now)
        names = list(logged)
        steps.append(torch.stack([value.detach() for value in logged.values()]))
    values = torch.stack(steps)
    values = values.double().cpu()
    bad = (~values.isfinite().all(1)).nonzero().flatten()
    if len(bad):
        _bring_back(modules, good)
        first = int(bad[0])
        what = {name: float(value) for name, value in zip(names, values[first], strict=True)}
        raise Diverged(
            f"training: wanted finite losses, got {what} at step {epoch * len(used) + first} "
            f"(epoch {epoch}); the weights are those of before this epoch; a lower learning rate may do"
        )
    sizes = torch.tensor([len(rows) for rows in used], dtype=values.dtype)
    means = (sizes @ values / sizes.sum()).tolist()
    return dict(zip(names, means, strict=True))


class _Recorded:
    """A step as a CUDA graph, for minibatches of `batch_size`; others go the usual way.

    The first three are run as they are, beside the main stream, so that whatever is made at first use
    is made before the fourth is recorded (PyTorch's notes on CUDA graphs).
    """

    UNRECORDED = 3

    def __init__(self, step: Step, batch_size: int) -> None:
        self.step, self.batch_size = step, batch_size
        self.seen = 0
        self.stream = torch.cuda.Stream()
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, rows: Tensor, epoch: Tensor) -> Mapping[str, Tensor]:
        if len(rows) != self.batch_size:
            return self.step(rows, epoch)
        if self.seen < self.UNRECORDED:
            self.seen += 1
            self.stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.stream):
                logged = self.step(rows, epoch)
            torch.cuda.current_stream().wait_stream(self.stream)
            return logged
        if self.graph is None:
            self.rows, self.epoch, self.graph = rows.clone(), epoch.clone(), torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.logged = self.step(self.rows, self.epoch)
        self.rows.copy_(rows)
        self.epoch.copy_(epoch)
        self.graph.replay()
        return {name: value.clone() for name, value in self.logged.items()}


def _weights(modules: Sequence[nn.Module]) -> list[dict[str, Tensor]]:
    return [{k: v.clone() for k, v in module.state_dict().items()} for module in modules]


def _bring_back(modules: Sequence[nn.Module], weights: list[dict[str, Tensor]]) -> None:
    for module, state in zip(modules, weights, strict=True):
        module.load_state_dict(state)


def _save(file: Path, learners: Sequence[Any], state: dict[str, Any]) -> None:
    """Write all that the next epoch depends on; a kill meanwhile leaves the last file whole."""
    everything = {
        **state,
        "learners": [one.state_dict() for one in learners],
        "random": torch.get_rng_state(),
        "random_of_devices": torch.cuda.get_rng_state_all(),
        "history": progress.rows(),
    }
    unfinished = file.with_name(file.name + ".part")
    torch.save(everything, unfinished)
    unfinished.replace(file)


def _resume(file: Path, learners: Sequence[Any], cells: Tensor, epochs: int) -> dict[str, Any]:
    """Bring everything to where the file was written, the history too."""
    state: dict[str, Any] = torch.load(file, map_location=cells.device, weights_only=True)
    found, wanted = (state.pop("epochs"), len(state["cells"])), (epochs, len(cells))
    if found != wanted:
        raise ValueError(
            f"{file}: wanted a checkpoint of {wanted[0]} epochs on {wanted[1]} cells, got "
            f"{found[0]} on {found[1]}; delete it to begin anew"
        )
    for one, its in zip(learners, state.pop("learners"), strict=True):
        one.load_state_dict(its)
    torch.set_rng_state(state.pop("random").cpu())
    torch.cuda.set_rng_state_all([one.cpu() for one in state.pop("random_of_devices")])
    for row in state.pop("history")[len(progress.rows()) :]:
        progress.log(**row)
    print(f"going on from epoch {state['epoch']}, saved in {file.name}", file=sys.stderr)
    return state
