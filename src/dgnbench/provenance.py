"""Provenance: what a benchmark was made from, whether that still lies there, and a run repeated.

``manifest.json`` names every file by its checksum. Paths are relative to the benchmark's folder, and
those of inputs to the folder that holds ``results/``, so that both may be moved.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dgnbench import __version__
from dgnbench.cards import Resources, component_files, env_files, find_house, read_method, root
from dgnbench.contract import DgnbenchError
from dgnbench.plan import Plan, as_json, base_of, variant_of
from dgnbench.runner import fit
from dgnbench.runner.supervise import git_commit
from dgnbench.storage import sha256, sha256_of_digests, sha256_of_folder
from dgnbench.surroundings import checkout, code_sha256, installed, machine
from dgnbench.tasks import all_tasks

MANIFEST = "manifest.json"
FIGURES = "figures"  # beside it, the pictures that it shows
REPORT = "report.html"  # made from the manifest, so it cannot stand there: it seals itself
TABLES = ("config.json", "runs.csv", "scores.csv")
GROUP_FILES = ("split.json", "scores.csv")
SNAKEMAKE_MARK = ".snakemake_timestamp"  # lies in folders that are outputs of a rule
SEAL = re.compile(
    rb"<!-- dgnbench: manifest ([0-9a-f]{64}), figures ([0-9a-f]{64}), page ([0-9a-f]{64}) -->\n\Z"
)
PACKAGES = (
    "anndata", "harmonypy", "jax", "keras", "numpy", "pandas", "scanpy", "scib-metrics",
    "scikit-learn", "scipy", "scvi-tools", "snakemake", "tensorflow-cpu", "torch", "umap-learn",
)  # fmt: skip
ROWS_AT_ONCE = 1000

Group = tuple[str, str, int]  # task, dataset, replicate


def folder_of(results: Path, group: Group) -> Path:
    """Where the runs of a (task, dataset, replicate) lie."""
    task, dataset, replicate = group
    return results / task / dataset / f"r{replicate}"


def manifest(
    plan: Plan,
    results: Path,
    prepared: Path,
    records: Sequence[Mapping[str, Any]],
    unfinished: Mapping[Group, str],
) -> dict[str, Any]:
    """What a benchmark was made with and what came of it.

    Parameters
    ----------
    plan
        The benchmark.
    results
        ``results/<benchmark>``, with its tables.
    prepared
        ``data/prepared``; ``data/raw`` lies beside it.
    records
        The ``run.json`` of every run that has one, with `dataset` and `replicate`.
    unfinished
        Groups without scores, with the reason.
    """
    house = plan.house
    datasets = {name: plan.dataset(name) for name in plan.datasets}
    inputs = _inputs(plan, results, prepared)
    here = checkout(root())
    return {
        "benchmark": plan.benchmark,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "dgnbench": __version__,
        "git_commit": git_commit(root()),
        "checkout": here,
        "python": platform.python_version(),
        "versions": {name: v for name in PACKAGES if (v := _version(name))},
        "installed": installed(),
        "run_versions": _run_versions(plan, records),
        "machine": machine(),
        "machines": _machines(records),
        "config": json.loads(as_json(plan)),
        "seeds": [plan.seed + r for r in range(plan.replicates)],
        "checksums": {
            name: inputs[plan.prepared_of(name)]["sha256"]
            for name in datasets
            if plan.prepared_of(name) in inputs
        },
        "inputs": inputs,
        "code": _code(plan),
        "files": _files(plan, results, records),
        "unfinished": {"/".join((t, d, f"r{r}")): why for (t, d, r), why in unfinished.items()},
        "cards": {
            "tasks": {
                task: {
                    "label": all_tasks()[task].label,
                    "summary": all_tasks()[task].summary,
                    "primary": all_tasks()[task].primary,
                }
                for task in plan.tasks
            },
            "methods": {
                name: {
                    **_public(plan.method(name)),
                    "label": plan.method(name).label
                    + "".join(f" ({k}={v})" for k, v in variant_of(name).items()),
                }
                for name in plan.methods
            },
            "datasets": {
                name: {**_public(card), "params": {**card.params, **variant_of(name)}}
                for name, card in datasets.items()
            },
            "metrics": {
                family: _public(house.metrics[family])
                for family in house.metrics
                if set(house.metrics[family].tasks) & set(plan.tasks)
            },
        },
    }


def _public(card: Any) -> dict[str, Any]:
    """A card without its places on this machine."""
    hidden = ("folder", "path")
    return {key: value for key, value in asdict(card).items() if key not in hidden}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _run_versions(plan: Plan, records: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """The packages that runs imported, by environment: runs of one may still differ."""
    found: dict[str, dict[str, set[str]]] = {}
    for record in records:
        packages = found.setdefault(plan.method(record["method"]).env, {})
        for name, number in record.get("versions", {}).items():
            packages.setdefault(name, set()).add(number)
    return {
        env: {name: ", ".join(sorted(numbers)) for name, numbers in sorted(packages.items())}
        for env, packages in found.items()
    }


def _machines(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The machines that runs were made on, each with how many."""
    counts: dict[str, int] = {}
    for record in records:
        if "machine" in record:
            key = json.dumps(record["machine"], sort_keys=True)
            counts[key] = counts.get(key, 0) + 1
    return [{**json.loads(key), "runs": count} for key, count in counts.items()]


