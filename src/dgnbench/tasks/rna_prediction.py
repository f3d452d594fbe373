"""Prediction of RNA: the RNA of unseen cells from their second modality.

Task of the NeurIPS 2021 challenge (Lance et al., PMLR 176:162, 2022), direction second modality ->
RNA; `modality_prediction` is the other, and split alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dgnbench.contract import Problem, Slot, Solution, Task

if TYPE_CHECKING:
    from mudata import MuData


def split(data: MuData, *, seed: int) -> tuple[Problem, Solution]:
    """Raw counts of the second modality; RNA as log1p of counts per ten thousand."""
    from dgnbench.splitting import split_for_prediction

    return split_for_prediction(data, seed=seed, target="rna")


TASK = Task(
    id="rna_prediction",
    label="Prediction of RNA from the second modality",
    summary="Predict the RNA of the cells of an unseen batch from their proteins or open chromatin.",
    needs=("rna", "second_modality"),
    parts=("train_source", "train_target", "test_source"),
    output=Slot("prediction", rows="test_source.obs", columns="train_target.var"),
    primary="rmse_skill",
    split=split,
    example="simulated_cite@n_cells=600@n_genes=300",
    hint="Sources: raw counts of proteins or peaks; train_target.X: log1p CP10k of RNA. Return test cells "
    "x genes.",
)
