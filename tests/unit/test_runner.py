"""The supervisor: whatever a method does, one record tells it, and nothing is left running."""

import contextlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import psutil
import pytest

from dgnbench import collecting
from dgnbench.cards import CardError, Resources, read_house
from dgnbench.contract import DgnbenchError
from dgnbench.plan import granted, make_plan
from dgnbench.runner import (
    TryAgain,
    attempts,
    boundary,
    checkpoint,
    evidence,
    fit,
    gpu,
    supervise,
    worker,
)
from dgnbench.runner.family import MARK, Family
from dgnbench.runner.retry import retry
from tests.conftest import PLANTED, ROOT


@pytest.fixture(scope="module")
def house():
    return read_house([PLANTED])


@pytest.fixture
def run(house, groups, tmp_path):
    def run_one(method, group=None, target=None, params=None, **more):
        card = house.methods[method]
        group = group or groups("denoising")
        target = target or tmp_path / method
        record = fit(
            card, method, "denoising", group / "problem", group / "solution", target,
            seed=0, params={**card.params, **(params or {})}, resources=card.resources, **more,
        )  # fmt: skip
        assert record == json.loads((target / "run.json").read_text())
        assert (target / "output.h5ad").exists() == (record["status"] == "ok")
        assert not list(target.glob(".*")), "nothing half-written is left"
        assert not (target / attempts.FILE).exists()
        return record

    return run_one


def of_run(target):
    """The processes of the run in a folder, wherever in the tree of processes they are."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            mark = process.environ().get(MARK, "")
            if mark.endswith(f":{target}") and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def wait_for(condition, seconds=60):
    limit = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < limit, f"not within {seconds} s"
        time.sleep(0.05)
    return found


@contextlib.contextmanager
def small_disk(folder, *, size="1m", read_only=False):
    """A file system of its own; only root can mount one."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={size}" + (",ro" if read_only else "")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode != 0:
        pytest.skip(f"this root cannot mount: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


# ------------------------------------------------------------------------------ status from evidence


@pytest.mark.parametrize(
    ("method", "status", "said"),
    [
        ("raises", "failed", "ValueError: the matrix <b>is</b> singular (method.py line 2)"),
        ("wrong_shape", "invalid_output", "wanted shape"),
        ("gives_nan", "invalid_output", "not finite"),
        ("negative", "invalid_output", "negative"),
        ("calls_exit", "failed", "sys.exit(3)"),
        ("exits_hard", "failed", "exit code 4"),
        ("killed", "failed", "SIGSEGV: a crash in native code"),
        ("killed_from_outside", "lost", "SIGKILL, which came from outside"),
        ("too_slow", "timeout", "the limit is 6 s"),
        ("ignores_term", "timeout", "the limit is 6 s"),
        ("too_hungry", "out_of_memory", "the limit is 600 MB"),
        ("out_of_memory_error", "out_of_memory", "cannot allocate"),
        ("gpu_or_nothing", "no_gpu", "No CUDA GPUs are available"),
        ("declines", "declined", "needs two batches"),
    ],
)
def test_a_faulty_method_becomes_a_status_with_its_reason(run, tmp_path, method, status, said):
    record = run(method)
    assert record["status"] == status
    assert said in record["reason"]
    assert of_run(tmp_path / method) == []


def test_a_crash_in_native_code_names_the_line_of_python(run):
    record = run("killed")
    assert "Segmentation fault" in record["stderr_tail"]
    assert re.search(r'method\.py", line 5 in denoising', record["stderr_tail"])


@pytest.mark.parametrize(
    ("code", "kills", "peak", "status", "said"),
    [
        (-40, 0, 10, "failed", "killed by signal number 40"),
        (-11, 0, 10, "failed", "killed by signal SIGSEGV: a crash in native code"),
        (-11, 1, 99, "failed", "killed by signal SIGSEGV: a crash in native code"),
        (-9, 1, 10, "out_of_memory", "ended by the kernel"),
        (-9, 0, 81, "out_of_memory", "near its limit of 100 MB"),
        (-9, 0, 10, "lost", "killed by signal SIGKILL, which came from outside"),
        (-15, 0, 99, "lost", "killed by signal SIGTERM, which came from outside"),
        (74, 0, 10, "failed", "is the disk of TMPDIR full?"),
        (1, 0, 10, "failed", "exit code 1"),
    ],
)
def test_the_end_of_a_child_is_judged_by_signal_kernel_and_memory(code, kills, peak, status, said):
    got, reason = evidence.judge(evidence.Evidence(code, kills, peak, 100.0))
    assert got == status
    assert said in reason


def raised(name, text, bases=(RuntimeError,)):
    return type(name, bases, {})(text)


def caused(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MemoryError(), "out_of_memory"),
        (
            raised("OutOfMemoryError", "CUDA out of memory. Tried to allocate 20 GiB"),
            "out_of_memory",
        ),
        (raised("ResourceExhaustedError", "OOM when allocating", (Exception,)), "out_of_memory"),
        (raised("XlaRuntimeError", "RESOURCE_EXHAUSTED: Out of memory while"), "out_of_memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "out_of_memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory"), "out_of_memory"),
        (OSError(12, "Cannot allocate memory"), "out_of_memory"),
        (caused(ValueError("the step failed"), MemoryError()), "out_of_memory"),
        (RuntimeError("Found no NVIDIA driver on your system."), "no_gpu"),
        (AssertionError("Torch not compiled with CUDA enabled"), "no_gpu"),
        (RuntimeError("Unknown backend: 'gpu' requested"), "no_gpu"),
        (RuntimeError("the matrix is singular"), "failed"),
        (KeyError("batch"), "failed"),
    ],
)
def test_what_a_framework_raises_is_told_apart(error, status):
    assert evidence.status_of(error) == status


