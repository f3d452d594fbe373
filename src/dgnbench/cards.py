"""Cards: the YAML of every method, dataset and metric family, read against closed schemas.

Discovery looks into ``methods/``, ``datasets/`` and ``metrics/`` below the repository and below
every path of the config's `component_paths`. Nothing heavy is imported and no component is run.
"""

from __future__ import annotations

import ast
import difflib
import functools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import yaml

try:
    from yaml import CSafeLoader as SafeLoader  # seven times faster
except ImportError:  # PyYAML built without libyaml
    from yaml import SafeLoader  # type: ignore[assignment]

from dgnbench.contract import DgnbenchError, Role
from dgnbench.tasks import all_tasks

SCHEMAS = Path(__file__).parent / "schemas"
CORE = "core"  # the environment of this process; all others have files in config/envs
RESERVED = ("problem", "solution")  # folders that stand beside the methods' own
Kind = Literal["method", "dataset", "metric"]
Standing = Literal["pinned", "claimed", "unknown"]

# Columns of a cell that a dataset may have, and what they hold.
OBS: Mapping[str, Literal["category", "number", "flag"]] = {
    "batch": "category",
    "cell_type": "category",
    "condition": "category",
    "time": "number",
    "pseudotime": "number",
    "doublet": "flag",
}
# Parameters that every dataset takes, in the order in which they are applied.
FILTERS: Mapping[str, str] = {
    "max_cells": "so many cells, drawn at random",
    "min_genes": "cells with at least so many genes",
    "min_cells": "features seen in at least so many cells",
    "n_top_genes": "the most variable genes (Cell Ranger's dispersion, within batches)",
    "n_top_second": "the features of the second modality that are seen in most cells",
}
INTEGER_COUNTS = "integer_counts"  # in `has` of every dataset but a variant `counts=as_distributed`


class CardError(DgnbenchError):
    """A card or config that says something it may not."""


@dataclass(frozen=True)
class Resources:
    """What a run asks for: GPUs, memory in MB, wall time in minutes, CPU threads.

    `train_minutes` is when it should stop training by itself: the config's `budget`, None without.
    """

    gpu: int
    mem_mb: float
    runtime: float
    threads: int = 1
    train_minutes: float | None = None


@dataclass(frozen=True)
class MethodCard:
    """``methods/<id>/method.yaml``."""

    id: str
    folder: Path
    label: str
    summary: str
    reference: str
    role: Role
    uses_labels: bool
    tasks: tuple[str, ...]
    env: str
    params: Mapping[str, Any]
    smoke: Mapping[str, Any]
    resources: Resources
    notes: str = ""
    command: str | None = None
    without_labels: Mapping[str, Any] = field(default_factory=dict)
    second_modality: str | None = None

    def at(self, params: Mapping[str, Any]) -> MethodCard:
        """The card of a run with these parameters: where they make it a method without labels, of one."""
        wanted = self.without_labels
        if wanted and all(params.get(name) == value for name, value in wanted.items()):
            return replace(self, uses_labels=False)
        return self

    @property
    def unlabelled(self) -> str | None:
        """The name of the variant that is given no labels, of a method that can do without."""
        given = (f"@{name}={value}" for name, value in self.without_labels.items())
        return self.id + "".join(given) if self.without_labels else None


@dataclass(frozen=True)
class RemoteFile:
    """One file of a dataset: where it is fetched, and what it must be.

    Parameters
    ----------
    name
        The name under which it is kept; the URLs may end otherwise.
    urls
        In the order in which they are tried; none for a file that only a person can fetch.
    checksum
        ``algorithm:hexadecimal digits``, or None where nobody has published one.
    standing
        `pinned`: the source's own word, a mismatch is final. `claimed`: a third party's, a mismatch
        stops and may be accepted by hand. `unknown`: recorded at the first fetch.
    size
        In bytes, where known.
    """

    name: str
    urls: tuple[str, ...]
    checksum: str | None
    standing: Standing
    size: int | None


