"""Environments beside core: built once, whole or not at all, and redone when their lock changes.

Most tests use a stand-in: a lock of one tiny package, installed from a folder, that lets the packages of
this Python in. One builds the real environment of DeepImpute, one runs the method in R.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml

from dgnbench import cards, environments
from dgnbench.cards import CardError, read_house
from dgnbench.contract import CONTROLS
from dgnbench.plan import make_plan, read_plan
from dgnbench.runner import fit
from dgnbench.storage import read_matrix, read_parts
from tests.conftest import ROOT, skip_or_fail
from tests.workflow.conftest import Workdir

BESIDE_PYTHON = str(Path(sys.executable).parent)
CARD = """
label: Lodger
summary: Tells which lodging it lives in and returns the training counts.
reference: "none: a test of environments"
role: method
uses_labels: false
tasks: [denoising]
env: {env}
params: {{}}
smoke: {{}}
resources: {{gpu: 0, mem_mb: 3000, runtime: 5}}
"""
CODE = """
import lodging


def denoising(counts, *, seed):
    return counts.X
"""


def make_wheel(folder: Path, version: str) -> None:
    """A package `lodging`; beside it, a .pth file opens this Python's own packages to its environment."""
    folder.mkdir(exist_ok=True)
    info = f"lodging-{version}.dist-info"
    files = {
        "lodging.py": f"VERSION = '{version}'\n",
        "lodging_neighbours.pth": str(Path(np.__file__).parents[1]) + "\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: lodging\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / f"lodging-{version}-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)


class Repository:
    """A repository with locks of its own; the rest is this one's. Packages come from a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.packages = folder / "repository", folder / "packages"
        (self.folder / "config" / "envs").mkdir(parents=True)
        for entry in ("Snakefile", "rules", "methods", "datasets", "metrics", "reports", "src"):
            (self.folder / entry).symlink_to(ROOT / entry)
        for name in ("deepimpute.txt", "r.yaml"):
            shutil.copy(ROOT / "config" / "envs" / name, self.folder / "config" / "envs")
        make_wheel(self.packages, "1.0")
        self.lock = self.folder / "config" / "envs" / "lodgings.txt"
        self.lock.write_text("# a stand-in\nlodging==1.0\n")

    def method(self, folder: Path, env: str = "lodgings") -> Path:
        mine = folder / "components" / "methods" / "lodger"
        mine.mkdir(parents=True)
        (mine / "method.yaml").write_text(CARD.format(env=env))
        (mine / "method.py").write_text(CODE)
        return folder / "components"


@pytest.fixture
def repository(tmp_path, monkeypatch):
    made = Repository(tmp_path)
    monkeypatch.setenv("DGNBENCH_ROOT", str(made.folder))
    for installer in ("PIP", "UV"):
        monkeypatch.setenv(f"{installer}_NO_INDEX", "1")
        monkeypatch.setenv(f"{installer}_FIND_LINKS", str(made.packages))
    monkeypatch.chdir(tmp_path)
    return made


class Benchmark(Workdir):
    """A benchmark of that repository, one method of which lives in the lodgings."""

    def __init__(self, repository: Repository, **config) -> None:
        self.repository, self.more = repository, []
        folder = repository.folder.parent
        super().__init__(
            folder,
            {
                "benchmark": "tiny",
                "smoke": True,
                "tasks": ["denoising"],
                "datasets": {"pbmc68k_reduced": None},
                "methods": ["pca", "lodger"],
                "component_paths": [str(repository.method(folder))],
                **config,
            },
        )

    def snakemake(self, *targets: str) -> subprocess.CompletedProcess:
        """Make the runs of the two methods, no controls and no scores, or what is asked for."""
        group = f"results/{self.config['benchmark']}/denoising/pbmc68k_reduced/r0"
        runs = [f"{group}/{method}/run.json" for method in self.config["methods"]]
        options = ["--snakefile", str(self.repository.folder / "Snakefile"), *self.more, "--"]
        return subprocess.run(
            self.command(*options, *(targets or runs)), cwd=self.folder, text=True, timeout=600,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip

    def run_of(self, method: str) -> dict:
        (record,) = self.results.rglob(f"{method}/run.json")
        return json.loads(record.read_text())

    def fits(self) -> dict[str, int]:
        """When each method's record was written."""
        return {
            file.parent.name: file.stat().st_mtime_ns for file in self.results.rglob("run.json")
        }


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "dgnbench", *words]


