"""Environments beside `core`: where they lie, how one is built, and which Python runs a method.

``config/envs/<name>.txt`` is a complete lock. It is built into a virtual environment below
``data/envs/``, or below the folder that DGNBENCH_ENVS names, under its name and a key of the lock's
text and the Python version: a changed lock is another environment. ``config/envs/<name>.yaml`` is the
conda file of the same environment, for `snakemake --software-deployment-method conda`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from dgnbench.cards import CORE, CardError, MethodCard, env_files, root
from dgnbench.contract import DgnbenchError
from dgnbench.storage import write_json

RECORDS = Path("data/envs")  # of the workflow, in its folder, wherever the environments lie
READY = "ready.json"  # written last: an environment without it is not whole
PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!+_-]+")


class EnvironmentFailure(DgnbenchError):
    """An environment that is not there and could not be built."""


def check_lock(name: str) -> None:
    """Raise `CardError` where a lock holds anything but exact pins."""
    lock, _ = env_files(name)
    for number, line in enumerate(lock.read_text().splitlines(), start=1):
        said = line.split(" #")[0].strip()
        if said and not said.startswith("#") and not PIN.fullmatch(said):
            raise CardError(
                f"{lock}:{number}: wanted an exact pin such as numpy==1.26.4, got '{said}'"
            )


def key_of(name: str) -> str:
    """What tells this state of a lock, on this version of Python, from any other."""
    lock, _ = env_files(name)
    return hashlib.sha256(lock.read_bytes() + platform.python_version().encode()).hexdigest()[:12]


def record_of(name: str) -> str:
    """The file in which the workflow keeps what became of an environment's building."""
    return str(RECORDS / f"{name}-{key_of(name)}.json")


def place_of(name: str) -> Path:
    """Where the virtual environment lies, or will."""
    return Path(os.environ.get("DGNBENCH_ENVS", RECORDS)).absolute() / f"{name}-{key_of(name)}"


def is_ready(name: str) -> bool:
    """Whether the virtual environment is there and whole."""
    return (place_of(name) / READY).is_file()


def inputs_of(card: MethodCard, conda: bool) -> list[str]:
    """The file whose change makes a method's runs old: its environment's record or conda file."""
    if card.env == CORE:
        return []
    if conda and (file := conda_file_of(card)):
        return [file]
    return [record_of(card.env)] if env_files(card.env)[0].is_file() else []


def conda_file_of(card: MethodCard) -> str | None:
    """The conda file of a method's environment, if it has one."""
    if card.env == CORE or not env_files(card.env)[1].is_file():
        return None
    return str(env_files(card.env)[1])