@dataclass(frozen=True)
class DatasetCard:
    """``datasets/<id>/dataset.yaml``, or a user's file named in a config (`path` is set)."""

    id: str
    folder: Path
    label: str
    summary: str
    kind: str
    organism: str
    source: str
    licence: str
    reference: str
    has: tuple[str, ...]
    modalities: tuple[str, ...]
    params: Mapping[str, Any]
    expected: Mapping[str, int]
    files: Mapping[str, RemoteFile] = field(default_factory=dict)
    landing: str = ""  # the page where a person finds files that have no URL
    columns: Mapping[str, str] = field(default_factory=dict)  # the file's own names: batch, …
    notes: str = ""
    path: Path | None = None

    @property
    def suffix(self) -> str:
        """``h5mu`` where there is a second modality, else ``h5ad``."""
        return "h5mu" if len(self.modalities) > 1 else "h5ad"

    @property
    def size(self) -> int | None:
        """Bytes to fetch, None where the size of a file is not known."""
        sizes = [file.size for file in self.files.values()]
        return None if None in sizes else sum(size for size in sizes if size is not None)


@dataclass(frozen=True)
class MetricCard:
    """One number of a family.

    `top` and `bottom` are the controls of which one comes out best, and worst, on every dataset:
    several where which one it is depends on the data or on chance.
    """

    id: str
    label: str
    summary: str
    direction: Literal["max", "min"]
    bounds: tuple[float | None, float | None]
    group: str
    reference: str
    top: tuple[str, ...]
    bottom: tuple[str, ...]


@dataclass(frozen=True)
class MetricFamily:
    """``metrics/<family>/metric.yaml``: the numbers of a task, or of several that are scored alike."""

    id: str
    folder: Path
    label: str
    summary: str
    tasks: tuple[str, ...]
    metrics: Mapping[str, MetricCard]


C = TypeVar("C", MethodCard, DatasetCard, MetricFamily)


