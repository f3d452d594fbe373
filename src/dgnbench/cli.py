"""The command line: one verb a stage of the workflow, and verbs for people.

Every job of the workflow is one of these commands and can be pasted into a terminal. Only the verb
that runs imports what it needs.
"""

from __future__ import annotations

import argparse
import errno
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dgnbench import __version__
from dgnbench.contract import STATUSES, DgnbenchError
from dgnbench.tasks import all_tasks

if TYPE_CHECKING:
    from dgnbench.cards import House
    from dgnbench.plan import Plan

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)  # no fault of the program


def _house(arguments: argparse.Namespace) -> House:
    from dgnbench.cards import find_house

    return find_house([Path(path) for path in arguments.component_path])


def _say(stage: str, what: str, result: str) -> None:
    """The one line of a finished job."""
    print(f"{stage:<8} {what:<68} {result}", flush=True)


def fetch(arguments: argparse.Namespace) -> None:
    """Bring the files of a dataset into the cache, verified, and link them into data/raw."""
    from dgnbench.fetching import Settings
    from dgnbench.fetching import fetch as bring
    from dgnbench.plan import base_of

    card = _house(arguments).datasets[base_of(arguments.dataset)]
    if not card.files:
        raise DgnbenchError(f"dataset {card.id} has no files to fetch: it is made here")
    settings = Settings.of(json.loads(arguments.settings))
    output = arguments.output or Path("data/raw") / card.id
    done = bring(card, settings, output, accept=tuple(arguments.accept))
    said = f"{len(done)} files, {sum(file.size for file in done) / 1e6:.1f} MB"
    _say("fetch", card.id, f"{said}, {', '.join(sorted({f.standing for f in done}))}")


def prepare(arguments: argparse.Namespace) -> None:
    """Load a dataset, check it, write its standard form."""
    from dgnbench import data
    from dgnbench.plan import dataset_card, variant_of

    own = json.loads(arguments.own) if arguments.own else None
    card = dataset_card(
        _house(arguments), {"datasets": {arguments.dataset: own}}, arguments.dataset
    )
    notes: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: notes.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("dgnbench.data").addHandler(handler)
    params = {**card.params, **variant_of(arguments.dataset)}
    loaded = data.load(card, params, arguments.raw or Path("data/raw") / card.id)
    data.write(loaded, arguments.output)
    numbers = ", ".join(f"{n} {key[2:]}" for key, n in data.describe(loaded).items())
    _say("prepare", arguments.dataset, numbers.replace("_", " "))
    for note in notes:
        print(f"         note: {note}", flush=True)


def split(arguments: argparse.Namespace) -> None:
    """Split a prepared dataset into what methods see and what metrics see."""
    import shutil

    from dgnbench import data
    from dgnbench.storage import sha256, sha256_of_digests, write_json, write_parts

    task = all_tasks()[arguments.task]
    loaded = data.read(arguments.prepared)
    if hasattr(loaded, "mod") and "second_modality" not in task.needs:
        loaded = loaded["rna"].copy()
    problem, solution = task.split(loaded, seed=arguments.seed)
    folders = {name: arguments.output / name for name in ("problem", "solution")}
    for name, parts in (("problem", problem), ("solution", solution)):
        shutil.rmtree(folders[name], ignore_errors=True)
        write_parts(folders[name], parts)
    digests = {
        name: {file.name: sha256(file) for file in folder.glob("*.h5ad")}
        for name, folder in folders.items()
    }
    write_json(
        arguments.output / "split.json",
        {
            "task": task.id,
            "seed": arguments.seed,
            "prepared_sha256": sha256(arguments.prepared),
            "sha256": {name: sha256_of_digests(files) for name, files in digests.items()},
            "files": {
                f"{name}/{f}": d for name, files in digests.items() for f, d in files.items()
            },
            "shapes": {f"{k}": list(p.shape) for k, p in problem.items()},
        },
    )
    shapes = ", ".join(f"{name} {p.n_obs} x {p.n_vars}" for name, p in problem.items())
    _say("split", f"{task.id} {arguments.prepared.stem} seed {arguments.seed}", shapes)


