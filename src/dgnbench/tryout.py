"""A method on small data, here and now: `dgnbench try`, and `dgnbench.benchmark` in a notebook."""

from __future__ import annotations

import inspect
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dgnbench import data
from dgnbench.cards import CORE, House, MethodCard, check_method_code, nearest, read_house
from dgnbench.contract import CONTROLS, ContractError, Declined, DgnbenchError, check_output
from dgnbench.plan import base_of, variant_of
from dgnbench.runner import fit
from dgnbench.scoring import score
from dgnbench.stats import scaled
from dgnbench.storage import read_parts, sha256, write_json, write_matrix, write_parts
from dgnbench.tasks import all_tasks


def split_dataset(house: House, task: str, dataset: str, seed: int, group: Path) -> None:
    """Load a dataset and write a task's problem and solution into the folder `group`."""
    card = house.datasets[base_of(dataset)]
    missing = set(all_tasks()[task].needs) - set(card.has)
    if missing:
        raise DgnbenchError(f"{dataset} lacks {', '.join(sorted(missing))}, which {task} needs")
    loaded = data.load(card, {**card.params, **variant_of(dataset)})
    if hasattr(loaded, "mod") and "second_modality" not in all_tasks()[task].needs:
        loaded = loaded["rna"].copy()
    problem, solution = all_tasks()[task].split(loaded, seed=seed)
    write_parts(group / "problem", problem)
    write_parts(group / "solution", solution)


def _companions(house: House, task: str) -> list[MethodCard]:
    """The controls and non-deep baselines of a task that need nothing but this environment."""
    return [
        card
        for card in house.methods.cards.values()
        if task in card.tasks and card.role in (*CONTROLS, "baseline") and card.env == CORE
    ]


def _table(house: House, task: str, group: Path, methods: Sequence[str]) -> pd.DataFrame:
    """Raw scores, a row a method, the primary metric's scaled value first."""
    spec = all_tasks()[task]
    dataset = group.parent.name
    rows = score(
        task, dataset, 0, spec.primary, list(house.metrics_of(task).values()), group, methods
    )
    scores = pd.DataFrame(rows)
    scores["value"] = pd.to_numeric(scores["value"])
    scores["scaled"] = scaled(scores)
    order = list(dict.fromkeys(scores["metric"]))
    table = scores.pivot(index="method", columns="metric", values="value")[order]
    primary = scores[scores["metric"] == spec.primary].set_index("method")
    table.insert(0, "role", primary["role"])
    table.insert(1, f"{spec.primary} scaled", primary["scaled"])
    statuses = primary["status"].where(primary["reason"] == "", "")
    table.insert(1, "status", statuses.where(primary["status"] == "ok", primary["status"]))
    return table.sort_values(f"{spec.primary} scaled", ascending=False, na_position="last")


def try_method(
    method: str,
    house: House,
    *,
    task: str | None = None,
    dataset: str | None = None,
    params: Mapping[str, Any] | None = None,
    seed: int = 0,
    full: bool = False,
) -> None:
    """Run a method and its task's controls and baselines on one small dataset; print the scores.

    Raises
    ------
    DgnbenchError
        For unknown names, and where the method did not end with status ok.
    """
    card = house.methods[base_of(method)]
    check_method_code(card)
    given = dict(params or {})
    for name in {**given, **variant_of(method)}:
        if name not in card.params:
            raise DgnbenchError(
                f"{method}: unknown parameter '{name}'; {nearest(name, card.params)}"
            )
    for chosen in [task] if task else card.tasks:
        if chosen not in card.tasks:
            raise DgnbenchError(f"{method} does {', '.join(card.tasks)}, not {chosen}")
        where = dataset or all_tasks()[chosen].example
        with tempfile.TemporaryDirectory(prefix="dgnbench-try-") as scratch:
            group = Path(scratch) / where / "r0"
            split_dataset(house, chosen, where, seed, group)
            companions = [c for c in _companions(house, chosen) if c.id != method]
            for one, name in [(card, method), *((c, c.id) for c in companions)]:
                used = {**one.params, **({} if full else one.smoke)}
                if one is card:
                    used |= {**variant_of(method), **given}
                print(f"running {name} …", flush=True)
                record = fit(
                    one, name, chosen, group / "problem", group / "solution", group / name,
                    seed=seed, params=used, resources=one.resources,
                )  # fmt: skip
                if one is card and record["status"] != "ok":
                    print(record["stderr_tail"])
                    raise DgnbenchError(f"{method}: {record['status']}: {record['reason']}")
            table = _table(house, chosen, group, [method, *(c.id for c in companions)])
            run = json.loads((group / method / "run.json").read_text())
        print(f"\n{all_tasks()[chosen].label} on {where} (seed {seed})")
        print(table.to_string(float_format=lambda value: f"{value:.3f}", na_rep="–"))
        print(
            f"{method}: fit {run['seconds_fit']:.1f} s, import {run['seconds_import']:.1f} s, "
            f"peak memory {run['peak_rss_mb']:.0f} MB; settings "
            f"{'of the card' if full else 'of the card for small data (smoke)'}"
        )


def benchmark(
    function: Callable[..., Any],
    task: str,
    datasets: Sequence[str] | None = None,
    *,
    seed: int = 0,
    name: str | None = None,
    params: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Score a function beside the controls and baselines of a task, in this very process.

    Parameters
    ----------
    function
        As in a method's file: the task's parts, then ``seed`` and its parameters as keywords.
    task
        Which task; the function's name does not matter.
    datasets
        Dataset ids with variants; default the small one that `dgnbench try` takes.
    seed
        Of the split and of the call.
    name
        How the function is called in the table (default: its own name).
    params
        Its keyword parameters.

    Returns
    -------
    One row a dataset and method: role, status, the primary metric scaled, every metric raw.

    Notes
    -----
    The function is called here, so that it can be debugged; an output that breaks the contract
    raises `ContractError` at once. Controls and baselines run in processes of their own.
    """
    house = read_house()
    if task not in all_tasks():
        raise DgnbenchError(f"no task named '{task}'; {nearest(task, all_tasks())}")
    spec = all_tasks()[task]
    called = name or str(getattr(function, "__name__", "function"))
    keywords = dict(params or {})
    if "seed" in inspect.signature(function).parameters:
        keywords["seed"] = seed
    tables = {}
    for dataset in datasets or [spec.example]:
        with tempfile.TemporaryDirectory(prefix="dgnbench-") as scratch:
            group = Path(scratch) / dataset / "r0"
            split_dataset(house, task, dataset, seed, group)
            problem = read_parts(group / "problem")
            try:
                output = check_output(
                    spec, problem, function(*(problem[p].copy() for p in spec.parts), **keywords)
                )
            except Declined as reason:
                raise ContractError(f"{called} declined {dataset}: {reason}") from None
            write_matrix(group / called / "output.h5ad", output)
            write_json(
                group / called / "run.json",
                {"status": "ok", "reason": "", "role": "method", "uses_labels": False,
                 "output_sha256": sha256(group / called / "output.h5ad")},
            )  # fmt: skip
            companions = [c for c in _companions(house, task) if c.id != called]
            for card in companions:
                fit(
                    card, card.id, task, group / "problem", group / "solution", group / card.id,
                    seed=seed, params={**card.params, **card.smoke}, resources=card.resources,
                )  # fmt: skip
            tables[dataset] = _table(house, task, group, [called, *(c.id for c in companions)])
    return pd.concat(tables, names=["dataset"])