def test_a_method_runs_in_its_environment_and_only_a_changed_lock_runs_it_again(repository):
    here = Benchmark(repository)
    done = here.snakemake()
    assert done.returncode == 0, done.stdout
    assert here.run_of("lodger")["status"] == "ok"
    assert here.run_of("lodger")["versions"]["lodging"] == "1.0"
    assert "lodging" not in here.run_of("pca")["versions"]
    first = here.fits()
    (place,) = (here.folder / "data" / "envs").glob("lodgings-*/")

    shutil.rmtree(repository.packages)  # whatever wants to install now fails
    repository.lock.write_text(repository.lock.read_text())  # a newer file of the same content
    assert here.snakemake().returncode == 0
    assert here.fits() == first

    make_wheel(repository.packages, "2.0")
    repository.lock.write_text("lodging==2.0\n")
    done = here.snakemake()
    assert done.returncode == 0, done.stdout
    assert here.run_of("lodger")["versions"]["lodging"] == "2.0"
    assert {name for name, when in here.fits().items() if when != first[name]} == {"lodger"}
    assert place.is_dir()
    assert len(list((here.folder / "data" / "envs").glob("lodgings-*/"))) == 2


def test_an_environment_that_cannot_be_built_is_the_reason_of_its_runs_until_it_can(repository):
    here = Benchmark(repository)
    shutil.rmtree(repository.packages)
    here.snakemake()
    record = here.run_of("lodger")
    assert record["status"] == "failed"
    assert "the environment of config/envs/lodgings.txt is not built" in record["reason"]
    assert "`snakemake build_envs --configfile …`" in record["reason"]
    assert here.run_of("pca")["status"] == "ok"
    first = here.fits()
    failed = here.snakemake("build_envs")
    assert failed.returncode != 0
    assert "config/envs/lodgings.txt is not built" in failed.stdout

    make_wheel(repository.packages, "1.0")
    built = here.snakemake("build_envs")  # on the login node
    assert built.returncode == 0, built.stdout
    shutil.rmtree(repository.packages)
    done = here.snakemake()
    assert here.run_of("lodger")["status"] == "ok", done.stdout
    assert {name for name, when in here.fits().items() if when != first[name]} == {"lodger"}


def test_offline_nothing_is_tried(repository, monkeypatch):
    monkeypatch.setattr(subprocess, "run", None)
    with pytest.raises(environments.EnvironmentFailure, match="the config says `offline: true`"):
        environments.build("lodgings", offline=True)


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_both_installers_build_the_same(repository, installer, monkeypatch):
    if installer == "pip":
        monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    elif not shutil.which("uv", path=os.pathsep.join([os.environ["PATH"], BESIDE_PYTHON])):
        skip_or_fail("uv is not installed")
    place = environments.build("lodgings")
    assert json.loads((place / "ready.json").read_text())["installer"] == installer
    asked = [str(place / "bin" / "python"), "-c", "import lodging; print(lodging.VERSION)"]
    assert subprocess.run(asked, capture_output=True, text=True).stdout == "1.0\n"