def build(name: str, *, offline: bool = False) -> Path:
    """Build an environment unless it is there, and return its place; two builders at once are safe.

    Raises
    ------
    EnvironmentFailure
        With the file, what the installer said, and how to build where there is a network.
    """
    check_lock(name)
    place = place_of(name)
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(f".{place.name}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if is_ready(name):
            return place
        if offline:
            raise EnvironmentFailure(_not_built(name, "the config says `offline: true`"))
        print(f"building the environment {name} in {place} …", file=sys.stderr, flush=True)
        shutil.rmtree(place, ignore_errors=True)  # of a build that was interrupted
        begin = time.monotonic()
        installer = _install(name, place, held.fileno())
        done = {"environment": name, "installer": installer, "python": platform.python_version()}
        seconds = round(time.monotonic() - begin, 1)
        write_json(place / READY, {**done, "packages": packages_of(name), "seconds": seconds})
    return place


def packages_of(name: str) -> list[str]:
    """The pins of a lock."""
    lines = (line.split(" #")[0].strip() for line in env_files(name)[0].read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _install(name: str, place: Path, held: int) -> str:
    """Make the virtual environment in its place (it cannot be moved later) and fill it.

    The installer inherits the lock `held`: should this process be killed, the next one waits for it.
    """
    lock = env_files(name)[0]
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    install = ["--quiet", "--no-deps", "--requirement", str(lock)]  # the lock is complete
    steps = (
        [[uv, "venv", "--quiet", "--python", sys.executable, str(place)],
         [uv, "pip", "install", "--python", str(place / "bin" / "python"), *install]]
        if uv
        else [[sys.executable, "-m", "venv", str(place)],
              [str(place / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install",
               *install]]
    )  # fmt: skip
    for step in steps:
        done = subprocess.run(
            step, capture_output=True, text=True, errors="replace", check=False, pass_fds=[held]
        )
        if done.returncode != 0:
            print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
            shutil.rmtree(place, ignore_errors=True)
            lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            last = lines[-1].strip()[:300] if lines else f"exit code {done.returncode}"
            raise EnvironmentFailure(_not_built(name, f"{Path(step[0]).name} said: {last}"))
    return "uv" if uv else "pip"


def _not_built(name: str, why: str) -> str:
    lock = env_files(name)[0]
    shown = lock.relative_to(root()) if lock.is_relative_to(root()) else lock
    return (
        f"the environment of {shown} is not built: {why}. Build it where there is a network, such "
        f"as a login node: `snakemake build_envs --configfile …`, or `dgnbench build-env {name}`"
    )


def build_and_record(name: str, record: Path, *, offline: bool = False) -> str:
    """`build` for the workflow: a failure is written down, for the runs to tell, and raises nothing.

    Returns
    -------
    The failure in words, or an empty text.
    """
    try:
        build(name, offline=offline)
    except DgnbenchError as error:
        write_json(record, {"environment": name, "reason": str(error)})
        return str(error)
    write_json(record, {"environment": name, "reason": "", "packages": packages_of(name)})
    return ""


def forget_failures(names: Iterable[str], runs_of: Callable[[str], Iterable[Path]]) -> None:
    """Let this start try again what could not be built.

    Parameters
    ----------
    names
        Environments; the record of one that could not be built is removed.
    runs_of
        Gives the ``run.json`` of the runs in an environment: those that failed for it are removed,
        too, for Snakemake makes no missing file that only finished ones were made of.
    """
    for name in names:
        if not (reason := _failure(name)):
            continue
        for file in runs_of(name):
            if file.is_file() and json.loads(file.read_text())["reason"] == reason:
                file.unlink()
        Path(record_of(name)).unlink()


def _failure(name: str) -> str:
    """Why the workflow could not build an environment, if so."""
    record = Path(record_of(name))
    return str(json.loads(record.read_text())["reason"]) if record.is_file() else ""


def interpreter_of(card: MethodCard, *, conda: bool = False) -> tuple[str, dict[str, str]]:
    """The Python that a run starts with, and the variables that make its environment.

    A function needs the Python of its environment. A command is started by this Python, with the
    programs of its environment first in PATH; without a lock those of the machine are meant.

    Parameters
    ----------
    card
        The method's card.
    conda
        Whether Snakemake has activated the environment's conda file for this job.

    Raises
    ------
    EnvironmentFailure
        If the workflow could not build it, or this process cannot.
    """
    if card.env == CORE:
        return sys.executable, {}
    if conda and conda_file_of(card):
        if "CONDA_PREFIX" not in os.environ:
            raise EnvironmentFailure("`--conda` is for jobs in which Snakemake activated conda")
        place = Path(os.environ["CONDA_PREFIX"])
    elif not env_files(card.env)[0].is_file():
        _check_program(card)
        return sys.executable, {}
    else:
        place = _ready(card.env)
    programs = place / "bin"
    return str(programs / "python") if card.command is None else sys.executable, {
        "PATH": os.pathsep.join([str(programs), os.environ.get("PATH", "")]),
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),  # the runner itself
        "PYTHONNOUSERSITE": "1",
    }


def _check_program(card: MethodCard) -> None:
    """Say what to install where a command's program is not on this machine."""
    program = (card.command or "").split(" ")[0]
    found = subprocess.run(
        ["sh", "-c", 'command -v "$0"', program], capture_output=True, check=False
    )
    if found.returncode != 0:
        raise EnvironmentFailure(
            f"there is no {program} on {platform.node()}: install what config/envs/{card.env}.yaml "
            "names, or let Snakemake do it with --software-deployment-method conda"
        )


def _ready(name: str) -> Path:
    """The place of an environment; what the workflow tried in vain is not tried again in each run."""
    if not is_ready(name) and (reason := _failure(name)):
        raise EnvironmentFailure(reason)
    return build(name)
