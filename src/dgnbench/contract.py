"""What a task promises and what an output must be: the lowest layer, importing nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from anndata import AnnData

Problem = dict[str, "AnnData"]
Solution = dict[str, "AnnData"]
Split = Callable[..., tuple[Problem, Solution]]

Status = Literal[
    "ok", "declined", "failed", "timeout", "out_of_memory", "invalid_output", "no_gpu", "lost"
]  # fmt: skip
STATUSES: tuple[Status, ...] = (
    "ok",
    "declined",
    "failed",
    "timeout",
    "out_of_memory",
    "invalid_output",
    "no_gpu",
    "lost",
)
Role = Literal["method", "baseline", "floor", "ceiling"]
CONTROLS: tuple[Role, ...] = ("floor", "ceiling")

ROW_SUM_TOLERANCE = 1e-4  # of the row sums of a matching in float32
RANK_TOLERANCE = 1e-6  # second singular value over the first; below it an embedding is a line


class DgnbenchError(Exception):
    """A mistake in what the user gave; the message says where, what was wanted and how to mend it."""


class Declined(Exception):
    """Raised by a method whose assumptions the data do not meet (not a failure)."""


class Estimate(float):
    """A score from a sample of the cells; `note` says how many, and its standard error."""

    WITH_ERROR = ", standard error "  # between the two halves of a note
    error: float
    note: str

    def __new__(cls, value: float, error: float, used: int, cells: int) -> Estimate:
        """From `used` of `cells` cells, with a standard error on the scale of the score."""
        made = super().__new__(cls, value)
        made.error = error
        made.note = f"{used:,} of {cells:,} cells{cls.WITH_ERROR}{error:.2g}"
        return made


class NotApplicable(Exception):
    """Raised by a metric that has no meaning on this dataset (no noiseless mean, say)."""


class ContractError(Exception):
    """An output, or a problem, that breaks the task's contract."""


@dataclass(frozen=True)
class Slot:
    """The matrix a method must return.

    Parameters
    ----------
    kind
        `embedding` (columns are free, up to `max_columns`), `prediction` (columns are features),
        `counts` (non-negative integers) or `matching` (weights of the cells of another part).
    rows
        The part whose cells are the rows, as ``"<part>.obs"``.
    columns
        The part whose features are the columns, as ``"<part>.var"``, or whose cells are, as
        ``"<part>.obs"``; None for an embedding.
    nonnegative
        Whether a negative value is an error.
    max_columns
        For an embedding: the largest number of dimensions.
    row_sum
        For a matching: what the values of every row must add up to.
    max_nonzeros
        For a matching: the most non-zero values in a row.
    """

    kind: Literal["embedding", "prediction", "counts", "matching"]
    rows: str
    columns: str | None = None
    nonnegative: bool = False
    max_columns: int = 100
    row_sum: float | None = None
    max_nonzeros: int | None = None


@dataclass(frozen=True)
class Task:
    """A question with a hidden answer.

    Parameters
    ----------
    id, label, summary
        The module's name, its title, and one sentence for the report.
    needs
        What a dataset must have to be eligible (the `has` list of its card).
    parts
        The problem's parts in the order of a method's positional arguments.
    restricted
        Parts of the problem that only some methods get: `labels`, for `uses_labels: true`.
    output
        What a method must return.
    primary
        The metric that ranks, and on which floors are worst and ceilings best.
    split
        ``split(data, *, seed) -> (problem, solution)``; data is an AnnData, or a MuData where
        the task needs a second modality.
    example
        A dataset of a size at which `dgnbench try` takes seconds.
    hint
        For whoever writes a method: what the parts hold, and what to return.
    """

    id: str
    label: str
    summary: str
    needs: tuple[str, ...]
    parts: tuple[str, ...]
    output: Slot
    primary: str
    split: Split
    example: str
    hint: str
    restricted: tuple[str, ...] = ()


def _size(part: str, problem: Mapping[str, AnnData]) -> int:
    name, axis = part.split(".")
    return int(problem[name].n_obs if axis == "obs" else problem[name].n_vars)


