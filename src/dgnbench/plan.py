"""A config becomes a plan: which runs there are, and where each lies.

Everything that can be wrong with a config is found here, before a job starts. Reads cards only.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dgnbench.cards import (
    CORE,
    FILTERS,
    INTEGER_COUNTS,
    OBS,
    CardError,
    DatasetCard,
    House,
    MethodCard,
    Resources,
    check_against,
    check_dataset_code,
    check_method_code,
    component_files,
    core_files,
    env_files,
    environments,
    nearest,
    read_house,
    read_yaml,
    root,
)
from dgnbench.contract import CONTROLS
from dgnbench.environments import check_lock
from dgnbench.fetching import LOCK, Settings
from dgnbench.shared import Engine
from dgnbench.storage import expanded
from dgnbench.tasks import all_tasks

# How often a run of such a status is made again by the same start, unless the config says otherwise.
RETRIES: Mapping[str, int] = {"out_of_memory": 1, "timeout": 0, "lost": 1}
# With a budget of time every run is ended at the same time: for reading, imports, the last epoch and
# predicting it has half the budget and ten minutes beside it.
BUDGET_FACTOR, BUDGET_MARGIN = 1.5, 10
EPOCHS = ("epochs", "max_epochs")  # parameters that count passes over the training cells


class ConfigError(CardError):
    """A config that asks for something that does not exist or cannot be."""


@dataclass(frozen=True)
class Run:
    """(task, dataset, replicate, method[@variant]): the identity of one output."""

    task: str
    dataset: str
    replicate: int
    method: str


@dataclass(frozen=True, eq=False)
class Plan:
    """All that a benchmark will do."""

    benchmark: str
    tasks: tuple[str, ...]
    datasets: tuple[str, ...]
    methods: tuple[str, ...]
    replicates: int
    seed: int
    smoke: bool
    runs: tuple[Run, ...]
    house: House
    config: Mapping[str, Any]
    component_paths: tuple[Path, ...] = ()
    left_out: tuple[str, ...] = ()  # of `methods: all`, by the config's `envs`

    def method(self, name: str) -> MethodCard:
        """The card behind ``method`` or ``method@variant``, at its parameters."""
        return self.house.methods[base_of(name)].at(self.params(name))

    def dataset(self, name: str) -> DatasetCard:
        """The card behind ``dataset`` or ``dataset@variant``, or the user's own file."""
        return dataset_card(self.house, self.config, name)

    @functools.cache  # noqa: B019 (a plan lives as long as the process)
    def params(self, method: str) -> dict[str, Any]:
        """The parameters of a method: card, then smoke, then the config's, then the variant's."""
        card = self.house.methods[base_of(method)]
        return {
            **card.params,
            **(card.smoke if self.smoke else {}),
            **self.config.get("params", {}).get(card.id, {}),
            **(
                dict.fromkeys(epochs_of(card), self.budget["epochs"])
                if "epochs" in self.budget
                else {}
            ),
            **variant_of(method),
        }

    @functools.cache  # noqa: B019
    def resources(self, method: str) -> Resources:
        """What the runs of a method may use: its card, overridden by the config."""
        card = self.method(method)
        own = self.config.get("resources", {}).get(card.id, {})
        if "minutes" not in self.budget:
            return replace(card.resources, **own)
        minutes = self.budget["minutes"]
        runtime = BUDGET_FACTOR * minutes + BUDGET_MARGIN
        return replace(card.resources, **{"runtime": runtime, **own}, train_minutes=minutes)

    @property
    def budget(self) -> Mapping[str, float]:
        """``{"minutes": …}`` or ``{"epochs": …}`` that every method gets, or nothing."""
        return dict(self.config.get("budget", {}))

    @functools.cached_property
    def retries(self) -> dict[str, int]:
        """How often each status is tried again."""
        return {**RETRIES, **self.config.get("retries", {})}

    @property
    def engine(self) -> Engine:
        """Whose implementation metrics of embeddings use."""
        chosen: Engine = self.config.get("engine", "own")
        return chosen

    def code_of_metrics(self, task: str) -> list[Path]:
        """What the runs of a task are scored with: its families' files and what they import of ours."""
        folders = [family.folder for family in self.house.metrics_of(task).values()]
        found = {f for folder in folders for f in (*component_files(folder), *core_files(folder))}
        return sorted(found)

    @property
    def require_gpu(self) -> bool:
        """Whether a run that wants a GPU is not made without one."""
        return bool(self.config.get("require_gpu", False))

    def granted(self, method: str, attempt: int) -> Resources:
        """What a try of a method may use, counted from 1."""
        return granted(self.resources(method), attempt, self.retries)

    @property
    def environments(self) -> list[str]:
        """The environments to build, those of methods that take part."""
        names = {self.method(method).env for method in self.methods} - {CORE}
        return sorted(name for name in names if env_files(name)[0].is_file())

    def runs_of(self, task: str, dataset: str, replicate: int) -> list[Run]:
        """The runs that are scored together."""
        return self._grouped[(task, dataset, replicate)]

    @functools.cached_property
    def _grouped(self) -> dict[tuple[str, str, int], list[Run]]:
        groups: dict[tuple[str, str, int], list[Run]] = {}
        for run in self.runs:
            groups.setdefault((run.task, run.dataset, run.replicate), []).append(run)
        return groups

    def code_of(self, dataset: str) -> list[str]:
        """What a dataset is prepared with: its card and code, or the user's own file."""
        card = self.dataset(dataset)
        if card.path is not None:
            sets = card.columns.get("gene_sets")
            return [str(card.path), *([sets] if sets else [])]
        return [str(file) for file in component_files(card.folder) if file.name != LOCK]

    def fetched_of(self, dataset: str) -> list[str]:
        """The record of a dataset's fetched files, if it has some."""
        card = self.dataset(dataset)
        return [f"data/raw/{card.id}/source.json"] if card.files else []

    def prepared_of(self, dataset: str) -> str:
        """Where a dataset lies in its standard form."""
        return f"data/prepared/{dataset}.{self.dataset(dataset).suffix}"

    @functools.cached_property
    def settings(self) -> Settings:
        """How the files of datasets are fetched."""
        return Settings.of(self.config)

    @property
    def groups(self) -> list[tuple[str, str, int]]:
        """Every (task, dataset, replicate)."""
        return list(self._grouped)


