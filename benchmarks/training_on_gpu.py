"""own_scvi on a GPU: is it right, what does a step take, and how does it stand beside SCVI there.

    python benchmarks/training_on_gpu.py --rounds 3

Needs a GPU, and scvi-tools for the comparison. In one process, one part after the other:

1. likelihood and gradients in float32 on the GPU against float64 on the CPU, fresh random inputs;
2. a step recorded as a CUDA graph against the same step launched kernel by kernel: equal weights;
3. minibatches of counts that do not fit on the GPU against those of counts that lie there;
4. microseconds a training step, by CUDA events, and what share of the memory's bandwidth that is;
5. SCVI and own_scvi in turn, on the same counts, epochs, batch size and seeds, each on the same GPU.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
import training as beside

from dgnbench import nn
from dgnbench.nn import counts as counts_module
from dgnbench.nn import training
from dgnbench.nn.counts import Counts
from dgnbench.nn.likelihoods import log_likelihood

GPU = torch.device("cuda")


def relative(found: torch.Tensor, exact: torch.Tensor) -> float:
    """‖found − exact‖ / ‖exact‖, on the CPU in float64."""
    found, exact = found.detach().cpu().double(), exact.detach().cpu().double()
    return float((found - exact).norm() / exact.norm())


def likelihood_is_right() -> None:
    """Value and gradients of NB and ZINB, float32 on the GPU against float64 on the CPU."""
    rng = np.random.default_rng()
    x = rng.negative_binomial(0.5, 0.02, (256, 1000)) * (rng.random((256, 1000)) < 0.3)
    draws = rng.normal(0, 2, (2, 256, 1000)), np.exp(rng.normal(0, 2, 1000))
    for zero_inflated in (False, True):
        found = []
        for device, dtype in ((GPU, torch.float32), (torch.device("cpu"), torch.float64)):
            logits, inflation = (torch.tensor(d, device=device, dtype=dtype) for d in draws[0])
            theta = torch.tensor(draws[1], device=device, dtype=dtype)
            given = [logits, theta, *([inflation] if zero_inflated else [])]
            given = [part.requires_grad_() for part in given]
            total = log_likelihood(Counts.of(x, device), *given)
            found.append([total, *torch.autograd.grad(total.sum(), given)])
        errors = [relative(a, b) for a, b in zip(*found, strict=True)]
        print(f"likelihood, zinb {zero_inflated}: errors {', '.join(f'{e:.1e}' for e in errors)}")
        assert max(errors) < 1e-5


def recording_changes_nothing() -> None:
    """A model without randomness, trained with and without a CUDA graph."""
    x = torch.randn(1000, 50, device=GPU)
    weights = []
    for recorded in (False, True):
        nn.start(0)
        model = torch.nn.Sequential(
            torch.nn.Linear(50, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1)
        )
        model.to(GPU)
        optimiser = torch.optim.Adam(model.parameters(), 0.01, capturable=True, fused=True)

        def step(
            rows: torch.Tensor, epoch: torch.Tensor, model: Any = model, optimiser: Any = optimiser
        ) -> dict[str, torch.Tensor]:
            target = x[rows].square().sum(1, keepdim=True) * training.warm_up(epoch, 4)
            loss = (model(x[rows]) - target).square().mean()
            training.minimise(optimiser, loss)
            return {"loss": loss}

        training.train(
            [model], [optimiser], step, torch.arange(1000, device=GPU), epochs=6, batch_size=128,
            recorded=recorded,
        )  # fmt: skip
        weights.append(torch.cat([w.flatten() for w in model.parameters()]))
    error = relative(*weights)
    print(f"recorded against not: relative difference of weights {error:.1e}")
    assert error < 1e-6


def rows_from_the_host_are_those_of_the_device(data: Any) -> None:
    """`Counts` whose rows lie in page-locked memory."""
    here = Counts.of(data.X, GPU)
    room, counts_module.ROOM = counts_module.ROOM, 0.0
    there = Counts.of(data.X, GPU)
    counts_module.ROOM = room
    assert (here.home.type, there.home.type) == ("cuda", "cpu")
    rows = torch.randperm(len(here))[:128]
    for one, other in zip(here[rows.to(GPU)].padded(), there[rows].padded(), strict=True):
        assert torch.equal(one, other)
    print("rows from the host: equal")


def bandwidth() -> float:
    """Bytes a second that a device-to-device copy of 2 GiB moves, read and written."""
    a = torch.empty(2**31, dtype=torch.uint8, device=GPU)
    b = torch.empty_like(a)
    times = []
    for _ in range(10):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        b.copy_(a)
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1000)
    return 2 * 2**31 / statistics.median(times)


def steps(data: Any, method: Any, likelihood: str, fast: float) -> None:
    """Median time of a training step, recorded, launched one by one, and with rows from the host."""
    genes = data.n_vars
    products = 2 * genes * 128 * 2  # weights of the first and the last layer, twice
    for name, recorded, room in (
        ("recorded", True, 0.5),
        ("launched", False, 0.5),
        ("host", False, 0),
    ):
        times, plain, counts_module.ROOM = [], method.train, room

        def timed(
            modules: Any, optimisers: Any, step: Any, cells: Any, as_graph: bool = recorded,
            times: list[float] = times, plain: Any = plain, **options: Any,
        ) -> None:  # fmt: skip
            events = []

            def with_events(rows: torch.Tensor, epoch: torch.Tensor) -> Any:
                begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                begin.record()
                told = inner(rows, epoch)
                end.record()
                events.append((begin, end))
                return told

            inner = training._Recorded(step, options["batch_size"]) if as_graph else step
            plain(modules, optimisers, with_events, cells, **(options | {"recorded": False}))
            torch.cuda.synchronize()
            times += [a.elapsed_time(b) * 1000 for a, b in events[100:]]

        method.train = timed
        beside.train_own(data, method, likelihood=likelihood, epochs=4, seed=0)
        method.train, counts_module.ROOM = plain, 0.5
        us = statistics.median(times)
        # Adam reads and writes each weight, its gradient and two moments (28 bytes); each dense array of
        # cells x genes (4 bytes) is read or written some 20 times by the likelihood and the products
        moved = 28 * products + 4 * 128 * genes * 20
        print(
            f"step, {likelihood}, {name:<9} {us:7.0f} us; {moved / 1e6:.0f} MB at least, "
            f"{moved / fast * 1e6:.0f} us at the bandwidth of a copy: {moved / fast / us * 1e8:.0f} %"
        )


def kernels(data: Any, method: Any, likelihood: str) -> None:
    """Which kernels a step launches, unrecorded."""
    from torch.profiler import ProfilerActivity, profile

    plain = method.train

    def unrecorded(*args: Any, **options: Any) -> None:
        plain(*args, **(options | {"recorded": False}))

    method.train = unrecorded
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        beside.train_own(data[:1280].copy(), method, likelihood=likelihood, epochs=2, seed=0)
    method.train = plain
    rows = sorted(found.key_averages(), key=lambda k: -k.self_device_time_total)
    n = sum(k.count for k in rows) / 20
    print(
        f"kernels a step, {likelihood}: {n:.0f}, {sum(k.self_device_time_total for k in rows) / 20:.0f} us"
    )
    for k in rows[:14]:
        print(f"  {k.self_device_time_total / 20:6.1f} us  {k.count / 20:5.1f}x  {k.key[:100]}")


def main() -> None:
    """Print each part as it ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--likelihoods", nargs="+", default=["nb", "zinb"])
    parser.add_argument("--kernels", action="store_true", help="list the kernels of a step")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    fast = bandwidth()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, copy {fast / 1e12:.2f} TB/s")
    likelihood_is_right()
    recording_changes_nothing()
    data = beside.simulate(given.cells + beside.HELD_OUT, given.genes)
    train, held_out = data[: given.cells].copy(), data[given.cells :].copy()
    rows_from_the_host_are_those_of_the_device(train)
    method = beside.own_method()
    for likelihood in given.likelihoods:
        if given.kernels:
            kernels(train, method, likelihood)
        steps(train, method, likelihood, fast)
    if not given.rounds:
        return
    logging.disable(logging.WARNING)

    def fit(which: str, cells: Any, likelihood: str, epochs: int, seed: int) -> Any:
        options = {"likelihood": likelihood, "epochs": epochs, "seed": seed}
        if which == "scvi":
            return beside.train_scvi(cells, accelerator="gpu", **options)
        return beside.train_own(cells, method, **options)

    for likelihood in given.likelihoods:
        rows: dict[str, list[dict[str, float]]] = {"scvi": [], "own_scvi": []}
        for which in rows:
            fit(which, train[:256].copy(), likelihood, 1, 0)
        for seed in range(given.rounds):
            for which, done in rows.items():
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
                wall, cpu = time.perf_counter(), time.process_time()
                model = fit(which, train, likelihood, given.epochs, seed)
                torch.cuda.synchronize()
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                peak = torch.cuda.max_memory_allocated() / 2**20
                if which == "scvi":
                    model = beside.with_weights_of(model.cpu(), sys.modules["net"], 3)
                counts, batch = Counts.of(held_out.X, GPU), method._batch(held_out, GPU)
                elbo = beside.held_out_elbo(model.to(GPU), counts, batch)
                done.append({"wall_s": wall, "cpu_s": cpu, "gpu_mb": peak, "elbo": elbo})
                print(f"{likelihood:<5} {which:<9} seed {seed}  {json.dumps(done[-1])}", flush=True)
        for what in ("wall_s", "cpu_s", "gpu_mb", "elbo"):
            pairs = [a[what] / b[what] for a, b in zip(*rows.values(), strict=True)]
            print(
                f"{likelihood:<5} scvi / own_scvi, {what:<7} median {statistics.median(pairs):.3f} "
                f"(min {min(pairs):.3f}, max {max(pairs):.3f})"
            )


if __name__ == "__main__":
    main()