@dataclass(frozen=True)
class Room(Generic[C]):
    """All cards of one kind, by id; an unknown id is an error that names the nearest one.

    A card is read when it is first asked for.
    """

    kind: Kind
    files: Mapping[str, Path]
    read: Callable[[Path], C]  # caches

    @property
    def cards(self) -> Mapping[str, C]:
        """All of them."""
        return {name: self[name] for name in self}

    def __getitem__(self, name: str) -> C:
        if name not in self.files:
            raise CardError(f"no {self.kind} named '{name}'; {nearest(name, self.files)}")
        return self.read(self.files[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __contains__(self, name: object) -> bool:
        return name in self.files


@dataclass(frozen=True)
class House:
    """Everything found on disk."""

    methods: Room[MethodCard]
    datasets: Room[DatasetCard]
    metrics: Room[MetricFamily]

    def metrics_of(self, task: str) -> dict[str, MetricFamily]:
        """The metric families that score a task."""
        return {f: self.metrics[f] for f in self.metrics if task in self.metrics[f].tasks}


def root() -> Path:
    """The repository: ``DGNBENCH_ROOT`` if set, else the nearest folder upwards with the rooms."""
    if "DGNBENCH_ROOT" in os.environ:
        return Path(os.environ["DGNBENCH_ROOT"]).resolve()
    for folder in (Path.cwd(), *Path.cwd().parents, *Path(__file__).resolve().parents):
        if (folder / "Snakefile").is_file() and (folder / "methods").is_dir():
            return folder
    raise DgnbenchError(
        "no dgnbench repository found here: wanted a folder with Snakefile and methods/; "
        "go into your clone, or set DGNBENCH_ROOT to it"
    )


def nearest(word: str, known: Sequence[str] | Mapping[str, Any] | Any) -> str:
    """``did you mean …?``, or the list of what there is."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(sorted(known))}"


@functools.cache
def _validator(schema: str) -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads((SCHEMAS / f"{schema}.json").read_text()))


def check_against(schema: str, data: Any, where: str) -> None:
    """Raise `CardError` with every fault of `data`, one a line, each with the nearest valid word."""
    faults = []
    for error in sorted(_validator(schema).iter_errors(data), key=lambda e: list(map(str, e.path))):
        place = ".".join(str(step) for step in error.absolute_path)
        if error.validator == "additionalProperties":
            known = list(error.schema.get("properties", {}))
            for key in error.instance:
                if key not in known:
                    faults.append(
                        f"{where}: unknown key '{key}'"
                        + (f" in {place}" if place else "")
                        + f"; {nearest(str(key), known)}"
                    )
        elif error.instance in ([], {}):
            faults.append(f"{where}: {place}: is empty; wanted at least one")
        elif error.validator == "oneOf" and isinstance(error.instance, list):
            inner = next((e for e in error.context or [] if e.validator != "const"), error)
            faults.append(f"{where}: {place}: {_in_words(inner)}")
        else:
            faults.append(f"{where}: {place + ': ' if place else ''}{_in_words(error)}")
    if faults:
        raise CardError("\n".join(faults))


def _in_words(error: Any) -> str:
    """What is wrong, without the regular expression that found it."""
    if error.validator == "pattern" and "description" in error.schema:
        return f"wanted {error.schema['description']}, got '{error.instance}'"
    return str(error.message)


class _UniqueKeyLoader(SafeLoader):
    """YAML takes the last of two equal keys without a word; a card must not."""


def _mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    twice = sorted({str(key) for key in keys if keys.count(key) > 1})
    if twice:
        raise yaml.YAMLError(f"the key '{twice[0]}' stands twice")
    return loader.construct_mapping(node, deep=True)


_UniqueKeyLoader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read_yaml(path: Path) -> Any:
    """Read a YAML file; a syntax error or a key given twice is a `CardError` naming the file."""
    try:
        return yaml.load(path.read_text(), _UniqueKeyLoader)  # a SafeLoader
    except FileNotFoundError:
        raise CardError(f"{path}: no such file") from None
    except yaml.YAMLError as error:
        raise CardError(f"{path}: not valid YAML: {error}") from None


def _card_files(kind: Kind, places: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for place in places:
        for card in sorted((place / f"{kind}s").glob(f"*/{kind}.yaml")):
            name = card.parent.name
            if name in found:
                raise CardError(
                    f"{card}: the {kind} '{name}' exists already in {found[name].parent}"
                )
            found[name] = card
    return found


def _short(path: Path, place: Path) -> str:
    return str(path.relative_to(place)) if path.is_relative_to(place) else str(path)


def env_files(name: str) -> tuple[Path, Path]:
    """Where the lock and the conda file of an environment lie, if it has them."""
    folder = root() / "config" / "envs"
    return folder / f"{name}.txt", folder / f"{name}.yaml"


def environments() -> list[str]:
    """The environments that a card may name."""
    files = (root() / "config" / "envs").glob("*")
    return sorted({CORE, *(file.stem for file in files if file.suffix in (".txt", ".yaml"))})


def _check_env(data: Mapping[str, Any], where: str) -> None:
    """A function needs a lock; what a command needs may come from the machine or from conda."""
    wanted = env_files(data["env"])[: 2 if "command" in data else 1]
    if data["env"] != CORE and not any(file.is_file() for file in wanted):
        names = " or ".join(_short(file, root()) for file in wanted)
        hint = nearest(data["env"], environments())
        raise CardError(f"{where}: env: no such file: {names}; {hint}")


def read_method(card: Path, where: str) -> MethodCard:
    """Read and check one method's card."""
    data = read_yaml(card)
    check_against("method", data, where)
    if card.parent.name in RESERVED:
        raise CardError(
            f"{where}: '{card.parent.name}' is a folder of every split; rename the method"
        )
    tasks = all_tasks()
    for task in data["tasks"]:
        if task not in tasks:
            raise CardError(f"{where}: tasks: no task named '{task}'; {nearest(task, tasks)}")
    for name in data["smoke"]:
        if name not in data["params"]:
            raise CardError(
                f"{where}: smoke: unknown parameter '{name}'; {nearest(name, data['params'])}"
            )
    for name in data.get("without_labels", {}):
        if name not in data["params"]:
            raise CardError(
                f"{where}: without_labels: unknown parameter '{name}'; {nearest(name, data['params'])}"
            )
    if "without_labels" in data and not data["uses_labels"]:
        raise CardError(f"{where}: without_labels: only of a method with `uses_labels: true`")
    _check_env(data, where)
    return MethodCard(
        id=card.parent.name,
        folder=card.parent,
        **{
            **data,
            "tasks": tuple(data["tasks"]),
            "resources": Resources(**data["resources"]),
        },
    )


def read_dataset(card: Path, where: str) -> DatasetCard:
    """Read and check one dataset's card."""
    data = read_yaml(card)
    check_against("dataset", data, where)
    if ("second_modality" in data["has"]) != (len(data["modalities"]) > 1):
        raise CardError(f"{where}: `has: second_modality` wants two `modalities`, and the reverse")
    if data["modalities"][0] not in data["has"]:
        raise CardError(f"{where}: `has` lacks the first of `modalities`, {data['modalities'][0]}")
    files = {name: _remote_file(name, given or {}) for name, given in data.get("files", {}).items()}
    for name, file in files.items():
        if not file.urls and "landing" not in data:
            raise CardError(f"{where}: files.{name}: wanted `urls`, or a `landing` page for people")
    for key in data.get("columns", {}):
        if key in OBS and key not in data["has"]:
            raise CardError(f"{where}: columns.{key}: `has` does not name `{key}`")
    return DatasetCard(
        id=card.parent.name,
        folder=card.parent,
        **{
            **data,
            "has": (*data["has"], INTEGER_COUNTS),
            "modalities": tuple(data["modalities"]),
            "files": files,
        },
    )


def _remote_file(name: str, given: Mapping[str, Any]) -> RemoteFile:
    words: tuple[Standing, ...] = ("pinned", "claimed")
    standing: Standing = next((word for word in words if word in given), "unknown")
    return RemoteFile(
        name=name,
        urls=tuple(given.get("urls", ())),
        checksum=given.get(standing),
        standing=standing,
        size=given.get("size"),
    )


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def read_metric(card: Path, where: str) -> MetricFamily:
    """Read and check one metric family's card."""
    data = read_yaml(card)
    check_against("metric", data, where)
    tasks = _names(data.pop("task"))
    for task in tasks:
        if task not in all_tasks():
            raise CardError(f"{where}: task: no task named '{task}'; {nearest(task, all_tasks())}")
    numbers = {
        name: MetricCard(
            id=name,
            **{
                **number,
                "bounds": tuple(number["bounds"]),
                "top": _names(number["top"]),
                "bottom": _names(number["bottom"]),
            },
        )
        for name, number in data["metrics"].items()
    }
    return MetricFamily(
        id=card.parent.name, folder=card.parent, tasks=tasks, **{**data, "metrics": numbers}
    )


def read_house(component_paths: Sequence[Path] = ()) -> House:
    """Read every card below the repository and the given folders."""
    house = find_house(component_paths)
    for room in (house.methods, house.datasets, house.metrics):
        room.cards  # noqa: B018 - reads them
    return house


def find_house(component_paths: Sequence[Path] = ()) -> House:
    """Find every card below the repository and the given folders, and read those that are asked for."""
    base = root()
    places = [base, *component_paths]
    for place in component_paths:
        if not place.is_dir():
            raise CardError(f"component_paths: {place}: no such folder")

    def room(kind: Kind, read: Callable[[Path, str], C]) -> Room[C]:
        cached = functools.cache(lambda file: read(file, _short(file, base)))
        return Room(kind, _card_files(kind, places), cached)

    return House(
        room("method", read_method), room("dataset", read_dataset), room("metric", read_metric)
    )


def component_files(folder: Path) -> list[Path]:
    """A component's own files: editing one reruns its jobs, and nothing else does."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and not file.name.startswith(".")
    )


def core_files(folder: Path) -> list[Path]:
    """The modules of this package that a component's code imports, and those that they import."""
    package = Path(__file__).parent
    found: set[Path] = set()
    left = [file for file in component_files(folder) if file.suffix == ".py"]
    while left:
        names: set[str] = set()
        for node in ast.walk(ast.parse(left.pop().read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        for name in names:
            parts = name.split(".")
            if parts[0] != package.name or len(parts) == 1:
                continue
            place = package.joinpath(*parts[1:])
            for file in (place.with_suffix(".py"), place / "__init__.py"):
                if file.is_file() and file not in found:
                    found.add(file)
                    left.append(file)
    return sorted(found)


def functions_of(file: Path) -> dict[str, ast.FunctionDef]:
    """The plain functions of a component's file, read without importing it.

    A second name for one, ``rna_prediction = modality_prediction``, is a function as well.
    """
    try:
        tree = ast.parse(file.read_text(), filename=str(file))
    except FileNotFoundError:
        raise CardError(f"{file}: no such file; a component is a card and a {file.name}") from None
    except SyntaxError as error:
        raise CardError(f"{file}:{error.lineno}: not valid Python: {error.msg}") from None
    found: dict[str, ast.FunctionDef] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
            names = [name.id for name in node.targets if isinstance(name, ast.Name)]
            found |= {name: found[node.value.id] for name in names if node.value.id in found}
    return found


def check_method_code(card: MethodCard) -> None:
    """Raise `CardError` where a method's functions and its card do not agree."""
    if card.command is not None:
        return
    file = card.folder / "method.py"
    functions = functions_of(file)
    for task in card.tasks:
        if task not in functions:
            raise CardError(
                f"{file}: the card names the task '{task}', but there is no function `{task}`"
            )
        arguments = functions[task].args
        wanted = len(all_tasks()[task].parts)
        got = len(arguments.posonlyargs) + len(arguments.args)
        if got != wanted and arguments.vararg is None:
            raise CardError(
                f"{file}: {task}() takes {got} positional arguments, the task gives {wanted}: "
                f"{', '.join(all_tasks()[task].parts)} (the others go behind a `*`)"
            )
        if arguments.kwarg is not None:
            continue
        keywords = {argument.arg for argument in arguments.kwonlyargs}
        given = {"seed", *card.params}
        given |= (
            {"labels"} if card.uses_labels and "labels" in all_tasks()[task].restricted else set()
        )
        given |= {"solution"} if card.role == "ceiling" else set()
        for name in sorted(given - keywords):
            raise CardError(f"{file}: {task}() lacks the keyword `{name}`, which the card gives it")
        required = {
            argument.arg
            for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
            if default is None
        }
        if card.without_labels and "labels" in required:
            raise CardError(
                f"{file}: {task}() wants `labels`, but by `without_labels` of the card it gets none at "
                f"{dict(card.without_labels)}; give it a default: `labels=None`"
            )
        for name in sorted(required - given):
            raise CardError(
                f"{file}: {task}() wants the keyword `{name}`, which the card does not give; "
                "add it to `params`"
            )


def check_dataset_code(card: DatasetCard) -> None:
    """Raise `CardError` where a dataset's `load` and its card do not agree."""
    file = card.folder / "dataset.py"
    if not file.is_file():
        if len(card.files) != 1:
            raise CardError(
                f"{file}: no such file; a dataset without code of its own has one file, "
                f"the card names {len(card.files)}"
            )
        return
    functions = functions_of(file)
    if "load" not in functions:
        raise CardError(f"{file}: no function `load`")
    arguments = functions["load"].args
    keywords = {argument.arg for argument in arguments.kwonlyargs}
    for name in card.params:
        if name not in keywords and name not in FILTERS:
            raise CardError(f"{file}: load() lacks the keyword `{name}`, which the card gives it")
    for name in sorted(keywords - set(card.params)):
        raise CardError(
            f"{file}: load() wants the keyword `{name}`, which the card does not give; "
            "add it to `params`"
        )