def _inputs(plan: Plan, results: Path, prepared: Path) -> dict[str, dict[str, Any]]:
    """Fetched, prepared and own files, each by its checksum, hashed only where nobody has yet."""
    split_from: dict[str, set[str | None]] = {}
    for group in plan.groups:
        split = _read(folder_of(results, group) / "split.json")
        if split is not None:
            split_from.setdefault(group[1], set()).add(split.get("prepared_sha256"))
    found: dict[str, dict[str, Any]] = {}
    for dataset in plan.datasets:
        card = plan.dataset(dataset)
        for source in plan.fetched_of(dataset):
            fetched = _read(prepared.parent / "raw" / card.id / "source.json") or {}
            for name, told in fetched.items():
                what = {key: told[key] for key in ("sha256", "url", "standing", "time")}
                found[str(Path(source).with_name(name))] = what
        if card.path is not None:
            for own in plan.code_of(dataset):
                if Path(own).is_file():
                    found[own] = {"sha256": sha256(Path(own))}
        file = prepared / Path(plan.prepared_of(dataset)).name
        if file.is_file():
            known = split_from.get(dataset, {None})
            digest = known.pop() if len(known) == 1 else None
            found[plan.prepared_of(dataset)] = {"sha256": digest or sha256(file)}
    return found


def _code(plan: Plan) -> dict[str, str]:
    """The code that took part: the core, and the components wherever they lie."""
    core = Path(__file__).parent
    folders = {
        "src/dgnbench": core,
        **{f"methods/{base_of(m)}": plan.method(m).folder for m in plan.methods},
        **{
            f"datasets/{card.id}": card.folder
            for card in map(plan.dataset, plan.datasets)
            if card.path is None
        },
        **{
            f"metrics/{family.id}": family.folder
            for task in plan.tasks
            for family in plan.house.metrics_of(task).values()
        },
    }
    locks = {file for m in plan.methods for file in env_files(plan.method(m).env) if file.is_file()}
    return {
        f"{name}/{file.relative_to(folder)}": sha256(file)
        for name, folder in folders.items()
        for file in component_files(folder)
    } | {f"config/envs/{file.name}": sha256(file) for file in sorted(locks)}


