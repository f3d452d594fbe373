"""What every model wrapped from scvi-tools needs around its own call."""

# mypy: disable-error-code="import-untyped"
from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch

from dgnbench import progress

CURVES = ("elbo_train", "reconstruction_loss_train", "kl_local_train", "elbo_validation")


def start(seed: int) -> None:
    """Seed scvi-tools and everything below it, and keep its notices out of the log."""
    import scvi

    scvi.settings.seed = seed
    for name in ("scvi", "lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)


def zeros_where_not_measured(part: Any, cells: Any) -> Any:
    """Counts of `part` for every one of `cells`, CSR, zeros where it lacks them.

    scvi-tools takes a cell without any count (MultiVI), or a batch of such cells (totalVI), for one in
    which the modality was not measured.
    """
    from scipy import sparse

    rows = cells.get_indexer(part.obs_names)
    place = sparse.csr_matrix(
        (np.ones(len(rows), part.X.dtype), (rows, np.arange(len(rows)))), (len(cells), len(rows))
    )
    return sparse.csr_matrix(place @ part.X)


def train(model: Any, **options: Any) -> None:
    """``model.train(**options)`` on a GPU if there is one, within the budget, its curves in the history.

    Parameters
    ----------
    model
        A model of scvi-tools (``scvi.model.SCVI`` and its like).
    **options
        What its `train` takes.
    """
    from lightning.pytorch.callbacks import LambdaCallback

    def mind_the_budget(trainer: Any, _: Any) -> None:
        trainer.should_stop |= progress.time_is_up()

    progress.parameters(sum(p.numel() for p in model.module.parameters()))
    model.train(
        accelerator="gpu" if torch.cuda.is_available() else "cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[LambdaCallback(on_train_epoch_end=mind_the_budget)],
        **options,
    )
    curves = {name: model.history[name].iloc[:, 0] for name in CURVES if name in model.history}
    for epoch in range(len(curves["elbo_train"])):
        progress.log(epoch, **{name: curve.get(epoch, np.nan) for name, curve in curves.items()})