def build_env(arguments: argparse.Namespace) -> None:
    """Build environments beside core from their locks in config/envs, where there is a network."""
    from dgnbench.environments import build, build_and_record, place_of

    for name in arguments.env:
        failure = ""
        if arguments.record is None:
            build(name, offline=arguments.offline)
        else:
            failure = build_and_record(name, arguments.record, offline=arguments.offline)
            if failure:
                print(failure, file=sys.stderr)
        _say("env", name, "failed" if failure else str(place_of(name)))
    if not arguments.env:
        _say("env", "core", "no other environment is needed")


def fit(arguments: argparse.Namespace) -> None:
    """Run one method on one problem, in its own process."""
    from dataclasses import replace

    from dgnbench.plan import base_of, variant_of
    from dgnbench.runner import TryAgain
    from dgnbench.runner import fit as supervise

    card = _house(arguments).methods[base_of(arguments.method)]
    overrides = {
        key: value
        for key in ("mem_mb", "runtime", "threads", "gpu", "train_minutes")
        if (value := getattr(arguments, key)) is not None
    }
    params = json.loads(arguments.params) if arguments.params else {}
    what = "/".join(arguments.output.parts[-4:])
    try:
        record = supervise(
            card,
            arguments.method,
            arguments.task,
            arguments.group / "problem",
            arguments.group / "solution",
            arguments.output,
            seed=arguments.seed,
            params={**card.params, **variant_of(arguments.method), **params},
            resources=replace(card.resources, **overrides),
            log=arguments.log,
            attempt=arguments.attempt,
            retries=json.loads(arguments.retries),
            require_gpu=arguments.require_gpu,
            conda=arguments.conda,
        )
    except TryAgain as why:
        _say("fit", what, str(why))
        sys.exit(1)  # Snakemake's sign for another try, with more memory
    status = record["status"]
    said = f"{status} {record['seconds_total']:.1f} s"
    if record["wanted_gpu"] and record["device"] == "cpu":
        said += " on the CPU, no GPU was used"
    if record["attempts"] > 1:
        said += f" at try {record['attempts']}"
    _say("fit", what, said if status == "ok" else f"{said}: {record['reason'][:150]}")


def score(arguments: argparse.Namespace) -> None:
    """Score all runs of one (task, dataset, replicate)."""
    from dgnbench.plan import make_plan
    from dgnbench.scoring import write_rows

    plan = make_plan(json.loads(arguments.config.read_text()), str(arguments.config))
    dataset, replicate = arguments.group.parts[-2], int(arguments.group.name[1:])
    methods = [run.method for run in plan.runs_of(arguments.task, dataset, replicate)]
    rows = _score_group(plan, arguments.task, dataset, replicate, arguments.group, methods)
    write_rows(arguments.group / "scores.csv", rows)
    missing = sum(row["status"] not in ("ok", "not_applicable") for row in rows)
    said = f"{len(rows)} scores" + (f", {missing} missing" if missing else "")
    _say("score", "/".join(arguments.group.parts[-3:]), said)


def _score_group(
    plan: Plan, task: str, dataset: str, replicate: int, group: Path, methods: Sequence[str]
) -> list[dict[str, Any]]:
    from dgnbench.scoring import score as score_group

    families = list(plan.house.metrics_of(task).values())
    primary = all_tasks()[task].primary
    return score_group(task, dataset, replicate, primary, families, group, methods, plan.engine)


def collect(arguments: argparse.Namespace) -> None:
    """Gather all runs and scores of a benchmark into its tables."""
    from dgnbench.collecting import collect as gather
    from dgnbench.plan import make_plan

    plan = make_plan(json.loads(arguments.config.read_text()), str(arguments.config))
    gather(plan, arguments.prepared, arguments.config.parent)
    _say("collect", str(arguments.config.parent), f"{len(plan.runs)} runs")


