"""What several tests share: the repository, small splits, and who may skip."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Strict checksums are tested on purpose, not because it is CI that runs the tests.
os.environ.pop("CI", None)

# Workers of xdist share the cores: threads of one would wait for those of the other.
if "PYTEST_XDIST_WORKER" in os.environ:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")

# Some images set this; the tests start thousands of processes, and each would compile all that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

ROOT = Path(__file__).resolve().parents[1]
PLANTED = ROOT / "tests" / "planted"


def skip_or_fail(reason: str) -> None:
    """Skip on a user's machine; in CI everything must run."""
    if os.environ.get("DGNBENCH_CI"):
        pytest.fail(f"CI must run this: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    folder = os.environ.get("DGNBENCH_SHARED")
    if not folder:
        skip_or_fail(
            "DGNBENCH_SHARED is not set: real data and other people's numbers are not at hand"
        )
    return Path(folder)


@pytest.fixture(scope="session")
def groups(tmp_path_factory):
    """``groups(task)``: a folder with problem/ and solution/ of that task's example, or another dataset."""
    from dgnbench.cards import read_house
    from dgnbench.tasks import all_tasks
    from dgnbench.tryout import split_dataset

    made: dict[tuple[str, str], Path] = {}

    def group(task: str, dataset: str = "") -> Path:
        dataset = dataset or all_tasks()[task].example
        if (task, dataset) not in made:
            folder = tmp_path_factory.mktemp(task) / dataset / "r0"
            split_dataset(read_house(), task, dataset, 0, folder)
            made[task, dataset] = folder
        return made[task, dataset]

    return group


@pytest.fixture
def loaded(monkeypatch):
    """``loaded(method)``: its ``method.py``, imported as the runner does; `net` is its net.py."""
    import importlib.util
    import sys

    import torch

    from dgnbench import progress
    from dgnbench.cards import read_house

    def loaded(method):
        folder = read_house().methods[method].folder
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.delitem(sys.modules, "net", raising=False)
        spec = importlib.util.spec_from_file_location(f"method_{method}", folder / "method.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.net = sys.modules.pop("net", None)  # an adapter has none
        return module

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small matrices: threads would only wait for each other
    progress.start()
    yield loaded
    torch.set_num_threads(threads)
