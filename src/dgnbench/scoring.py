"""Scores: every metric of a task over all runs of one (task, dataset, replicate), in one process.

Scoring together pays imports and compilation once (some 77 CPU-seconds for scib-metrics). A run whose
output, solution, metric code and engine did not change keeps its ``scores.csv``, so one changed run
never rescores the others.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import json
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from dgnbench.cards import MetricCard, MetricFamily, component_files, core_files
from dgnbench.contract import Estimate, NotApplicable
from dgnbench.shared import Engine, Shared
from dgnbench.storage import read_matrix, read_parts, sha256, sha256_of_folder, whole

LOG = logging.getLogger(__name__)

COLUMNS = (
    "task",
    "dataset",
    "replicate",
    "method",
    "role",
    "uses_labels",
    "metric",
    "group",
    "direction",
    "primary",
    "value",
    "status",
    "reason",
    "note",
    "seconds",
    "score_key",
)


@contextmanager
def without_tensorflow() -> Iterator[None]:
    """Make `import tensorflow` fail meanwhile, unless it is imported already.

    umap and scib_metrics import it when it is there, which costs 6 s and 600 MiB for nothing.
    """
    hidden = "tensorflow" not in sys.modules
    if hidden:
        sys.modules["tensorflow"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules["tensorflow"]


def keep_compilations() -> None:
    """Let JAX keep what it compiles for the next process: scib-metrics compiles for a minute.

    It lies in the user's cache folder, unless JAX's own variables say otherwise.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dgnbench" / "jax"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def load_metrics(family: MetricFamily) -> ModuleType:
    """Import a family's ``metric.py``."""
    file = family.folder / "metric.py"
    spec = importlib.util.spec_from_file_location(f"dgnbench_metrics_{family.id}", file)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def evaluate(
    function: Callable[..., float], solution: Any, output: Any, shared: Shared
) -> tuple[float, str, str]:
    """Value, status and reason of one metric; whatever it raises becomes a status.

    The value stays an `Estimate` if the metric gave one.
    """
    try:
        value = function(solution, output, shared)
        value = value if isinstance(value, Estimate) else float(value)
    except NotApplicable as reason:
        return math.nan, "not_applicable", str(reason)
    except Exception as error:  # a metric's fault sinks its own row only
        LOG.exception("metric %s failed", getattr(function, "__name__", function))
        return math.nan, "failed", f"metric raised {type(error).__name__}: {error}"
    if not math.isfinite(value):
        return math.nan, "failed", f"metric returned {value}"
    return value, "ok", ""


def score_key(
    families: Sequence[MetricFamily],
    run: Mapping[str, Any],
    solution_sha256: str,
    primary: str,
    engine: Engine = "own",
) -> str:
    """What a run's scores depend on: its output or status, the solution, the metrics' code, the engine.

    Their code is the families' own and all of this package that it imports.
    """
    digest = hashlib.sha256(engine.encode())
    for family in families:
        for file in [*component_files(family.folder), *core_files(family.folder)]:
            digest.update(f"{file.name}:{sha256(file)};".encode())
    asked = [run["status"], run["reason"], run["output_sha256"], run["role"], solution_sha256]
    digest.update(json.dumps([*asked, primary]).encode())
    return digest.hexdigest()[:16]


@without_tensorflow()
def score(
    task: str,
    dataset: str,
    replicate: int,
    primary: str,
    families: Sequence[MetricFamily],
    group: Path,
    methods: Sequence[str],
    engine: Engine = "own",
) -> list[dict[str, Any]]:
    """Score all runs of a group.

    Parameters
    ----------
    task, dataset, replicate
        The group's identity, for the rows.
    primary
        The task's primary metric.
    families
        The metric families of the task.
    group
        The group's folder: it holds ``solution/`` and a folder for every method.
    methods
        The methods to score, each with a ``run.json``.
    engine
        Whose implementation metrics of embeddings use.

    Returns
    -------
    One row for every method and metric, also for runs that are not ok: a missing score is a row
    with its reason. Each method's rows are also in its own ``scores.csv``.
    """
    keep_compilations()
    solution_sha256 = sha256_of_folder(group / "solution", "*.h5ad")
    solution = None
    functions: dict[str, Any] = {}
    memo: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for method in methods:
        folder = group / method
        run = json.loads((folder / "run.json").read_text())
        key = score_key(families, run, solution_sha256, primary, engine)
        kept = _kept_scores(folder / "scores.csv", key)
        if kept is not None:
            rows += kept
            continue
        output: Any = None
        if run["status"] == "ok":
            if solution is None:
                solution = read_parts(group / "solution")
                functions = {family.id: load_metrics(family) for family in families}
            if sha256(folder / "output.h5ad") != run["output_sha256"]:
                run |= {
                    "status": "failed",
                    "reason": "output.h5ad is not the file that the run wrote (checksums differ)",
                }
            else:
                output = read_matrix(folder / "output.h5ad")
        made = []
        shared = Shared(memo, engine)
        for family in families:
            for metric in family.metrics.values():
                value, status, reason, seconds = math.nan, run["status"], run["reason"], 0.0
                if run["status"] == "ok":
                    (value, status, reason), seconds = _timed(
                        getattr(functions[family.id], metric.id), solution, output, shared
                    )
                made.append(
                    {
                        **{"task": task, "dataset": dataset, "replicate": replicate},
                        **{"method": method, "role": run["role"]},
                        **{"uses_labels": run["uses_labels"]},
                        **described(metric, primary),
                        "value": "" if math.isnan(value) else repr(float(value)),
                        "status": status,
                        "reason": reason,
                        "note": getattr(value, "note", ""),
                        "seconds": round(seconds, 3),
                        "score_key": key,
                    }
                )
        write_rows(folder / "scores.csv", made)
        rows += made
    return rows


def described(metric: MetricCard, primary: str) -> dict[str, Any]:
    """The columns of a score that come from the metric's card."""
    return {
        "metric": metric.id,
        "group": metric.group,
        "direction": metric.direction,
        "primary": metric.id == primary,
    }


def _timed(*arguments: Any) -> tuple[tuple[float, str, str], float]:
    import time

    begin = time.perf_counter()
    return evaluate(*arguments), time.perf_counter() - begin


def _kept_scores(path: Path, key: str) -> list[dict[str, Any]] | None:
    if not path.is_file():
        return None
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    return rows if rows and all(row.get("score_key") == key for row in rows) else None


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write score rows as CSV, whole or not at all."""
    with whole(path) as partial, partial.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