def _files(plan: Plan, results: Path, records: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Every file that the plan's jobs left, with the checksum that its maker wrote down, if any."""
    known: dict[Path, str] = {}
    found = [results / name for name in TABLES]
    for group in plan.groups:
        folder = folder_of(results, group)
        found += [folder / name for name in GROUP_FILES]
        for name in ("problem", "solution", *(run.method for run in plan.runs_of(*group))):
            found += _files_below(folder / name)
        split = _read(folder / "split.json") or {}
        known.update({folder / name: digest for name, digest in split.get("files", {}).items()})
    for record in records:
        if record.get("output_sha256"):
            folder = folder_of(results, (record["task"], record["dataset"], record["replicate"]))
            known[folder / record["method"] / "output.h5ad"] = record["output_sha256"]
    return {
        str(file.relative_to(results)): known.get(file) or sha256(file)
        for file in sorted({*known, *(file for file in found if file.is_file())})
    }


def _files_below(folder: Path) -> list[Path]:
    return [f for f in folder.rglob("*") if f.is_file() and f.name != SNAKEMAKE_MARK]


def _read(file: Path) -> dict[str, Any] | None:
    return dict(json.loads(file.read_text())) if file.is_file() else None


def seal(page: Path, manifest: Path) -> None:
    """End a report with the checksums of the manifest that it was made from, its figures and itself."""
    digest, figures = sha256(page), sha256_of_folder(manifest.parent / FIGURES)
    with page.open("a") as handle:
        handle.write(
            f"<!-- dgnbench: manifest {sha256(manifest)}, figures {figures}, page {digest} -->\n"
        )


# ---------------------------------------------------------------------------------------- verify


@dataclass
class Verdict:
    """What `verify` found: faults, each a line with the file, and notes on what it could not see."""

    files: int = 0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def verify(results: Path) -> Verdict:
    """Compare every file of a benchmark with its manifest.

    Parameters
    ----------
    results
        ``results/<benchmark>``, wherever it was moved. Inputs are looked for in the folder that
        holds ``results/``, and only noted where none of them is there.

    Raises
    ------
    DgnbenchError
        Where there is no manifest, or one that cannot be read.
    """
    told = _manifest_of(results)
    files: dict[str, str] = told["files"]
    verdict = Verdict(len(files))
    for name, wanted in files.items():
        verdict.faults += _compared(results / name, name, wanted)
    for file in _files_below(results):
        name = str(file.relative_to(results))
        if name not in files and name not in (MANIFEST, REPORT) and file.parent.name != FIGURES:
            verdict.faults.append(f"extra    {name}: no run, score or table of this benchmark")
    verdict.faults += _report_faults(results)
    verdict.faults += _not_from_here(results, files, told["inputs"])
    base = Path(os.path.abspath(results)).parent.parent  # also where results/ is a link
    there = [name for name in told["inputs"] if (base / name).is_file()]
    if there:
        for name, what in told["inputs"].items():
            verdict.faults += _compared(base / name, name, what["sha256"])
        verdict.files += len(told["inputs"])
    elif told["inputs"]:
        verdict.notes.append(f"not here, not checked: the {len(told['inputs'])} files of data")
    for place, why in told["unfinished"].items():
        verdict.notes.append(f"never finished: {place}: {why}")
    return verdict


def _manifest_of(results: Path) -> dict[str, Any]:
    file = results / MANIFEST
    if not file.is_file():
        raise DgnbenchError(
            f"{results}: no manifest.json here: wanted the folder of a benchmark, results/<benchmark>, "
            "that a start has brought to its report"
        )
    try:
        told = json.loads(file.read_text())
        if not {"files", "inputs", "unfinished"} <= set(told):
            raise ValueError("it names no files")
    except (ValueError, TypeError) as error:
        raise DgnbenchError(
            f"{file}: not a manifest that can be checked: {error}; `dgnbench collect "
            f"{results / 'config.json'}` writes it anew from what lies there now"
        ) from None
    return dict(told)


def _compared(file: Path, name: str, wanted: str) -> list[str]:
    if not file.is_file():
        return [f"missing  {name}: wanted sha256 {wanted[:12]}…"]
    got = sha256(file)
    if got != wanted:
        return [f"changed  {name}: wanted sha256 {wanted[:12]}…, got {got[:12]}…"]
    return []


def _report_faults(results: Path) -> list[str]:
    page = results / REPORT
    if not page.is_file():
        return [f"missing  {REPORT}: `dgnbench report --output {page}` makes it again"]
    content = page.read_bytes()
    sealed = SEAL.search(content, max(0, len(content) - 400))
    if (
        sealed is None
        or hashlib.sha256(content[: sealed.start()]).hexdigest() != sealed[3].decode()
    ):
        return [f"changed  {REPORT}: its last line does not seal what stands above it"]
    if sha256(results / MANIFEST) != sealed[1].decode():
        return [f"changed  {MANIFEST}: {REPORT} was made from another one"]
    if sha256_of_folder(results / FIGURES) != sealed[2].decode():
        return [f"changed  {FIGURES}/: not what {REPORT} was made with"]
    return []


def _not_from_here(
    results: Path, files: Mapping[str, str], inputs: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """Runs and splits whose record says that they were made from something else."""
    problems: dict[str, dict[str, str]] = {}
    for name, digest in files.items():
        place, _, part = name.rpartition("/problem/")
        if place and part.endswith(".h5ad"):
            problems.setdefault(place, {})[part] = digest
    prepared = {Path(name).stem: what["sha256"] for name, what in inputs.items()
                if name.startswith("data/prepared/")}  # fmt: skip
    for name in files:
        try:
            record = _read(results / name) if name.endswith(("/run.json", "/split.json")) else None
        except ValueError:
            continue  # it is named as changed
        if record is None:
            continue
        if name.endswith("/run.json"):
            seen = record.get("problem_sha256")
            here = sha256_of_digests(problems.get(str(Path(name).parents[1]), {}))
            if seen and seen != here:
                yield f"changed  {name}: its run saw another problem than the one that lies here"
        else:
            dataset = Path(name).parts[1]
            seen = record.get("prepared_sha256")
            if seen and seen != prepared.get(dataset, seen):
                yield f"changed  {name}: it was split from another data/prepared/{dataset}"


# ----------------------------------------------------------------------------------------- rerun


@dataclass(frozen=True)
class Rerun:
    """A run made again: whether its result is the same, in words how far not, and what else differs."""

    identical: bool
    result: str
    differences: list[str]


def rerun(
    folder: Path, target: Path, component_paths: Sequence[Path] = (), *, log: Path | None = None
) -> Rerun:
    """Repeat a run from its ``run.json`` and compare the outputs.

    Parameters
    ----------
    folder
        ``results/<benchmark>/<task>/<dataset>/r<replicate>/<method>``, with the problem beside it.
    target
        Where the new output and ``run.json`` go.
    component_paths
        Where else to look for the method, if it no longer lies where it was.
    log
        Where the method's own words go.

    Raises
    ------
    DgnbenchError
        Where the record lacks what a repetition needs, or the problem is not the one that it saw.
    """
    file = folder / "run.json"
    if not file.is_file():
        raise DgnbenchError(
            f"{folder}: no run.json here: wanted the folder of one run, "
            "results/<benchmark>/<task>/<dataset>/r<replicate>/<method>"
        )
    before = json.loads(file.read_text())
    needed = ("task", "method", "seed", "params", "resources", "component", "problem_sha256")
    lacking = [key for key in needed if key not in before]
    if lacking:
        raise DgnbenchError(
            f"{file}: the record lacks {', '.join(lacking)}, without which nobody can repeat it; "
            "it was written by an older dgnbench, or its run was never reached"
        )
    problem, solution = folder.parent / "problem", folder.parent / "solution"
    seen = sha256_of_folder(problem, "*.h5ad")
    if seen != before["problem_sha256"]:
        raise DgnbenchError(
            f"{problem}: not the problem that the run saw: wanted sha256 "
            f"{before['problem_sha256'][:12]}…, got {seen[:12]}…; `dgnbench verify` says what changed"
        )
    component = root() / before["component"]
    if (component / "method.yaml").is_file():
        card = read_method(component / "method.yaml", before["component"])
    else:
        card = find_house(component_paths).methods[base_of(before["method"])]
    after = fit(
        card, before["method"], before["task"], problem, solution, target,
        seed=before["seed"], params=before["params"],
        resources=Resources(**before["resources"]), log=log,
    )  # fmt: skip
    identical, result = _same_result(before, after, folder, target)
    return Rerun(identical, result, _differences(before, after, code_sha256(card.folder)))


def _same_result(
    before: Mapping[str, Any], after: Mapping[str, Any], folder: Path, target: Path
) -> tuple[bool, str]:
    if after["status"] != before["status"]:
        return (
            False,
            f"{before['status']} became {after['status']}: {after['reason'] or 'no reason'}",
        )
    if before["status"] != "ok":
        same = after["reason"] == before["reason"]
        said = f"again {after['status']}: {after['reason']}"
        return same, said if same else f"{said}; before: {before['reason']}"
    if after["output_sha256"] == before["output_sha256"]:
        return True, f"identical, sha256 {after['output_sha256']}"
    old = folder / "output.h5ad"
    if not old.is_file() or sha256(old) != before["output_sha256"]:
        return False, f"another checksum, and {old} is no longer there as it was, to say how far"
    return compared(old, target / "output.h5ad")


def compared(before: Path, after: Path) -> tuple[bool, str]:
    """Whether two outputs hold the same values, and if not, by how much they differ.

    The relative difference is the largest difference over the largest value before; the correlation
    is Pearson's over all entries.
    """
    import numpy as np
    from anndata import read_h5ad

    one, two = read_h5ad(before), read_h5ad(after)
    if one.shape != two.shape:
        return False, f"shape {one.shape} became {two.shape}"
    for axis in ("obs", "var"):
        if not getattr(one, f"{axis}_names").equals(getattr(two, f"{axis}_names")):
            return False, f"the names of {axis} are others"
    largest, top = 0.0, 0.0
    moments = np.zeros(5)  # sums of x, y, xx, yy, xy about the first entries: no digits are lost
    origin: Any = None
    for x, y in _row_blocks(one.X, two.X):
        largest, top = max(largest, np.abs(x - y).max()), max(top, np.abs(x).max())
        origin = (x.flat[0], y.flat[0]) if origin is None else origin
        x, y = x - origin[0], y - origin[1]
        moments += [x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum()]
    if largest == 0:
        return True, "identical values in another file"
    sx, sy, xx, yy, xy = moments
    n = one.n_obs * one.n_vars
    spread = math.sqrt(max(0.0, (n * xx - sx * sx) * (n * yy - sy * sy)))
    correlation = f"{(n * xy - sx * sy) / spread:.6f}" if spread > 0 else "undefined"
    relative = f"{largest / top:.3g}" if top > 0 else "undefined"
    return False, (
        f"not identical: largest difference {largest:.3g}, relative {relative}, "
        f"correlation {correlation}"
    )


def _row_blocks(one: Any, two: Any) -> Iterator[tuple[Any, Any]]:
    """Both matrices, dense, some rows at a time."""
    import numpy as np

    def dense(matrix: Any, rows: slice) -> Any:
        block = matrix[rows]
        return np.asarray(block.toarray() if hasattr(block, "toarray") else block, dtype=float)

    for start in range(0, one.shape[0], ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        yield dense(one, rows), dense(two, rows)


def _differences(before: Mapping[str, Any], after: Mapping[str, Any], code: str) -> list[str]:
    """What was not as it was: code, commit, packages, machine."""
    words = ("git_commit", "device")
    return [
        *(["the files of the method"] if before.get("component_sha256", code) != code else []),
        *_changes({w: before.get(w) for w in words}, {w: after.get(w) for w in words}),
        *_changes(before.get("versions", {}), after.get("versions", {})),
        *_changes(before.get("machine", {}), after.get("machine", {})),
    ]


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [
        f"{key} {before.get(key, 'none')} → {after.get(key, 'none')}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]