def test_two_builders_at_once_build_one_environment(repository):
    builders = [
        subprocess.Popen(command("build-env", "lodgings"), stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [builder.communicate(timeout=300)[1] for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0], said
    assert sum("building the environment" in one for one in said) == 1
    assert environments.is_ready("lodgings")


def test_a_build_that_was_killed_is_done_again_and_does_not_meet_what_it_left_running(repository):
    place = environments.place_of("lodgings")
    slowly = "import shutil; shutil.which = lambda *given, **more: None"  # by pip
    slowly += "; from dgnbench.environments import build; build('lodgings')"
    builder = psutil.Popen([sys.executable, "-c", slowly], stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 120
    while not place.is_dir() and time.monotonic() < limit:
        time.sleep(0.01)
    left = builder.children(recursive=True)
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    assert left, "the installer had ended already: the test came too late"
    assert not environments.is_ready("lodgings")
    environments.build("lodgings")
    assert not [process for process in left if at_work(process)]
    assert environments.interpreter_of(card_of("lodgings"))[0] == str(place / "bin" / "python")


def at_work(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def card_of(env: str, **changes):
    return replace(read_house().methods["pca"], env=env, **changes)


def test_a_command_is_started_by_this_python_with_its_environment_s_programs_first(repository):
    python, surroundings = environments.interpreter_of(card_of("lodgings", command="lodge"))
    assert python == sys.executable
    programs = environments.place_of("lodgings") / "bin"
    assert surroundings["PATH"].split(os.pathsep)[0] == str(programs)


@pytest.mark.parametrize("line", ["numpy", "numpy>=2", "--index-url=x", "lodging==1.0 --hash=x"])
def test_a_lock_holds_exact_pins_only(repository, line):
    repository.lock.write_text(f"# first\n{line}\n")
    with pytest.raises(CardError, match=r"lodgings.txt:2: wanted an exact pin") as error:
        environments.check_lock("lodgings")
    assert line in str(error.value)


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ("lodging", "no such file: config/envs/lodging.txt; did you mean 'lodgings'"),
        ("r", "no such file: config/envs/r.txt"),  # a function needs a Python
    ],
)
def test_a_card_that_names_an_environment_without_its_file_is_refused(repository, env, said):
    folder = repository.method(repository.folder.parent, env)
    with pytest.raises(CardError) as error:
        read_house([folder])
    assert said in str(error.value)


def planned(**changes):
    config = {"benchmark": "b", "tasks": ["denoising"], "datasets": {"pbmc68k_reduced": None}}
    return make_plan({**config, "methods": "all", **changes})


def test_envs_of_the_config_choose_which_methods_all_are():
    assert "deepimpute" in planned().methods
    assert planned().environments == ["deepimpute"]
    core = planned(envs=["core"])
    assert "deepimpute" not in core.methods
    assert core.left_out == ("deepimpute",)
    assert core.environments == []


def test_a_method_that_is_named_but_left_out_by_envs_is_a_mistake():
    with pytest.raises(CardError, match="'deepimpute' lives in the environment deepimpute"):
        planned(methods=["pca", "deepimpute"], envs=["core"])
    with pytest.raises(CardError, match="envs: no environment named 'cor'; did you mean 'core'"):
        planned(envs=["cor"])


def test_the_smoke_benchmark_needs_no_other_environment_and_the_default_one_takes_all():
    smoke = read_plan(ROOT / "config" / "smoke.yaml")
    assert smoke.environments == []
    assert {"deepimpute", "limma"} <= set(smoke.left_out)
    assert {"deepimpute", "limma"} <= set(read_plan(ROOT / "config" / "default.yaml").methods)


def test_controls_live_in_core_because_every_benchmark_needs_them():
    methods = read_house().methods.cards.values()
    assert [card.id for card in methods if card.role in CONTROLS and card.env != "core"] == []


LOCKS = sorted((ROOT / "config" / "envs").glob("*.txt"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_has_what_the_runner_needs_and_its_conda_file_the_same_versions(lock):
    environments.check_lock(lock.stem)
    pins = environments.packages_of(lock.stem)
    assert {"numpy", "scipy", "pandas", "anndata", "h5py"} <= {pin.split("==")[0] for pin in pins}
    conda = yaml.safe_load(lock.with_suffix(".yaml").read_text())["dependencies"]
    assert "python=3.11" in conda
    (by_pip,) = (entry["pip"] for entry in conda if isinstance(entry, dict))
    later = lock.with_suffix(".post-deploy.sh")
    by_pip += (
        [word for word in later.read_text().split() if "==" in word] if later.is_file() else []
    )
    assert sorted(by_pip) == sorted(pins)


@pytest.mark.parametrize(
    "file", sorted((ROOT / "config/envs").glob("*.yaml")), ids=lambda f: f.stem
)
def test_a_conda_file_is_one(file):
    content = yaml.safe_load(file.read_text())
    assert set(content) == {"name", "channels", "dependencies"}
    assert all(
        isinstance(entry, str) or list(entry) == ["pip"] for entry in content["dependencies"]
    )


def test_the_worker_needs_no_more_than_its_environment_has():
    refuse = "import sys; sys.modules.update(dict.fromkeys(%r))" % (  # noqa: UP031
        ["psutil", "yaml", "jsonschema", "filelock", "pooch", "requests", "sklearn", "snakemake"],
    )
    asked = [sys.executable, "-c", f"{refuse}; import dgnbench.runner.worker"]
    done = subprocess.run(asked, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


CONDA = """#!/bin/sh
# In place of conda: an environment whose Python is this one, and says that it was used.
case "$*" in
  "info --json") echo '{{"conda_prefix": "{folder}", "platform": "linux-64"}}' ;;
  "--version") echo conda 24.11.0 ;;
  "config --get channel_priority --json") echo '{{"get": {{"channel_priority": "strict"}}}}' ;;
  "env create"*)
    for prefix; do :; done
    mkdir -p "$prefix/bin"
    printf '#!/bin/sh\\necho "$0" >> {folder}/used\\nexec {python} "$@"\\n' > "$prefix/bin/python"
    chmod +x "$prefix/bin/python" ;;
esac
"""


def test_the_conda_file_is_used_where_snakemake_deploys_conda(repository, monkeypatch):
    """Snakemake's part is real, conda is not: what it would install is not tested."""
    conda = repository.folder.parent / "conda"
    (conda / "bin").mkdir(parents=True)
    program = conda / "bin" / "conda"
    program.write_text(CONDA.format(folder=conda, python=sys.executable))
    program.chmod(0o755)
    (conda / "bin" / "activate").write_text('export CONDA_PREFIX="$1" PATH="$1/bin:$PATH"\n')
    monkeypatch.setenv("PATH", f"{conda / 'bin'}{os.pathsep}{os.environ['PATH']}")
    file = repository.lock.with_suffix(".yaml")
    file.write_text("name: x\nchannels: [conda-forge]\ndependencies: [python=3.11]\n")
    lodging = repository.folder.parent / "lodging.py"
    lodging.write_text("")
    here = Benchmark(repository)
    method = Path(here.config["component_paths"][0]) / "methods" / "lodger" / "method.py"
    method.write_text(CODE.replace("import lodging", ""))

    here.more = ["--software-deployment-method", "conda"]
    done = here.snakemake()
    assert done.returncode == 0, done.stdout
    assert here.run_of("lodger")["status"] == "ok"
    (used,) = (conda / "used").read_text().splitlines()
    assert used.startswith(str(here.folder / ".snakemake" / "conda"))
    assert not (here.folder / "data" / "envs").exists()
    first = here.fits()

    file.write_text(file.read_text() + "# changed\n")
    assert here.snakemake().returncode == 0
    assert {name for name, when in here.fits().items() if when != first[name]} == {"lodger"}


@pytest.fixture(scope="module")
def deepimpute(tmp_path_factory):
    """The environment of DeepImpute, built from its lock; its gigabyte is removed afterwards."""
    folder = tmp_path_factory.mktemp("envs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DGNBENCH_ENVS", str(folder))
        try:
            environments.build("deepimpute")
        except environments.EnvironmentFailure as failure:
            skip_or_fail(str(failure))
        yield read_house().methods["deepimpute"]
    shutil.rmtree(folder)


@pytest.fixture
def run(groups, tmp_path):
    def run_one(card, task, **params):
        group, target = groups(task), tmp_path / str(len(list(tmp_path.iterdir())))
        record = fit(
            card, card.id, task, group / "problem", group / "solution", target,
            seed=3, params={**card.params, **card.smoke, **params}, resources=card.resources,
        )  # fmt: skip
        return record, target

    return run_one


def test_deepimpute_runs_in_keras_2_repeats_itself_and_obeys_its_learning_rate(deepimpute, run):
    """The package hands over its learning rate in a way that later optimizers of Keras 2 ignore."""
    runs = [
        run(deepimpute, "denoising", max_epochs=3, policy="none", learning_rate=rate)[0]
        for rate in (1e-3, 1e-3, 1e-9)
    ]
    assert [record["status"] for record in runs] == ["ok"] * 3, runs[0]["stderr_tail"]
    versions = runs[0]["versions"]
    assert (versions["keras"], versions["deepimpute"]) == ("2.15.0", "1.2")
    assert versions["numpy"].startswith("1.")
    assert runs[0]["output_sha256"] == runs[1]["output_sha256"]
    assert runs[0]["output_sha256"] != runs[2]["output_sha256"]


def test_deepimpute_returns_counts_on_the_scale_of_the_training_counts(deepimpute, run, groups):
    record, target = run(deepimpute, "denoising")
    assert record["status"] == "ok", record["stderr_tail"]
    counts = read_parts(groups("denoising") / "problem")["counts"].X.toarray()
    output = read_matrix(target / "output.h5ad")
    assert np.array_equal(output[counts > 0], counts[counts > 0])  # its policy: restore
    filled = output[counts == 0]
    assert filled.min() >= 0
    assert 0 < filled.mean() < counts[counts > 0].mean()


def test_deepimpute_declines_what_the_package_would_exit_on(deepimpute, run):
    record, _ = run(deepimpute, "denoising", sub_outputdim=5000)
    assert (record["status"], record["reason"].split(":")[-1]) == ("declined", " no predictors")


@pytest.fixture
def limma():
    if shutil.which("Rscript") is None:
        skip_or_fail("there is no R")
    return read_house().methods["limma"]


def test_limma_gives_the_principal_components_of_log_counts_without_batch_means(limma, run, groups):
    record, target = run(limma, "integration")
    assert record["status"] == "ok", record["reason"]
    assert {"R", "limma", "hdf5r"} <= set(record["versions"])
    counts = read_parts(groups("integration") / "problem")["counts"]
    x = counts.X.toarray().astype(float)
    x = np.log1p(x / x.sum(axis=1, keepdims=True) * 1e4)
    for batch in counts.obs["batch"].unique():
        of_batch = (counts.obs["batch"] == batch).to_numpy()
        x[of_batch] -= x[of_batch].mean(axis=0)
    u, s, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    expected, output = (u * s)[:, :50], read_matrix(target / "output.h5ad")
    signs = np.sign((expected * output).sum(axis=0))
    np.testing.assert_allclose(output, expected * signs, atol=1e-3 * s[0] / len(x) ** 0.5)


def test_without_r_or_its_packages_the_reason_says_what_to_install(run, tmp_path, monkeypatch):
    card = read_house().methods["limma"]
    if shutil.which("Rscript"):
        monkeypatch.setenv("R_LIBS_SITE", "/nonexistent")
        record, _ = run(card, "integration")
        assert record["status"] == "failed"
        assert "R lacks hdf5r" in record["reason"]
        assert "config/envs/r.yaml" in record["reason"]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").symlink_to(shutil.which("sh"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    record, _ = run(card, "integration")
    assert record["status"] == "failed"
    assert "there is no Rscript" in record["reason"]
    assert "config/envs/r.yaml" in record["reason"]


def test_the_page_on_environments_names_every_one_of_them():
    page = (ROOT / "docs" / "environments.md").read_text()
    for name in cards.environments():
        assert f"`{name}`" in page