def conclude(arguments: argparse.Namespace) -> None:
    """After a failed stage: tables and report of what there is, each missing run with its reason."""
    from dgnbench.collecting import collect as gather
    from dgnbench.collecting import unfinished
    from dgnbench.plan import make_plan
    from dgnbench.provenance import folder_of

    config = arguments.results / "config.json"
    if not config.is_file():
        raise DgnbenchError("a stage failed before there was anything to report, see above")
    plan = make_plan(json.loads(config.read_text()), str(config))
    missing = unfinished(plan, arguments.results, arguments.prepared, arguments.logs)
    if not missing:
        return  # tables and report are complete
    for task, dataset, replicate in missing:
        group = folder_of(arguments.results, (task, dataset, replicate))
        runs = plan.runs_of(task, dataset, replicate)
        there = [run.method for run in runs if (group / run.method / "run.json").is_file()]
        if there and (group / "split.json").is_file():  # not the group's own table: it lacks some
            _score_group(plan, task, dataset, replicate, group, there)
    gather(plan, arguments.prepared, arguments.results, why_unfinished=missing)
    arguments.output = arguments.results / "report.html"
    report(arguments)
    summary(arguments)


def report(arguments: argparse.Namespace) -> None:
    """Render the HTML report of a benchmark."""
    from dgnbench.cards import root
    from dgnbench.provenance import MANIFEST, seal
    from dgnbench.report import render
    from dgnbench.scoring import without_tensorflow
    from dgnbench.storage import whole

    with without_tensorflow(), whole(arguments.output) as partial:
        render(arguments.output.parent, partial, root() / "reports")
        seal(partial, arguments.output.parent / MANIFEST)
    _say("report", str(arguments.output), f"{arguments.output.stat().st_size / 1e6:.1f} MB")


def summary(arguments: argparse.Namespace) -> None:
    """Say where the report is and how many runs are ok, declined and failed; exit 1 if any failed."""
    import csv

    with (arguments.results / "runs.csv").open(newline="") as handle:
        runs = list(csv.DictReader(handle))
    ok = sum(run["status"] == "ok" for run in runs)
    declined = sum(run["status"] == "declined" for run in runs)
    failed = [run for run in runs if run["status"] not in ("ok", "declined")]
    alike: dict[tuple[str, str, str], list[str]] = {}
    for run in failed:
        place = f"{run['task']}/{run['dataset']}/r{run['replicate']}"
        alike.setdefault((run["status"], place, run["reason"]), []).append(run["method"])
    for (status, place, reason), methods in alike.items():
        who = methods[0] if len(methods) == 1 else f"{len(methods)} methods"
        print(f"{status:<15} {place}/{who}: {(reason or 'no reason').splitlines()[0][:200]}")
    print(f"report: {arguments.results / 'report.html'}")
    print(f"runs:   {ok} ok, {declined} declined, {len(failed)} failed", flush=True)
    if failed:
        sys.exit(1)


def retry(arguments: argparse.Namespace) -> None:
    """Have the next start make those runs again that ended with one of these statuses."""
    from dgnbench.runner.retry import retry as take_away

    statuses = [status.strip() for status in arguments.status.split(",")]
    found = take_away(arguments.results, statuses)
    said = ", ".join(f"{found[status]} {status}" for status in statuses)
    print(f"the next start makes {found.total()} runs again: {said}", flush=True)