def test_the_frameworks_that_are_here_raise_what_is_looked_for():
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**55, dtype=torch.float64)
    assert evidence.status_of(error.value) == "out_of_memory"
    if not torch.cuda.is_available():
        with pytest.raises((RuntimeError, AssertionError)) as error:
            torch.zeros(1, device="cuda")
        assert evidence.status_of(error.value) == "no_gpu"


@pytest.mark.parametrize(
    ("told", "file", "text"),
    [
        ("0::/job_7/step", "job_7/step/memory.events", "low 0\noom 2\noom_kill 3\n"),
        ("0::/seen/outside", "memory.events", "oom_kill 3\n"),
        ("5:cpu:/\n4:memory:/job", "memory/job/memory.oom_control", "under_oom 0\noom_kill 3\n"),
    ],
)
def test_the_kernel_s_count_is_read_from_either_kind_of_cgroup(tmp_path, told, file, text):
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "cgroup").write_text(told + "\n")
    (tmp_path / "proc" / "vmstat").write_text("nr_free 1\noom_kill 9\n")
    places = tmp_path / "proc", tmp_path / "cgroup"
    assert evidence.kernel_kills(*places) == 9, "without a cgroup, the whole machine's"
    (tmp_path / "cgroup" / file).parent.mkdir(parents=True)
    (tmp_path / "cgroup" / file).write_text(text)
    assert evidence.kernel_kills(*places) == 3


@contextlib.contextmanager
def memory_cgroup(limit):
    """A control group with so much memory, of either version; yields the file that joins it."""
    version_1, version_2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    old = (version_1 / "memory.limit_in_bytes").exists()
    folder = (version_1 if old else version_2) / f"dgnbench-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / ("memory.limit_in_bytes" if old else "memory.max")).write_text(str(limit))
    except OSError as error:
        if folder.exists():
            folder.rmdir()
        pytest.skip(f"no control group of one's own here: {error}")
    try:
        yield folder / "cgroup.procs"
    finally:
        wait_for(lambda: not (folder / "cgroup.procs").read_text(), 20)
        folder.rmdir()


def test_a_method_that_the_kernel_ends_is_out_of_memory_and_its_supervisor_lives(groups, tmp_path):
    """A real kernel, a real limit: the supervisor's own limit is out of reach."""
    command = [
        sys.executable, "-m", "dgnbench", "fit", "denoising", "too_hungry", "--group",
        str(groups("denoising")), "--output", str(tmp_path / "too_hungry"), "--seed", "0",
        "--mem-mb", "50000", "--component-path", str(PLANTED),
    ]  # fmt: skip
    with memory_cgroup(900_000_000) as procs:
        join = f"echo $$ > {procs} && exec " + '"$@"'
        done = subprocess.run(["sh", "-c", join, "sh", *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "too_hungry" / "run.json").read_text())
    assert record["status"] == "out_of_memory"
    assert "ended by the kernel" in record["reason"]
    assert record["evidence"]["kernel_kills"] >= 1
    assert record["evidence"]["signal"] == "SIGKILL"
    assert 400 < record["peak_rss_mb"] < 1000