def granted(resources: Resources, attempt: int, retries: Mapping[str, int]) -> Resources:
    """What a try may use: the second twice the memory of the first, and so on.

    More time only where a timeout is tried again: a node that was lost says nothing about time.
    """
    longer = attempt if retries.get("timeout", 0) else 1
    return replace(resources, mem_mb=resources.mem_mb * attempt, runtime=resources.runtime * longer)


def epochs_of(card: MethodCard) -> list[str]:
    """The parameters of a method that say how many epochs it trains."""
    return [name for name in EPOCHS if name in card.params]


def base_of(name: str) -> str:
    """The id before the ``@``."""
    return name.split("@", 1)[0]


def scalar(text: str) -> Any:
    """A parameter's value as typed: a number, true, false, null, or else the text itself."""
    for kind in (int, float):
        try:  # YAML 1.1 takes 1e-3 for a string
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False, "null": None}.get(text, text)


def variant_of(name: str) -> dict[str, Any]:
    """The parameters, each behind an ``@``: ``vae@beta=4@lr=1e-3`` gives ``{"beta": 4, "lr": 0.001}``.

    No comma between them: where a job runs on another machine, Snakemake tells it its wildcards with
    commas between.
    """
    return assignments(name.split("@")[1:], name)


def assignments(pairs: Iterable[str], where: str) -> dict[str, Any]:
    """Parameters from texts such as ``beta=4``."""
    made = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise ConfigError(f"{where}: wanted NAME=VALUE, such as beta=4, got '{pair}'")
        made[key] = scalar(value)
    return made


MODALITIES = {"prot": "protein", "protein": "protein", "adt": "protein", "atac": "atac"}
COLUMNS = (
    "counts",
    *OBS,
    "spatial",
    "gene_sets",
    "rna",
    "second_modality",
)  # a user may name these


def dataset_card(house: House, config: Mapping[str, Any], name: str) -> DatasetCard:
    """The card of a dataset named in a config, or one made up for the user's own file."""
    given = config["datasets"].get(name) or {}
    if "path" not in given:
        card = house.datasets[base_of(name)]
        if {**card.params, **variant_of(name)}.get("counts") == "as_distributed":
            return replace(card, has=tuple(what for what in card.has if what != INTEGER_COUNTS))
        return card
    path = expanded(given["path"])
    second = str(given.get("second_modality", "second"))
    multimodal = path.suffix == ".h5mu" or second.startswith("obsm/")
    has = ["rna", *(key for key in (*OBS, "spatial", "gene_sets") if key in given)]
    kind = MODALITIES.get(second.removeprefix("obsm/").lower(), second.removeprefix("obsm/"))
    return DatasetCard(
        id=base_of(name),
        folder=path.parent,
        label=given.get("label", name),
        summary=given.get("summary", f"The user's own data, {path.name}."),
        kind="real",
        organism="not stated",
        source=path.name,
        licence=given.get("licence", "unknown"),
        reference="none: the user's own data",
        has=(*has, *(["second_modality"] if multimodal else []), INTEGER_COUNTS),
        modalities=("rna", kind) if multimodal else ("rna",),
        params={},
        expected={},
        path=path,
        columns={
            key: str(expanded(value)) if key == "gene_sets" else value
            for key, value in given.items()
            if key in COLUMNS
        },
    )


