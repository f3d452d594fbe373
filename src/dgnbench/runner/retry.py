"""Runs to be made again: a record that is taken away is made anew by the next start."""

from __future__ import annotations

import fcntl
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dgnbench.cards import nearest
from dgnbench.contract import STATUSES, DgnbenchError

RUNS = "*/*/r*/*/run.json"  # task, dataset, replicate, method
LOCK = Path(".snakemake") / "dgnbench.lock"


def retry(results: Path, statuses: Sequence[str]) -> Counter[str]:
    """Take away the records of the runs with one of these statuses, and of no others.

    The table of scores of their group goes, too: Snakemake makes nothing that lies behind a file which
    is there. The scores of each run stay, and are not computed again.

    Parameters
    ----------
    results
        ``results/<benchmark>``.
    statuses
        As in ``run.json``.

    Returns
    -------
    How many there were of each status.

    Raises
    ------
    DgnbenchError
        For an unknown status, a folder without runs, or a workflow that is running there.
    """
    for status in statuses:
        if status not in STATUSES:
            raise DgnbenchError(
                f"--status: no status named '{status}'; {nearest(status, STATUSES)}"
            )
    records = sorted(results.glob(RUNS))
    if not records:
        raise DgnbenchError(
            f"{results}: no run has a record there; wanted the folder of a benchmark, results/<benchmark>"
        )
    _refuse_while_running(results.resolve().parents[1] / LOCK)
    found: Counter[str] = Counter()
    for record in records:
        status = _status(record)
        if status in statuses:
            record.unlink()
            (record.parents[1] / "scores.csv").unlink(missing_ok=True)
            found[status] += 1
    return found


def _status(record: Path) -> str:
    """A record that cannot be read is no record: its run failed to tell."""
    try:
        return str(json.loads(record.read_text())["status"])
    except (ValueError, KeyError, TypeError):
        return "failed"


def _refuse_while_running(lock: Path) -> None:
    if not lock.is_file():
        return
    with lock.open() as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            raise DgnbenchError(
                f"another workflow (process {handle.read().strip()}) is running in "
                f"{lock.parents[1]}; wait for it, or end it"
            ) from None