def check_output(task: Task, problem: Mapping[str, AnnData], output: Any) -> Any:
    """Check a method's output against its task and bring it to float32.

    Parameters
    ----------
    task
        The task whose `output` slot is to be met.
    problem
        The parts that the method saw.
    output
        What it returned: ndarray, SciPy sparse matrix, DataFrame or anything `numpy.asarray` takes.

    Returns
    -------
    A float32 ndarray, or CSR matrix where a sparse matrix was given, of the slot's shape; a matching
    is always CSR, without stored zeros.

    Raises
    ------
    ContractError
        Wrong type, shape or sign, values that are not finite, counts that are not integers, rows of a
        matching with a wrong sum or too many values, or a degenerate embedding (constant, or on one
        line), which metrics would score as if it were good.
    """
    import numpy as np
    from scipy import sparse

    slot = task.output
    where = f"output of task {task.id}"
    if output is None:
        raise ContractError(
            f"{where}: the method returned None; wanted a matrix. Is a `return` missing?"
        )
    matrix: Any = sparse.csr_matrix(output) if sparse.issparse(output) else np.asarray(output)
    if matrix.dtype == object:  # a DataFrame of mixed columns, say
        try:
            matrix = matrix.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ContractError(f"{where}: wanted a numeric matrix: {error}") from None
    values = matrix.data if sparse.issparse(matrix) else matrix
    if not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values):
        raise ContractError(
            f"{where}: wanted a numeric matrix of real numbers, got {type(output).__name__} "
            f"of dtype {values.dtype}"
        )
    rows = _size(slot.rows, problem)
    wanted_columns = None if slot.columns is None else _size(slot.columns, problem)
    wanted = f"({rows}, {wanted_columns if wanted_columns else f'1..{slot.max_columns}'})"
    if (
        matrix.ndim != 2
        or matrix.shape[0] != rows
        or (wanted_columns is not None and matrix.shape[1] != wanted_columns)
        or (wanted_columns is None and not 1 <= matrix.shape[1] <= slot.max_columns)
    ):
        raise ContractError(
            f"{where}: wanted shape {wanted} (rows: {slot.rows}, columns: "
            f"{slot.columns or 'dimensions'}), got {tuple(matrix.shape)}"
        )
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise ContractError(
            f"{where}: {bad} of {rows * matrix.shape[1]} values are not finite (NaN or infinite); "
            "did training diverge?"
        )
    if (slot.nonnegative or slot.kind == "counts") and values.size and values.min() < 0:
        raise ContractError(
            f"{where}: wanted values >= 0, got {int((values < 0).sum())} negative ones "
            f"(smallest {values.min():.4g})"
        )
    if slot.kind == "counts" and (values != np.round(values)).any():
        raise ContractError(
            f"{where}: wanted integer counts, got {int((values != np.round(values)).sum())} values "
            "that are not integers; draw counts from the model's rates"
        )
    with np.errstate(over="ignore"):
        matrix = matrix.astype(np.float32)
    if not np.isfinite(matrix.data if sparse.issparse(matrix) else matrix).all():
        raise ContractError(f"{where}: values too large for float32")
    if slot.kind == "embedding":
        _check_rank(matrix.toarray() if sparse.issparse(matrix) else matrix, where)
    if slot.kind == "matching":
        return _check_rows(matrix, slot, where)
    return matrix


def _check_rows(matrix: Any, slot: Slot, where: str) -> Any:
    import numpy as np
    from scipy import sparse

    weights = sparse.csr_matrix(matrix)
    weights.sum_duplicates()
    weights.eliminate_zeros()
    most = int(np.diff(weights.indptr).max(initial=0))
    if slot.max_nonzeros is not None and most > slot.max_nonzeros:
        raise ContractError(
            f"{where}: wanted at most {slot.max_nonzeros} non-zero values a row, got a row with {most}; "
            "keep the largest of every row and divide by their sum"
        )
    if slot.row_sum is not None:
        sums = np.asarray(weights.sum(axis=1, dtype=np.float64)).ravel()
        wrong = np.abs(sums - slot.row_sum) > ROW_SUM_TOLERANCE
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ContractError(
                f"{where}: wanted rows that sum to {slot.row_sum:g}, got {int(wrong.sum())} others "
                f"(row {row} sums to {sums[row]:.6g}); divide every row by its sum"
            )
    return weights


def _check_rank(embedding: Any, where: str) -> None:
    import numpy as np

    centred = embedding.astype(np.float64) - embedding.mean(axis=0, dtype=np.float64)
    singular = np.linalg.svd(centred, compute_uv=False)
    scale = max(1.0, float(np.abs(embedding).max()))
    if singular[0] <= RANK_TOLERANCE * scale:
        raise ContractError(f"{where}: degenerate embedding: every cell has the same coordinates")
    if len(singular) < 2 or singular[1] <= RANK_TOLERANCE * singular[0]:
        raise ContractError(
            f"{where}: degenerate embedding of rank 1: all cells lie on one line; "
            "wanted at least two dimensions that vary"
        )
