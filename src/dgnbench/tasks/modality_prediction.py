"""Cross-modal prediction: the second modality of unseen cells from their RNA.

Task of the NeurIPS 2021 challenge (Lance et al., PMLR 176:162, 2022), direction RNA -> second
modality; `rna_prediction` is the other. Split by batch where there are two or more: the test batch is
unseen, as it is in use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dgnbench.contract import Problem, Slot, Solution, Task

if TYPE_CHECKING:
    from mudata import MuData


def split(data: MuData, *, seed: int) -> tuple[Problem, Solution]:
    """Raw counts of RNA; proteins as CLR, or the 10,000 peaks that vary most in training as 0 and 1."""
    from dgnbench.splitting import split_for_prediction

    return split_for_prediction(data, seed=seed, target="second")


TASK = Task(
    id="modality_prediction",
    label="Cross-modal prediction",
    summary="Predict the second modality of the cells of an unseen batch from their RNA.",
    needs=("rna", "second_modality"),
    parts=("train_source", "train_target", "test_source"),
    output=Slot("prediction", rows="test_source.obs", columns="train_target.var"),
    primary="rmse_skill",
    split=split,
    example="simulated_cite@n_cells=600@n_genes=300",
    hint="Sources: raw RNA counts; train_target.X: CLR of proteins, or 0/1 of peaks. Return test cells x "
    "target features.",
)