# ------------------------------------------------------------------------------------------- GPUs


class FakeNvml(types.ModuleType):
    """NVML as `nvidia-ml-py` speaks to it: two GPUs, and who holds what on them."""

    NVMLError = type("NVMLError", (Exception,), {})

    def __init__(self):
        super().__init__("pynvml")
        self.holders, self.used, self.open = {0: [], 1: []}, {0: 0, 1: 0}, 0

    def nvmlInit(self):
        self.open += 1

    def nvmlShutdown(self):
        self.open -= 1

    def nvmlDeviceGetCount(self):
        return 2

    def nvmlDeviceGetHandleByIndex(self, index):
        if index not in self.used:
            raise self.NVMLError("not found")
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid):
        return {"GPU-aa": 0, "GPU-bb": 1}[uuid]

    def nvmlDeviceGetMemoryInfo(self, handle):
        return types.SimpleNamespace(used=self.used[handle])

    def nvmlDeviceGetComputeRunningProcesses(self, handle):
        return [types.SimpleNamespace(pid=p, usedGpuMemory=m) for p, m in self.holders[handle]]

    def nvmlDeviceGetUtilizationRates(self, handle):
        return types.SimpleNamespace(gpu=40 + handle * 20)

    def nvmlDeviceGetName(self, handle):
        return b"Accelerator X"


@pytest.fixture
def nvml(monkeypatch):
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpu, "SAMPLE_EVERY_S", 0)
    yield fake
    assert fake.open == 0


@pytest.mark.parametrize(
    ("given", "number"),
    [(None, 2), ("", 0), ("-1", 0), ("1", 1), ("0,1", 2), ("GPU-bb", 1), ("0,-1,1", 1), ("7", 0)],
)
def test_visible_gpus_are_those_that_cuda_would_see(nvml, monkeypatch, given, number):
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert gpu.visible() == number


