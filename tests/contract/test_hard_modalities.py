"""Whatever a second modality is like, a method does its task or says why not; it never crashes."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from mudata import MuData
from scipy import sparse

from dgnbench.cards import CORE, read_house
from dgnbench.contract import Declined, check_output
from dgnbench.plan import epochs_of
from dgnbench.tasks import all_tasks

HOUSE = read_house()
N_CELLS = 60
MANY_PEAKS = 100_000


def cells(second, kind, *, batches=1, types=1):
    """Genes without a count and a cell with one molecule beside a given second modality."""
    rng = np.random.default_rng(0)
    genes = rng.poisson(rng.gamma(1, 1, (N_CELLS, 40)))
    genes[:, 5] = 0
    genes[7] = 0
    genes[7, 1] = 1
    names = [f"c{i}" for i in range(N_CELLS)]
    obs = pd.DataFrame(
        {
            "batch": pd.Categorical([f"b{i % batches}" for i in range(N_CELLS)]),
            "cell_type": pd.Categorical([f"t{i % types}" for i in range(N_CELLS)]),
        },
        index=names,
    )
    parts = {
        "rna": AnnData(sparse.csr_matrix(genes, dtype=np.float32), obs=obs),
        kind: AnnData(sparse.csr_matrix(second, dtype=np.float32), obs=pd.DataFrame(index=names)),
    }
    for name, part in parts.items():
        part.var_names = [f"{name}_{i}" for i in range(part.n_vars)]
    return MuData(parts)


def few_features(kind):
    """Fifteen features, one never seen, of which three cells have no count at all."""
    counts = np.random.default_rng(1).poisson(2.0, (N_CELLS, 15))
    counts[:, 3] = 0
    counts[[0, 20, 40]] = 0
    return cells(counts, kind)


def many_peaks():
    """A hundred thousand peaks, one in a hundred open."""
    shape = (N_CELLS, MANY_PEAKS)
    peaks = sparse.random_array(shape, density=0.01, rng=np.random.default_rng(2), format="csr")
    peaks.data[:] = 1
    return cells(sparse.csr_matrix(peaks), "atac", batches=2, types=3)


DATA = {
    "15 proteins, one batch, one type": ("protein", lambda: few_features("protein")),
    "15 peaks, one batch, one type": ("atac", lambda: few_features("atac")),
    "100,000 peaks": ("atac", many_peaks),
}


@pytest.fixture(scope="module")
def problems():
    """``problems(task, data)``: its problem, with the solution; none is split twice."""
    made = {}

    def problem(task, name):
        if (task, name) not in made:
            made[task, name] = all_tasks()[task].split(DATA[name][1](), seed=0)
        return made[task, name]

    return problem


@pytest.mark.parametrize(
    ("method", "task", "name"),
    [
        pytest.param(card.id, task, name, id=f"{card.id}-{task}-{name}")
        for card in HOUSE.methods.cards.values()
        for task in card.tasks
        if "second_modality" in all_tasks()[task].needs and card.env == CORE and not card.command
        for name, (second, _) in DATA.items()
        if card.second_modality in (None, second)  # the runner declines the others
    ],
)
def test_a_hard_modality_is_done_or_declined(method, task, name, problems, loaded):
    card, spec = HOUSE.methods[method], all_tasks()[task]
    problem, solution = problems(task, name)
    given = {**card.params, **card.smoke, **dict.fromkeys(epochs_of(card), 2)}
    if card.role == "ceiling":
        given["solution"] = solution
    if card.uses_labels:
        given["labels"] = problem["labels"]
    try:
        output = getattr(loaded(method), task)(
            *(problem[part].copy() for part in spec.parts), seed=0, **given
        )
    except Declined:
        return
    check_output(spec, problem, output)