def verify(arguments: argparse.Namespace) -> None:
    """Compare every file of a benchmark with its manifest; exit 1 if one is changed, missing or extra."""
    from dgnbench.provenance import MANIFEST
    from dgnbench.provenance import verify as compare
    from dgnbench.storage import sha256

    verdict = compare(arguments.results)
    for line in [*verdict.faults, *verdict.notes]:
        print(line)
    if verdict.faults:
        print(f"{len(verdict.faults)} faults in {verdict.files} files", flush=True)
        sys.exit(1)
    digest = sha256(arguments.results / MANIFEST)
    print(f"ok: {verdict.files} files are as {MANIFEST} tells (sha256 {digest})", flush=True)


def rerun(arguments: argparse.Namespace) -> None:
    """Repeat one run from its run.json and compare the outputs; exit 1 if they are not identical."""
    import tempfile

    from dgnbench.provenance import rerun as repeat

    paths = [Path(path) for path in arguments.component_path]
    with tempfile.TemporaryDirectory(prefix="dgnbench-rerun-") as scratch:
        target = arguments.output or Path(scratch)
        made = repeat(arguments.run_folder, target, paths, log=target / "log.txt")
    print(f"output:  {made.result}")
    print(f"differs: {'; '.join(made.differences) or 'nothing else'}", flush=True)
    if not made.identical:
        sys.exit(1)


def compare(arguments: argparse.Namespace) -> None:
    """Say whether the second table's scores are better than the first's; `--fail-if-worse` for CI."""
    from dgnbench.compare import as_markdown, compared

    methods = tuple(arguments.methods) if arguments.methods else None
    found = compared(
        arguments.tables,
        methods,
        tolerance=arguments.tolerance,
        every_metric=arguments.every_metric,
    )
    text = as_markdown(found)
    print(text, end="", flush=True)
    if arguments.markdown:
        with arguments.markdown.open("a") as handle:  # a pull request's summary may hold more
            handle.write(text)
    worse = found[found["fails"]]
    if arguments.fail_if_worse and len(worse):
        names = ", ".join(dict.fromkeys(worse["method"]))
        print(f"worse by more than {arguments.tolerance:g}: {names}", file=sys.stderr)
        sys.exit(1)


def list_(arguments: argparse.Namespace) -> None:
    """List the tasks, methods, datasets and metrics found on disk."""
    house = _house(arguments)
    if arguments.what in ("tasks", "all"):
        for task in all_tasks().values():
            print(f"task     {task.id:<22} {task.summary}")
    if arguments.what in ("methods", "all"):
        for method in house.methods.cards.values():
            print(f"{method.role:<8} {method.id:<22} {', '.join(method.tasks)}: {method.summary}")
    if arguments.what in ("datasets", "all"):
        from dgnbench.pages import dataset_lines

        print("\n".join(dataset_lines(house)))
    if arguments.what in ("metrics", "all"):
        for family in house.metrics.cards.values():
            print(f"metrics  {family.id:<22} {', '.join(family.metrics)}")


def new(arguments: argparse.Namespace) -> None:
    """Make the folder of a new method: a card and a function to fill in."""
    from dgnbench.cards import root
    from dgnbench.newcomer import new_method

    folder = new_method(arguments.id, arguments.task, arguments.into or root())
    print(f"{folder}: edit method.py and method.yaml, then `dgnbench try {arguments.id}`")


def try_(arguments: argparse.Namespace) -> None:
    """Run a method on small data, here and now, and print its scores beside the controls."""
    from dgnbench.plan import assignments
    from dgnbench.tryout import try_method

    params = assignments(arguments.param, "--param")
    try_method(
        arguments.method,
        _house(arguments),
        task=arguments.task,
        dataset=arguments.dataset,
        params=params,
        seed=arguments.seed,
        full=arguments.full,
    )


def docs(arguments: argparse.Namespace) -> None:
    """Write docs/components.md from the cards of the repository."""
    from dgnbench.cards import read_house, root
    from dgnbench.pages import components_page

    page = root() / "docs" / "components.md"
    page.write_text(components_page(read_house()))
    print(f"{page}: written")