def test_without_nvml_gpus_are_counted_by_their_device_files(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert gpu.visible(tmp_path) == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert gpu.visible(tmp_path) == 1


def test_only_the_memory_of_the_run_s_own_processes_counts(nvml):
    sampler = gpu.Sampler(1)
    nvml.holders = {0: [(os.getpid(), 3e9), (1, 9e9)], 1: [(1, 5e9)]}
    sampler.sample([os.getpid()])
    nvml.holders[0] = [(os.getpid(), 2e9), (1, 9e9)]
    sampler.sample([os.getpid()])
    sampler.close()
    assert sampler.peak_mb == 3000
    assert sampler.utilisation == 40
    assert sampler.device == "Accelerator X"


def test_in_a_container_the_growth_of_the_device_is_what_counts(nvml):
    """There NVML names the processes by the host's ids."""
    nvml.used = {0: 1e9, 1: 0}
    sampler = gpu.Sampler(1)
    nvml.used = {0: 4e9, 1: 0}
    nvml.holders = {0: [(4_000_000_000, None)], 1: []}
    sampler.sample([os.getpid()])
    sampler.close()
    assert sampler.peak_mb == 3000


def test_a_run_that_wants_no_gpu_is_not_sampled(nvml):
    nvml.holders = {0: [(os.getpid(), 3e9)], 1: []}
    sampler = gpu.Sampler(0)
    sampler.sample([os.getpid()])
    assert sampler.peak_mb == 0


def test_a_run_says_what_it_used_of_a_gpu(run, nvml, monkeypatch):
    monkeypatch.setattr(FakeNvml, "nvmlDeviceGetComputeRunningProcesses", lambda self, handle: [
        types.SimpleNamespace(pid=p.pid, usedGpuMemory=7e9)
        for p in psutil.Process().children() if handle == 0
    ])  # fmt: skip
    record = run("gpu_if_there", require_gpu=True)
    assert record["status"] == "ok"
    assert (record["device"], record["peak_gpu_mb"]) == ("Accelerator X", 7000)
    assert record["gpu_utilisation"] == 40


def test_where_a_gpu_is_required_and_none_is_visible_the_run_is_not_begun(run, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    record = run("gpu_if_there", require_gpu=True)
    assert record["status"] == "no_gpu"
    assert "none is visible" in record["reason"]
    assert record["seconds_total"] < 2
    assert run("speaks_shell", require_gpu=True)["status"] == "ok"  # it wants none


def test_where_a_gpu_is_required_a_run_on_the_cpu_is_none(run, nvml):
    record = run("gpu_if_there", require_gpu=True)
    assert record["status"] == "no_gpu"
    assert "ran on the CPU although a GPU is visible" in record["reason"]


def test_where_none_is_required_a_run_on_the_cpu_is_marked(run):
    record = run("gpu_if_there")
    assert record["status"] == "ok"
    assert (record["device"], record["wanted_gpu"]) == ("cpu", True)
    assert run("speaks_shell")["wanted_gpu"] is False


# ------------------------------------------------------------------------------- limits and memory


def test_a_second_try_may_use_twice_the_memory_and_more_time_only_after_a_timeout():
    asked = Resources(gpu=0, mem_mb=600, runtime=10)
    assert granted(asked, 1, {}) == asked
    assert granted(asked, 2, {"out_of_memory": 1}).mem_mb == 1200
    assert granted(asked, 2, {"out_of_memory": 1}).runtime == 10
    assert granted(asked, 2, {"timeout": 1}).runtime == 20


def test_out_of_memory_is_tried_again_with_more_and_the_record_knows_of_both(run, tmp_path):
    with pytest.raises(TryAgain, match=r"out_of_memory: used .* another one with 1200 MB"):
        run("needs_more_memory", retries={"out_of_memory": 1})
    target = tmp_path / "needs_more_memory"
    assert not (target / "run.json").exists()
    assert not (target / "output.h5ad").exists()
    record = run("needs_more_memory", retries={"out_of_memory": 1}, attempt=2)
    assert record["status"] == "ok"
    assert record["attempts"] == 2
    first = record["earlier_attempts"][0]
    assert (first["status"], first["limits"]["mem_mb"]) == ("out_of_memory", 600)
    assert record["limits"]["mem_mb"] == record["resources"]["mem_mb"] == 1200
    assert record["peak_rss_mb"] > 700


def test_the_last_try_is_recorded_and_what_is_final_is_not_tried_again(run):
    retries = {"out_of_memory": 1, "timeout": 0, "lost": 1}
    assert run("killed_from_outside", retries=retries, attempt=2)["status"] == "lost"
    assert run("raises", retries=retries)["status"] == "failed"
    assert run("too_slow", retries=retries)["status"] == "timeout"


def test_memory_that_forks_share_counts_once(run, house, groups, tmp_path, monkeypatch):
    """The sum over eight data loaders would be eight times the parent, and over every limit."""
    folder = tmp_path / "methods" / "shares"
    shutil.copytree(house.methods["raises"].folder, folder)
    (folder / "method.py").write_text(
        "import os, time\n\n\ndef denoising(counts, *, seed):\n"
        "    held = b'x' * 500_000_000\n"
        "    for _ in range(8):\n"
        "        if os.fork() == 0:\n"
        "            time.sleep(4)\n            os._exit(len(held) % 2)\n"
        "    time.sleep(4)\n    return counts.X\n"
    )
    card = read_house([tmp_path]).methods["shares"]
    group = groups("denoising")
    record = fit(
        card, "shares", "denoising", group / "problem", group / "solution", tmp_path / "shares",
        seed=0, params={}, resources=Resources(gpu=0, mem_mb=2000, runtime=2),
    )  # fmt: skip
    assert record["status"] == "ok", record["reason"]
    assert 500 < record["peak_rss_mb"] < 2000


def test_a_jump_of_the_clock_changes_no_duration(run, monkeypatch):
    jumping = iter(range(10**9, 0, -86_400))
    monkeypatch.setattr(time, "time", lambda: float(next(jumping)))
    record = run("speaks_shell")
    assert record["status"] == "ok"
    assert 0 < record["seconds_total"] < 300
    assert 0 <= record["seconds_fit"] <= record["seconds_total"]


def test_the_time_of_day_measures_nothing():
    """Durations and limits come from clocks that nobody can set."""
    for file in (ROOT / "src").rglob("*.py"):
        assert "time.time()" not in file.read_text(), file
        assert "datetime.now" not in file.read_text(), file


# ------------------------------------------------------------------------------ processes left over


def test_a_run_that_is_ended_still_tells_what_its_import_and_its_fit_took(run):
    record = run("too_slow")
    assert 1 < record["seconds_fit"] <= record["seconds_total"]


def test_workers_left_behind_end_with_the_run_in_whatever_session_they_are(run, tmp_path):
    """And no others: in a notebook the supervising process has children of its own."""
    other = subprocess.Popen(["sleep", "600"])
    before = set(psutil.Process().children())  # of other tests, too
    try:
        record = run("leaves_workers")
        assert record["status"] == "ok", record["reason"]
        assert of_run(tmp_path / "leaves_workers") == []
        now = {p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE}
        assert now <= before
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def start_fit(groups, target, method="waits", **environment):
    command = [
        sys.executable, "-m", "dgnbench", "fit", "denoising", method, "--group",
        str(groups("denoising")), "--output", str(target), "--seed", "0",
        "--component-path", str(PLANTED), "--retries", '{"lost": 1}',
    ]  # fmt: skip
    return psutil.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | environment,
    )  # fmt: skip


def test_a_killed_supervisor_takes_its_method_along(groups, tmp_path):
    """Without a supervisor nobody would hold the method to its limits."""
    target = tmp_path / "run"
    supervisor = start_fit(groups, target, TEST_GO=str(tmp_path / "go"))
    method = wait_for(lambda: of_run(target))[0]
    wait_for(lambda: "SigIgn" in Path(f"/proc/{method.pid}/status").read_text())
    wait_for(lambda: Path(f"/proc/{method.pid}/oom_score_adj").read_text().strip() == "500")
    supervisor.kill()
    supervisor.wait()
    wait_for(lambda: not of_run(target), 20)
    assert attempts.read(target)[-1]["status"] == "lost"
    (tmp_path / "go").touch()
    second = start_fit(groups, target, TEST_GO=str(tmp_path / "go"))
    assert second.wait() == 0, second.stdout.read()
    record = json.loads((target / "run.json").read_text())
    assert record["status"] == "ok"
    assert [a["reason"] for a in record["earlier_attempts"]] == [attempts.UNTOLD]


def test_a_training_that_is_killed_goes_on_where_it_was_with_the_same_curve(groups, tmp_path):
    target, whole, go = tmp_path / "run", tmp_path / "whole", tmp_path / "go"
    supervisor = start_fit(groups, target, "trains", TEST_GO=str(go))
    wait_for(lambda: list(target.glob("checkpoint-*.pt")))
    time.sleep(1)  # it is in the fourth epoch by now, or will be after the next start
    supervisor.kill()
    supervisor.wait()
    wait_for(lambda: not of_run(target), 20)
    go.touch()
    for folder in (target, whole):
        started = start_fit(groups, folder, "trains", TEST_GO=str(go))
        assert started.wait() == 0, started.stdout.read()
    assert (target / "history.csv").read_text() == (whole / "history.csv").read_text()
    assert json.loads((target / "run.json").read_text())["attempts"] == 2
    assert not list(target.glob("checkpoint-*")), "what is done needs none"
    seen = (target / "log.txt").read_text()
    assert "going on from epoch" in seen


def test_a_checkpoint_of_other_parameters_is_not_gone_on_from(tmp_path, house):
    component = house.methods["trains"].folder
    first = checkpoint.file_of(tmp_path, component, "p", {"seed": 0})
    first.write_text("state")
    assert checkpoint.file_of(tmp_path, component, "p", {"seed": 0}) == first
    assert first.exists()
    for other in ({"seed": 1}, {"seed": 0, "params": {"beta": 2}}):
        assert checkpoint.file_of(tmp_path, component, "p", other) != first
        assert not first.exists()
        first.write_text("state")
    assert checkpoint.file_of(tmp_path, component, "another problem", {"seed": 0}) != first


def test_what_a_killed_supervisor_left_is_ended_by_the_next_try(run, tmp_path):
    """Its worker dies with it, but not the workers of the worker."""
    target = tmp_path / "speaks_shell"
    target.mkdir()
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True).stdout.strip()  # fmt: skip
    told = [{"attempt": 1, "status": "lost", "reason": "", "host": platform.node(), "started": ""}]
    (target / attempts.FILE).write_text(json.dumps(told))
    stray = subprocess.Popen(["sleep", "600"], env=os.environ | {MARK: f"{gone}:{target}"})
    other = subprocess.Popen(["sleep", "600"], env=os.environ | {MARK: f"{gone}:{target}_2"})
    try:
        assert run("speaks_shell")["attempts"] == 2
        assert stray.wait(timeout=20) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        for process in (stray, other):
            process.kill()
            process.wait()


