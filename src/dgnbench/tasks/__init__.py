"""The tasks: one module each, found by name; adding one touches no list."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from dgnbench.contract import Task


@functools.cache
def all_tasks() -> dict[str, Task]:
    """Every task by id, in alphabetical order."""
    tasks = {}
    for module in pkgutil.iter_modules(__path__):
        task = importlib.import_module(f"{__name__}.{module.name}").TASK
        if task.id != module.name:
            raise ValueError(
                f"tasks/{module.name}.py: TASK.id is '{task.id}', wanted the file's name"
            )
        tasks[task.id] = task
    return tasks