def check(arguments: argparse.Namespace) -> None:
    """Check configs, or every card and component on disk."""
    from dgnbench.cards import check_dataset_code, check_method_code, env_files, functions_of
    from dgnbench.environments import check_lock
    from dgnbench.plan import read_plan

    for config in arguments.config:
        plan = read_plan(config)
        groups = len(plan.groups)
        print(f"{config}: ok, {len(plan.runs)} runs in {groups} groups of task, dataset, replicate")
    if arguments.config:
        return
    house = _house(arguments)
    for method in house.methods.cards.values():
        check_method_code(method)
        if env_files(method.env)[0].is_file():
            check_lock(method.env)
    for family in house.metrics.cards.values():
        functions = functions_of(family.folder / "metric.py")
        missing = [metric for metric in family.metrics if metric not in functions]
        if missing:
            raise DgnbenchError(f"{family.folder / 'metric.py'}: no function `{missing[0]}`")
    for dataset in house.datasets.cards.values():
        check_dataset_code(dataset)
    rooms = ("methods", "datasets", "metrics")
    print("ok: " + ", ".join(f"{len(getattr(house, room).cards)} {room}" for room in rooms))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dgnbench", description=__doc__.splitlines()[0])
    parser.add_argument("--version", action="version", version=f"dgnbench {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, run: Any, *, paths: bool = True) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=run.__doc__, description=run.__doc__)
        made.set_defaults(run=run, verb=name)
        if paths:
            made.add_argument(
                "--component-path", action="append", default=[], metavar="FOLDER",
                help="also look here for methods/, datasets/, metrics/ (may be repeated)",
            )  # fmt: skip
        return made

    task = {"choices": list(all_tasks()), "metavar": "TASK", "help": ", ".join(all_tasks())}

    made = verb("list", list_)
    made.add_argument(
        "what", nargs="?", default="all", choices=["all", "tasks", "methods", "datasets", "metrics"]
    )
    made = verb("new", new, paths=False)
    made.add_argument("kind", choices=["method"])
    made.add_argument("id", help="lower_snake, the published name")
    made.add_argument("--task", action="append", **task)  # type: ignore[arg-type]
    made.add_argument("--into", type=Path, help="make methods/ID below this folder")
    made = verb("try", try_)
    made.add_argument("method", help="an id, or a variant such as keras_vae@beta=4")
    made.add_argument("--task", **task)  # type: ignore[arg-type]
    made.add_argument("--dataset", help="default: the first small one that suits the task")
    made.add_argument("--param", action="append", default=[], metavar="NAME=VALUE")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument(
        "--full", action="store_true", help="the card's params instead of its smoke's"
    )
    made = verb("check", check)
    made.add_argument("config", nargs="*", type=Path, help="configs; none: every card on disk")
    verb("docs", docs, paths=False)
    made = verb("summary", summary, paths=False)
    made.add_argument("results", type=Path, help="results/<benchmark>")

    made = verb("compare", compare)
    made.add_argument("tables", nargs="+", type=Path, metavar="scores.csv", help="before and after")
    made.add_argument("--methods", nargs=2, metavar=("A", "B"), help="of the first, of the second")
    made.add_argument(
        "--tolerance", type=float, default=0.0, help="differences within it count as none (scaled)"
    )
    made.add_argument("--every-metric", action="store_true", help="not only the primary one")
    made.add_argument("--fail-if-worse", action="store_true", help="exit 1 if any got worse")
    made.add_argument("--markdown", type=Path, help="append the table to this file")
    made = verb("retry", retry, paths=False)
    made.add_argument("results", type=Path, help="results/<benchmark>")
    made.add_argument("--status", required=True, metavar="STATUS,…", help=", ".join(STATUSES))

    made = verb("verify", verify, paths=False)
    made.add_argument("results", type=Path, help="results/<benchmark>, wherever it lies now")
    made = verb("rerun", rerun)
    made.add_argument("run_folder", type=Path, help="the folder of one run, with its run.json")
    made.add_argument("--output", type=Path, help="keep what the repetition makes in this folder")

    made = verb("fetch", fetch)
    made.add_argument("dataset")
    made.add_argument("--output", type=Path, help="default: data/raw/DATASET")
    made.add_argument(
        "--settings", default="{}",
        help="JSON: cache_dir, manual_dir, offline, strict_checksums, rewrite_urls, timeout, wait",
    )  # fmt: skip
    made.add_argument(
        "--accept", action="append", default=[], metavar="FILE",
        help="record the new content of FILE, whatever was recorded or claimed of it",
    )  # fmt: skip
    made = verb("prepare", prepare)
    made.add_argument("dataset")
    made.add_argument("--raw", type=Path, help="folder of the fetched files: data/raw/DATASET")
    made.add_argument("--own", help="JSON of a user's own file: path, batch, cell_type, …")
    made.add_argument("--output", type=Path, required=True)
    made = verb("split", split, paths=False)
    made.add_argument("task", **task)  # type: ignore[arg-type]
    made.add_argument("prepared", type=Path)
    made.add_argument("--seed", type=int, required=True)
    made.add_argument("--output", type=Path, required=True, help="the group's folder")
    made = verb("build-env", build_env, paths=False)
    made.add_argument("env", nargs="*", help="the name of a file config/envs/ENV.txt")
    made.add_argument("--offline", action="store_true", help="say what is missing, build nothing")
    made.add_argument(
        "--record", type=Path, metavar="FILE",
        help="write there what became of it; a failure is written, too, and ends nothing",
    )  # fmt: skip
    made = verb("fit", fit)
    made.add_argument("task", **task)  # type: ignore[arg-type]
    made.add_argument("method")
    made.add_argument("--group", type=Path, required=True, help="folder of problem/ and solution/")
    made.add_argument("--output", type=Path, required=True)
    made.add_argument("--seed", type=int, required=True)
    made.add_argument("--params", help="JSON; what is left out is as in the card")
    made.add_argument("--mem-mb", type=float)
    made.add_argument("--runtime", type=float, help="minutes")
    made.add_argument("--train-minutes", type=float, help="when it should stop training by itself")
    made.add_argument("--threads", type=int)
    made.add_argument("--gpu", type=int)
    made.add_argument(
        "--conda", action="store_true", help="Snakemake has activated the environment's conda file"
    )
    made.add_argument("--log", type=Path)
    made.add_argument("--attempt", type=int, default=1, help="which try this is, from 1")
    made.add_argument(
        "--retries", default="{}", help="JSON: how often a status is tried again (exit code 1)"
    )
    made.add_argument(
        "--require-gpu", action="store_true", help="no_gpu instead of a run on the CPU"
    )
    made = verb("score", score, paths=False)
    made.add_argument("task", **task)  # type: ignore[arg-type]
    made.add_argument("--group", type=Path, required=True)
    made.add_argument("--config", type=Path, required=True, help="results/<benchmark>/config.json")
    made = verb("collect", collect, paths=False)
    made.add_argument("config", type=Path, help="results/<benchmark>/config.json")
    made.add_argument("--prepared", type=Path, default=Path("data/prepared"))
    made = verb("conclude", conclude, paths=False)
    made.add_argument("results", type=Path, help="results/<benchmark>")
    made.add_argument("--prepared", type=Path, default=Path("data/prepared"))
    made.add_argument("--logs", type=Path, default=Path("logs"))
    made = verb("report", report, paths=False)
    made.add_argument("--output", type=Path, required=True, help="results/<benchmark>/report.html")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run one verb; a user's mistake is one clear message and exit code 2."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        arguments.run(arguments)
    except DgnbenchError as error:
        print(f"dgnbench {arguments.verb}: error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        print(
            f"dgnbench {arguments.verb}: error: {what}; make it writable or free some space, and start "
            "again",
            file=sys.stderr,
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
