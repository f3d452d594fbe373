"""One Slurm for all cluster tests; without one they say why they are skipped, and CI has one."""

import pytest

from tests.cluster.slurm import Slurm, why_not
from tests.conftest import skip_or_fail


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    reason = why_not()
    if reason is not None:
        skip_or_fail(reason)
    with Slurm(tmp_path_factory.mktemp("slurm")) as running:
        yield running