def test_a_supervisor_that_is_told_to_end_takes_its_method_along_and_leaves_word(groups, tmp_path):
    """What a scheduler does at scancel, at a preemption, and at the end of its time."""
    target = tmp_path / "run"
    supervisor = start_fit(groups, target, TEST_GO=str(tmp_path / "never"))
    wait_for(lambda: of_run(target))
    supervisor.send_signal(signal.SIGTERM)
    said = supervisor.communicate(timeout=60)[0]
    assert supervisor.returncode == 1
    assert "ended by SIGTERM" in said
    assert of_run(target) == []
    assert not (target / "run.json").exists()
    assert "ended by SIGTERM" in attempts.read(target)[-1]["reason"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_comes_while_the_method_is_started_takes_it_along(
    run, tmp_path, monkeypatch, number
):
    """The child is there, and `Popen` has not returned yet."""
    start = subprocess.Popen.__init__

    def interrupted(self, *args, **kwargs):
        start(self, *args, **kwargs)
        if "dgnbench.runner.worker" in self.args:
            signal.raise_signal(number)

    monkeypatch.setenv("TEST_GO", str(tmp_path / "go"))
    monkeypatch.setattr("subprocess.Popen.__init__", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # the shell may ignore it
    try:
        with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit):
            run("waits")
        assert of_run(tmp_path / "waits") == []
    finally:
        signal.signal(signal.SIGINT, before)
        (tmp_path / "go").touch()  # or the child of a supervisor that fails here waits for ever


# ------------------------------------------------------------------------ disks, folders and output


def test_a_full_disk_becomes_a_failed_run_with_clear_words(run, tmp_path):
    with small_disk(tmp_path / "disk", size="1m") as disk:
        record = run("prints_megabytes", target=disk / "run", log=tmp_path / "log.txt")
    assert record["status"] == "failed"
    assert re.search(r"output.h5ad \(\d\.\d MB\) could not be written", record["reason"])
    assert "No space left on device; make room in" in record["reason"]
    assert record["output_sha256"] == ""


def test_a_full_scratch_disk_becomes_a_failed_run_with_clear_words(run, tmp_path, monkeypatch):
    with small_disk(tmp_path / "disk", size="1m") as disk:
        monkeypatch.setattr("tempfile.tempdir", str(disk))
        record = run("prints_megabytes")
    assert record["status"] == "failed"
    assert "No space left on device" in record["reason"] + record["stderr_tail"]


def test_a_log_that_cannot_be_written_does_not_block_the_method(run, tmp_path):
    with small_disk(tmp_path / "disk", size="64k") as disk:
        record = run("prints_megabytes", log=disk / "log.txt")
    assert record["status"] == "ok"


def test_a_read_only_folder_is_told_before_the_run(run, tmp_path):
    with (
        small_disk(tmp_path / "disk", read_only=True) as disk,
        pytest.raises(DgnbenchError, match="cannot be written to: Read-only file system; make it"),
    ):
        run("speaks_shell", target=disk / "run")


def test_a_method_that_prints_a_hundred_megabytes_is_ok_and_its_log_stays_small(run, tmp_path):
    assert run("prints_megabytes")["status"] == "ok"
    log = tmp_path / "prints_megabytes" / "log.txt"
    assert log.stat().st_size < 2_000_000
    assert "the last words" in log.read_text()


def test_bytes_that_are_no_text_are_told_as_text(run):
    record = run("speaks_latin")
    assert "Zo\ufffd \ufffd\ufffd [31m red" in record["stderr_tail"]
    assert record["reason"] == "ValueError: no such file: Zo?  (method.py line 6)"
    json.dumps(record, ensure_ascii=False).encode()


def test_an_endless_reason_is_cut(run, monkeypatch):
    monkeypatch.setattr(supervise, "REASON_LETTERS", 20)
    assert run("raises")["reason"] == "ValueError: the matr"


# ------------------------------------------------------------------------------ outside its folder


@pytest.fixture
def own_group(groups, tmp_path):
    """A copy of the small split that a method may spoil, with a finished run beside it."""
    group = tmp_path / "group"
    shutil.copytree(groups("denoising"), group)
    (group / "other").mkdir()
    (group / "other" / "run.json").write_text("{}")
    (group / "other" / "output.h5ad").write_text("an output")
    return group


def test_a_method_that_writes_beside_its_folder_is_failed_and_the_file_named(run, own_group):
    record = run("writes_outside", own_group)
    assert record["status"] == "failed"
    assert "wrote outside its folder: " in record["reason"]
    assert record["reason"].endswith("notes.txt")


def test_a_problem_that_changes_meanwhile_fails_the_run_whoever_did_it(run, own_group, tmp_path):
    from dgnbench.storage import sha256

    files = {f"problem/{f.name}": sha256(f) for f in (own_group / "problem").glob("*.h5ad")}
    (own_group / "split.json").write_text(json.dumps({"files": files}))
    record = run("writes_outside", own_group, params={"how": "shell"})
    assert record["status"] == "failed"
    assert "problem/counts.h5ad (changed)" in record["reason"]
    after = run("speaks_shell", own_group)
    assert after["status"] == "failed"
    assert "is not what the split wrote" in after["reason"]


def test_reading_the_problem_and_writing_in_one_s_own_folder_is_fine(run, own_group):
    record = run("speaks_shell", own_group)
    assert record["status"] == "ok", record["reason"]
    assert record["changed_meanwhile"] == []


def listed(group):
    target = group / "mine"
    return boundary.listing(group / "problem", group / "solution", target, attempts.under_way)


@pytest.mark.parametrize(
    ("deed", "said"),
    [
        (lambda group: (group / "solution" / "more.h5ad").touch(), "more.h5ad (new)"),
        (lambda group: next((group / "problem").glob("*")).unlink(), ".h5ad (removed)"),
        (
            lambda group: (group / "other" / "output.h5ad").write_text("other"),
            "output.h5ad (changed)",
        ),
        (lambda group: (group / "other" / "output.h5ad").unlink(), "output.h5ad (removed)"),
    ],
)
def test_what_is_not_as_it_was_is_named(own_group, deed, said):
    before = listed(own_group)
    deed(own_group)
    (found,) = boundary.changes(before, listed(own_group))
    assert found.endswith(said)


def test_a_neighbour_that_is_made_again_meanwhile_is_no_fault(own_group):
    before = listed(own_group)
    (own_group / "other" / "run.json").write_text('{"newer": 1}')
    (own_group / "other" / "output.h5ad").write_text("another output")
    (own_group / "third").mkdir()
    (own_group / "third" / "run.json").write_text("{}")
    assert boundary.changes(before, listed(own_group)) == []


def test_caches_and_compiled_files_are_nobody_s_fault(tmp_path):
    here = str(tmp_path)
    assert boundary._is_outside(f"{here}/notes.txt", [here], [])
    assert not boundary._is_outside(f"{here}/.cache/x", [here], [])
    assert not boundary._is_outside(f"{here}/m/__pycache__/x.pyc", [here], [])
    assert not boundary._is_outside(f"{here}/run/x", [here], [f"{here}/run"])
    assert boundary._is_outside(f"{here}/run_2/x", [here], [f"{here}/run"])
    assert not boundary._is_outside("/elsewhere/x", [here], [])


# -------------------------------------------------------------------------------------- the record


def test_a_run_records_what_it_cost_and_what_it_used(run):
    record = run("speaks_shell")
    assert record["status"] == "ok", record["reason"]
    assert record["peak_rss_mb"] > 20
    assert record["seconds_total"] > 0
    assert len(record["output_sha256"]) == 64
    assert record["versions"]["anndata"]
    assert record["attempts"] == 1


def as_module(name, **parts):
    module = types.ModuleType(name)
    module.__dict__.update(parts)
    return module


def test_the_device_is_what_the_imported_framework_says_it_used(monkeypatch):
    cuda = types.SimpleNamespace(
        is_initialized=lambda: True, max_memory_allocated=lambda: 2e9, get_device_name=lambda: "X",
    )  # fmt: skip
    device = types.SimpleNamespace(
        device_kind="Y", memory_stats=lambda: {"peak_bytes_in_use": 3_000_000_000}
    )
    for name in ("torch", "tensorflow", "jax", "jax._src.xla_bridge"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert worker._device_and_gpu_peak() == ("cpu", 0.0)
    monkeypatch.setitem(sys.modules, "jax", as_module("jax", local_devices=lambda: [device]))
    assert worker._device_and_gpu_peak() == ("cpu", 0.0), "imported, and never asked for a device"
    bridge = as_module("jax._src.xla_bridge", backends_are_initialized=lambda: True)
    monkeypatch.setitem(sys.modules, "jax._src.xla_bridge", bridge)
    assert worker._device_and_gpu_peak() == ("Y", 3000)
    monkeypatch.setitem(sys.modules, "torch", as_module("torch", cuda=cuda))
    assert worker._device_and_gpu_peak() == ("X", 2000)


def test_a_newer_run_removes_the_older_output(house, groups, tmp_path):
    (tmp_path / "output.h5ad").write_text("an older one")
    card, group = house.methods["raises"], groups("denoising")
    fit(
        card, "raises", "denoising", group / "problem", group / "solution", tmp_path,
        seed=0, params={}, resources=card.resources,
    )  # fmt: skip
    assert not (tmp_path / "output.h5ad").exists()


def test_the_child_needs_no_package_that_only_its_parent_needs():
    """It may live in an environment of its own."""
    code = (
        "import sys, dgnbench.runner.worker;"
        "print(sorted({'psutil', 'yaml', 'snakemake', 'filelock', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_a_family_knows_its_members(tmp_path):
    child = subprocess.Popen(["sh", "-c", "sleep 600 & sleep 600"], start_new_session=True)
    family = Family(child.pid, "x")
    wait_for(lambda: len(family.members(now=True)) == 3)
    assert 0 < family.memory_mb(1e9) < 100
    family.end()
    child.wait()
    assert family.members(now=True) == []


# ------------------------------------------------------------------------------------------- retry


@pytest.fixture
def finished(tmp_path):
    results = tmp_path / "results" / "b"
    statuses = ["ok", "timeout", "failed", "failed", "declined"]
    for number, status in enumerate(statuses):
        folder = results / "denoising" / "d" / "r0" / f"m{number}"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"status": status}))
        (folder / "history.csv").write_text("epoch\n")
    (results / "denoising" / "d" / "r0" / "scores.csv").write_text("")
    return results