def _check_names(given: Mapping[str, Any], known: Mapping[str, Any], where: str) -> None:
    for name in given:
        if name not in known:
            raise ConfigError(f"{where}: unknown parameter '{name}'; {nearest(name, known)}")


def _selected_tasks(config: Mapping[str, Any], where: str) -> list[str]:
    tasks = all_tasks()
    if config["tasks"] == "all":
        return list(tasks)
    for task in config["tasks"]:
        if task not in tasks:
            raise ConfigError(f"{where}: tasks: no task named '{task}'; {nearest(task, tasks)}")
    return list(config["tasks"])


def _selected_datasets(
    config: Mapping[str, Any], house: House, tasks: Sequence[str], where: str
) -> list[str]:
    for name, given in config["datasets"].items():
        for task in (given or {}).get("tasks", []):
            if task not in tasks:
                raise ConfigError(
                    f"{where}: datasets.{name}.tasks: '{task}' is none of the selected tasks; "
                    f"{nearest(task, tasks)}"
                )
        if given and "path" in given:
            if base_of(name) in house.datasets:
                raise ConfigError(
                    f"{where}: datasets: '{base_of(name)}' is the name of a built-in dataset"
                )
            path = expanded(given["path"])
            for key in ("path", "gene_sets"):
                if key in given and not expanded(given[key]).is_file():
                    raise ConfigError(
                        f"{where}: datasets.{name}.{key}: no such file: {expanded(given[key])}"
                    )
            if path.suffix == ".h5mu" and "second_modality" not in given:
                raise ConfigError(
                    f"{where}: datasets.{name}: an .h5mu wants `second_modality:`, its name in the file"
                )
            _check_names(variant_of(name), FILTERS, f"{where}: datasets.{name}")
            continue
        if set(given or {}) - {"tasks"}:
            raise ConfigError(
                f"{where}: datasets.{name}: wanted a `path` beside {', '.join(sorted(given))}"
            )
        if base_of(name) not in house.datasets:
            hint = nearest(base_of(name), house.datasets)
            raise ConfigError(
                f"{where}: datasets: no dataset named '{base_of(name)}'; {hint} "
                "(a file of your own: give its `path`)"
            )
        card = house.datasets[base_of(name)]
        check_dataset_code(card)
        _check_names(variant_of(name), {**card.params, **FILTERS}, f"{where}: datasets.{name}")
    return list(config["datasets"])


def _selected_methods(
    config: Mapping[str, Any], house: House, tasks: Sequence[str], where: str
) -> list[str]:
    """The chosen methods, and the controls of the chosen tasks: scaling needs them."""
    controls = [
        name
        for name in house.methods
        if house.methods[name].role in CONTROLS and set(house.methods[name].tasks) & set(tasks)
    ]
    envs = config.get("envs", "all")
    for env in envs if envs != "all" else ():
        if env not in environments():
            raise ConfigError(
                f"{where}: envs: no environment named '{env}'; {nearest(env, environments())}"
            )
    if config["methods"] == "all":
        able = [n for n in house.methods if set(house.methods[n].tasks) & set(tasks)]
        chosen = [n for n in able if envs == "all" or house.methods[n].env in envs or n in controls]
        beside = {name: house.methods[name].unlabelled for name in chosen}
        return [row for name in chosen for row in (name, beside[name]) if row is not None]
    for name in config["methods"]:
        if base_of(name) not in house.methods:
            hint = nearest(base_of(name), house.methods)
            raise ConfigError(f"{where}: methods: no method named '{base_of(name)}'; {hint}")
        card = house.methods[base_of(name)]
        _check_names(variant_of(name), card.params, f"{where}: methods.{name}")
        if envs != "all" and card.env not in envs:
            raise ConfigError(
                f"{where}: methods: '{name}' lives in the environment {card.env}, which is none of "
                f"`envs` ({', '.join(envs)}): add it there"
            )
        if not set(card.tasks) & set(tasks):
            raise ConfigError(
                f"{where}: methods: '{name}' does {', '.join(card.tasks)}; "
                f"the config's tasks are {', '.join(tasks)}: take one of them in, or leave it out"
            )
    return [*config["methods"], *(c for c in controls if c not in config["methods"])]


