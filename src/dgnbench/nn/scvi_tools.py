"""What every model wrapped from scvi-tools needs around its own call."""

# mypy: disable-error-code="import-untyped"
from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from anndata import AnnData
from mudata import MuData
from scipy import sparse

from dgnbench import progress
from dgnbench.contract import Declined
from dgnbench.transforms import FloatArray, log1p_cp10k

CURVES = ("elbo_train", "reconstruction_loss_train", "kl_local_train", "elbo_validation")


def start(seed: int) -> None:
    """Seed scvi-tools and everything below it, and keep its notices out of the log."""
    import scvi

    scvi.settings.seed = seed
    for name in ("scvi", "lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)


@dataclass(frozen=True)
class Mosaic:
    """Cells of which a part may lack the second modality, as scvi-tools takes them."""

    counts: dict[str, sparse.csr_matrix]
    """Of RNA and the second modality, by name, each (n_cells, n_features); zeros where not measured."""
    batch: np.ndarray
    """Of every cell, strings; ``"one"`` where none is named."""
    has_both: np.ndarray
    """Of every cell, whether the second modality was measured."""

    @property
    def known(self) -> np.ndarray:
        """The cells that have both modalities."""
        return np.flatnonzero(self.has_both)

    @property
    def unknown(self) -> np.ndarray:
        """The cells that lack one."""
        return np.flatnonzero(~self.has_both)

    @property
    def known_batches(self) -> list[str]:
        """The batches of the cells that have both modalities, sorted."""
        return sorted(set(self.batch[self.has_both]))


def mosaic(source: Any, target: Any, more: Any = None) -> Mosaic:
    """All cells of `source`, then of `more`, with the counts of `target` in those that it names.

    Parameters
    ----------
    source, target
        Parts of a problem, ``uns["modality"]`` of each their names; the cells of `target` are among those
        of `source`. Counts are the layer of that name where there is one.
    more
        Cells of the source's modality that have no target.
    """
    rows = source.obs_names.get_indexer(target.obs_names)
    sources = [source] if more is None else [source, more]
    n_cells = sum(part.n_obs for part in sources)
    counts = sparse.csr_matrix(target.layers.get("counts", target.X))
    place = sparse.csr_matrix(
        (np.ones(len(rows), counts.dtype), (rows, np.arange(len(rows)))), (n_cells, len(rows))
    )
    batch = [part.obs["batch"] if "batch" in part.obs else ["one"] * part.n_obs for part in sources]
    return Mosaic(
        counts={
            source.uns["modality"]: sparse.vstack([part.X for part in sources], "csr"),
            target.uns["modality"]: sparse.csr_matrix(place @ counts),
        },
        batch=np.concatenate([np.asarray(of, dtype=str) for of in batch]),
        has_both=np.isin(np.arange(n_cells), rows),
    )


def trained(
    kind: Any, source: Any, target: Any, more: Any = None, *, seed: int, max_epochs: int | None,
    batch_size: int, learning_rate: float, **options: Any,
) -> tuple[Any, Mosaic]:  # fmt: skip
    """A model of two modalities after training, and the cells that it holds, in their order.

    MultiVI takes a cell without any count of a modality for one in which it was not measured; totalVI
    takes a batch of such cells for it, so that cells without proteins get batches of their own.

    Parameters
    ----------
    kind
        ``scvi.model.TOTALVI`` or ``scvi.model.MULTIVI``.
    source, target, more
        As in `mosaic`.
    max_epochs, batch_size, learning_rate
        What its `train` takes.
    **options
        What `kind` takes.

    Raises
    ------
    Declined
        Where the model has fewer than two latent dimensions.
    """
    start(seed)
    cells = mosaic(source, target, more)
    rna_first = sorted(cells.counts, key="rna".__ne__)  # else MultiVI fails to order them
    data = MuData({name: AnnData(cells.counts[name]) for name in rna_first})
    data.obs["batch"] = cells.batch
    if "protein" in data.mod:
        data["protein"].X = data["protein"].X.toarray()
        data.obs.loc[~cells.has_both, "batch"] += ", RNA"
    layers = {f"{name}_layer": name for name in data.mod}
    kind.setup_mudata(data, batch_key="batch", modalities=layers)
    model = kind(data, **options)
    if model.module.n_latent < 2:
        raise Declined(
            f"of {len(data.var)} features {kind.__name__} takes {model.module.n_latent} latent "
            "dimension by default; wanted two: give n_latent"
        )
    train(model, max_epochs=max_epochs, batch_size=batch_size, lr=learning_rate)
    return model, cells


def scored_draws(
    share: FloatArray, depths: FloatArray, theta: FloatArray, *, n_samples: int, seed: int
) -> FloatArray:
    """RNA on the scale that is scored, a mean over draws of counts: that of mean counts is another.

    Parameters
    ----------
    share
        A gene's part of the cell's RNA, (cells, genes).
    depths
        Counts a cell, (any number,), of which each draw takes one for every cell.
    theta
        Inverse dispersion of the negative binomial counts, (genes,).
    n_samples
        How many draws.

    Returns
    -------
    Mean log1p of counts per ten thousand, (cells, genes).
    """
    rng, total = np.random.default_rng(seed), np.zeros(share.shape)
    for _ in range(n_samples):
        mean = share * rng.choice(depths, len(share))[:, None]
        total += log1p_cp10k(rng.poisson(rng.gamma(theta, mean / theta)))
    return total / n_samples


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