def files_below(folder):
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def test_retry_takes_away_the_records_of_those_statuses_and_the_table_behind_them(finished):
    before = files_below(finished)
    assert retry(finished, ["timeout", "failed"]) == {"timeout": 1, "failed": 2}
    gone = {f"denoising/d/r0/m{number}/run.json" for number in (1, 2, 3)}
    assert before - files_below(finished) == {*gone, "denoising/d/r0/scores.csv"}
    assert retry(finished, ["timeout", "failed"]).total() == 0


def test_retry_of_an_unknown_status_names_the_nearest(finished):
    with pytest.raises(DgnbenchError, match="no status named 'time_out'; did you mean 'timeout'"):
        retry(finished, ["time_out"])
    with pytest.raises(DgnbenchError, match="no run has a record there"):
        retry(finished.parent, ["failed"])


def test_retry_waits_for_a_running_workflow(finished):
    import fcntl

    lock = finished.parents[1] / ".snakemake" / "dgnbench.lock"
    lock.parent.mkdir()
    with lock.open("w") as handle:
        handle.write("4711")
        handle.flush()
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(DgnbenchError, match="another workflow \\(process 4711\\) is running"):
            retry(finished, ["failed"])
    assert retry(finished, ["failed"])["failed"] == 2


# ------------------------------------------------------------------------------- plan and tables

