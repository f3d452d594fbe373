"""The random numbers of JAX, in NumPy: with them our k-means begins where that of scib-metrics does.

Threefry-2x32 with 20 rounds (Salmon et al., 10.1145/2063384.2063405), counted as by JAX 0.5 and later
(`jax_threefry_partitionable`). A key is two uint32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
Key = Any


def key(seed: int) -> Key:
    """``jax.random.PRNGKey(seed)`` of a seed below 2**32."""
    return np.array([0, seed], dtype=np.uint32)


def split(of: Key, n: int = 2) -> list[Key]:
    """``jax.random.split``: `n` new keys."""
    return list(np.stack(_threefry(of, n), axis=1))


def uniform(of: Key, n: int, low: float = 0.0) -> Any:
    """``jax.random.uniform``: (n,) float32 from `low` to 1."""
    floats = ((bits(of, n) >> np.uint32(9)) | np.uint32(0x3F800000)).view(np.float32) - np.float32(
        1
    )
    lowest = np.float32(low)
    return np.maximum(lowest, floats * (np.float32(1) - lowest) + lowest)


def permutation(of: Key, n: int) -> Any:
    """``jax.random.permutation`` of 0 to n - 1."""
    order = np.arange(n)
    for _ in range(int(np.ceil(3 * np.log(max(1, n)) / np.log(2**32 - 1)))):
        of, now = split(of)
        order = order[np.argsort(bits(now, n), kind="stable")]
    return order


def choice(of: Key, n: int, weights: Any) -> Any:
    """``jax.random.choice`` of `n` places without replacement, with weights (places,) that add up to 1."""
    gumbel = -np.log(-np.log(uniform(of, len(weights), float(np.finfo(np.float32).tiny))))
    with np.errstate(divide="ignore"):
        return np.argsort(-(gumbel + np.log(weights)), kind="stable")[:n]


def bits(of: Key, n: int) -> Any:
    """(n,) uint32."""
    one, other = _threefry(of, n)
    return one ^ other


def _threefry(of: Key, n: int) -> tuple[Any, Any]:
    count = np.arange(n, dtype=np.uint64)
    x = [(count >> np.uint64(32)).astype(np.uint32), count.astype(np.uint32)]
    keys = [of[0], of[1], of[0] ^ of[1] ^ np.uint32(0x1BD11BDA)]
    with np.errstate(over="ignore"):
        x = [x[0] + keys[0], x[1] + keys[1]]
        for i in range(5):
            for turn in ROTATIONS[i % 2]:
                x[0] = x[0] + x[1]
                x[1] = (x[1] << np.uint32(turn)) | (x[1] >> np.uint32(32 - turn))
                x[1] ^= x[0]
            x = [x[0] + keys[(i + 1) % 3], x[1] + keys[(i + 2) % 3] + np.uint32(i + 1)]
    return x[0], x[1]
