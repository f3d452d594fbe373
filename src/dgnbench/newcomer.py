"""`dgnbench new`: the folder of a method, ready to be filled in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dgnbench.contract import DgnbenchError
from dgnbench.tasks import all_tasks

CARD = """\
label: {label}
summary: Say in a sentence or two what the method is.
reference: "none: say why, or give a DOI such as 10.1038/s41592-018-0229-2"
role: method            # method (deep), or baseline (simple, non-deep)
uses_labels: false
tasks: [{tasks}]
env: core
params: {{n_latent: 10}}  # keywords of every function, with their defaults
smoke: {{}}               # overrides for tiny data
resources: {{gpu: 0, mem_mb: 4000, runtime: 60}}  # runtime in minutes
"""

HEAD = '''\
"""{label}: say what it is, and where it was published."""

import numpy as np

'''

BODY = '''\
def {task}({parts}, *, seed, n_latent):
    """{hint}"""
    raise NotImplementedError
'''


def new_method(name: str, tasks: Sequence[str] | None, into: Path) -> Path:
    """Write ``methods/<name>/`` with a card and a function a task.

    Raises
    ------
    DgnbenchError
        If the name is not lower_snake or the folder exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise DgnbenchError(f"'{name}': wanted lower_snake (letters, digits, _), such as my_vae")
    folder = into / "methods" / name
    if folder.exists():
        raise DgnbenchError(f"{folder} exists already; choose another name or edit it")
    chosen = list(tasks or ["integration"])
    label = name.replace("_", " ").capitalize()
    folder.mkdir(parents=True)
    (folder / "method.yaml").write_text(CARD.format(label=label, tasks=", ".join(chosen)))
    tasks_chosen = [all_tasks()[task] for task in chosen]
    bodies = "\n\n".join(
        BODY.format(task=task.id, parts=", ".join(task.parts), hint=task.hint)
        for task in tasks_chosen
    )
    (folder / "method.py").write_text(HEAD.format(label=label) + "\n" + bodies)
    return folder