SMALL = {
    "benchmark": "b",
    "tasks": ["denoising"],
    "datasets": {"pbmc68k_reduced": None},
    "methods": ["pca"],
}


def test_the_config_says_how_often_a_status_is_tried_again():
    assert make_plan(SMALL).retries == {"out_of_memory": 1, "timeout": 0, "lost": 1}
    plan = make_plan({**SMALL, "retries": {"timeout": 2}, "resources": {"pca": {"runtime": 7}}})
    assert plan.retries == {"out_of_memory": 1, "timeout": 2, "lost": 1}
    assert plan.granted("pca", 3).runtime == 21
    for wrong, said in (({"time_out": 1}, "'time_out'"), ({"failed": 1}, "unknown key 'failed'")):
        with pytest.raises(CardError, match=said):
            make_plan({**SMALL, "retries": wrong})


def test_a_run_that_was_begun_and_never_recorded_is_a_lost_row():
    plan = make_plan(SMALL)
    told = [{"attempt": 1, "status": "lost", "reason": "ended by SIGTERM"}]
    row = collecting._missing_run(plan, plan.runs[0], "no score: x", told)
    assert (row["status"], row["reason"], row["attempts"]) == ("lost", "ended by SIGTERM", 1)
    row = collecting._missing_run(plan, plan.runs[0], "no split: x", [])
    assert (row["status"], row["reason"]) == ("failed", "no split: x")