def _check_budget(
    config: Mapping[str, Any], house: House, methods: Sequence[str], where: str
) -> None:
    """Nobody may say how many epochs one method trains where the budget says it of all."""
    named = [(f"methods.{method}", base_of(method), variant_of(method)) for method in methods]
    named += [(f"params.{name}", name, given) for name, given in config.get("params", {}).items()]
    for place, name, given in named:
        twice = set(given) & set(epochs_of(house.methods[name]))
        if twice:
            raise ConfigError(
                f"{where}: {place}: sets `{twice.pop()}`, but `budget.epochs` gives every method "
                f"{config['budget']['epochs']}: take one of them away"
            )


def make_plan(config: Mapping[str, Any], where: str = "config") -> Plan:
    """Check a config against the schema and the cards, and lay out its runs.

    Parameters
    ----------
    config
        The parsed config.
    where
        What to call it in messages: the file's name.

    Raises
    ------
    ConfigError, CardError
        With the place, what was wanted, what came and the nearest valid word.
    """
    check_against("config", config, where)
    component_paths = [expanded(path) for path in config.get("component_paths", [])]
    component_paths = [p if p.is_absolute() else root() / p for p in component_paths]
    house = read_house(component_paths)
    tasks = _selected_tasks(config, where)
    datasets = _selected_datasets(config, house, tasks, where)
    methods = _selected_methods(config, house, tasks, where)
    for key in ("params", "resources"):
        for name, given in config.get(key, {}).items():
            if name not in house.methods:
                raise ConfigError(
                    f"{where}: {key}: no method named '{name}'; {nearest(name, house.methods)}"
                )
            if key == "params":
                _check_names(given, house.methods[name].params, f"{where}: params.{name}")
    if "epochs" in config.get("budget", {}):
        _check_budget(config, house, methods, where)
    for name in {base_of(method) for method in methods}:
        check_method_code(house.methods[name])
        if env_files(house.methods[name].env)[0].is_file():
            check_lock(house.methods[name].env)

    runs = []
    used: set[str] = set()
    for task in tasks:
        needs = set(all_tasks()[task].needs)
        able = [m for m in methods if task in house.methods[base_of(m)].tasks]
        if all(house.methods[base_of(m)].role in CONTROLS for m in able):
            raise ConfigError(
                f"{where}: no selected method does the task '{task}' (controls do not count); "
                "add one to `methods`, or leave the task out"
            )
        asked = [d for d in datasets if task in (config["datasets"][d] or {}).get("tasks", tasks)]
        eligible = [d for d in asked if needs <= set(dataset_card(house, config, d).has)]
        if not eligible:
            raise ConfigError(
                f"{where}: no selected dataset suits the task '{task}', which needs "
                f"{', '.join(sorted(needs))}; "
                + "; ".join(
                    f"{d} lacks {', '.join(sorted(needs - set(dataset_card(house, config, d).has)))}"
                    if d in asked
                    else f"{d} is not asked for it"
                    for d in datasets
                )
            )
        used.update(eligible)
        runs += [
            Run(task, dataset, replicate, method)
            for dataset in eligible
            for replicate in range(config.get("replicates", 1))
            for method in able
        ]
    unused = [dataset for dataset in datasets if dataset not in used]
    if unused:
        raise ConfigError(
            f"{where}: the dataset '{unused[0]}' suits none of the selected tasks "
            f"({', '.join(tasks)}); it has {', '.join(dataset_card(house, config, unused[0]).has)}"
        )
    return Plan(
        benchmark=config["benchmark"],
        tasks=tuple(tasks),
        datasets=tuple(datasets),
        methods=tuple(methods),
        replicates=config.get("replicates", 1),
        seed=config.get("seed", 0),
        smoke=config.get("smoke", False),
        runs=tuple(runs),
        house=house,
        config=dict(config),
        component_paths=tuple(component_paths),
        left_out=tuple(
            name
            for name in house.methods
            if config["methods"] == "all"
            and name not in methods
            and set(house.methods[name].tasks) & set(tasks)
        ),
    )


def read_plan(path: Path) -> Plan:
    """`make_plan` of a config file."""
    config = read_yaml(path)
    if not isinstance(config, dict):
        raise ConfigError(f"{path}: wanted a mapping of keys, got {type(config).__name__}")
    return make_plan(config, str(path))


def as_json(plan: Plan) -> str:
    """The plan's config with every default filled in, for the manifest."""
    return json.dumps(
        {
            **plan.config,
            "replicates": plan.replicates,
            "seed": plan.seed,
            "smoke": plan.smoke,
            "retries": plan.retries,
            "require_gpu": plan.require_gpu,
            "budget": plan.budget,
            "resolved": {
                method: {
                    "params": plan.params(method),
                    "resources": asdict(plan.resources(method)),
                }
                for method in plan.methods
            },
        },
        indent=1,
        sort_keys=True,
    )
