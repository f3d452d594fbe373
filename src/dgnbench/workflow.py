"""What the Snakefile needs beyond the plan."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from dgnbench.storage import whole

if TYPE_CHECKING:
    from dgnbench.plan import Plan

_held: list[IO[str]] = []


def set_environment(repository: Path) -> None:
    """What jobs inherit: where the components are, whose jobs they are, and this `dgnbench`.

    Jobs call `dgnbench` by name, so that they can be pasted into a terminal; it must be the one of
    the environment that Snakemake runs in, activated or not.
    """
    os.environ.setdefault("DGNBENCH_ROOT", str(repository))
    os.environ["DGNBENCH_WORKFLOW_PID"] = str(os.getpid())
    here = str(Path(sys.executable).parent)
    before = os.environ.get("PATH", "").split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join([here, *(folder for folder in before if folder != here)])


def check_files(plan: Plan, workflow: Any) -> None:
    """Name every file at once that only a person can bring, before hours of work.

    Parameters
    ----------
    plan
        Whose datasets are wanted; one that is fetched or prepared already needs no more.
    workflow
        Snakemake's object: only the process that plans looks.
    """
    from dgnbench.fetching import missing

    if workflow.exec_mode.name != "DEFAULT":
        return
    wanting = {}
    for dataset in plan.datasets:
        card = plan.dataset(dataset)
        fetched = [Path(source) for source in plan.fetched_of(dataset)]
        fetched += [source.with_name(name) for source in fetched for name in card.files]
        if not Path(plan.prepared_of(dataset)).is_file() and not all(f.is_file() for f in fetched):
            wanting[card.id] = card
    lines = [line for card in wanting.values() for line in missing(card, plan.settings)]
    if lines:
        print("dgnbench: files are missing\n" + "\n".join(lines), file=sys.stderr)
        os._exit(2)


def keep_config(config: Mapping[str, Any], file: Path, workflow: Any) -> str:
    """Put the config where a rule can copy it: thousands of variants have no room in a command line.

    Parameters
    ----------
    config
        As Snakemake merged it.
    file
        Where it goes; left alone where it holds the same, or where a job only reads the Snakefile.
    workflow
        Snakemake's object.

    Returns
    -------
    The checksum of the config, for the rule to see a change.
    """
    text = json.dumps(config, indent=1) + "\n"
    if workflow.exec_mode.name == "DEFAULT" and (not file.is_file() or file.read_text() != text):
        with whole(file) as partial:
            partial.write_text(text)
    return hashlib.sha256(text.encode()).hexdigest()


def hold_lock(folder: Path, workflow: Any) -> None:
    """Let only one workflow run in a folder, without a lock that outlives its holder.

    Snakemake's own lock survives a SIGKILL and blocks the next start until somebody unlocks by
    hand; the profile switches it off. The operating system releases this one with the process.

    Parameters
    ----------
    folder
        Snakemake's folder in the working directory.
    workflow
        Snakemake's object: jobs that it starts as processes of their own do not lock again.
    """
    if workflow.exec_mode.name != "DEFAULT" or _held:
        return
    folder.mkdir(exist_ok=True)
    handle = (folder / "dgnbench.lock").open("a+")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.seek(0)
        print(
            f"dgnbench: another workflow (process {handle.read().strip() or 'unknown'}) is running "
            f"in {Path.cwd()}; wait for it, or end it",
            file=sys.stderr,
        )
        os._exit(2)
    handle.truncate(0)
    handle.write(str(os.getpid()))
    handle.flush()
    _held.append(handle)
