"""The machine's own floor: how fast it multiplies matrices, and so how fast the model could be at best."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from ftx import machine
from ftx_serving.telemetry import without_telemetry

SIZE = 1024
"""Rows, columns and depth of the matrices multiplied: large enough for the full rate, small enough for a cache."""
OPERATIONS = 2.0 * SIZE**3


@dataclass(frozen=True)
class Rates:
    """The best rate seen of each type, operations (multiplications and additions) a second; None: not measured."""

    fp32: float
    int8: float | None

    def to_dict(self) -> dict[str, float | None]:
        return {"fp32": float(f"{self.fp32:.4g}"), "int8": None if self.int8 is None else float(f"{self.int8:.4g}")}


def measure_rates(seconds: float) -> Rates:
    """fp32 by numpy's BLAS and int8 by OpenVINO, `seconds` each: the best, since a floor is what can be reached."""
    return Rates(_fp32(seconds), _int8(seconds) if find_spec("openvino") else None)


def share_of_floor(
    rows_per_second: float, lengths: Sequence[int], operations: Mapping[str, Any] | None, precision: str, rates: Rates
) -> float | None:
    """The time that the matrix products take at the machine's rate, as a share of the time measured.

    `operations` is what the export counted: `per_text`, `per_token`, `per_token_squared`. In int8 all linear layers
    count as int8, and attention (what grows with the length squared) as fp32. None where a rate, or the count, is
    missing. `lengths` are of the texts, in tokens: padding is no part of the floor.
    """
    if not operations:
        return None
    tokens = np.asarray(lengths, dtype=np.float64)
    linear = operations["per_text"] + operations["per_token"] * float(tokens.mean())
    attention = operations["per_token_squared"] * float((tokens**2).mean())
    rate = {"fp32": rates.fp32, "int8": rates.int8}.get(precision)
    return None if rate is None else rows_per_second * (linear / rate + attention / rates.fp32)


def _fp32(seconds: float) -> float:
    """BLAS with its own threads, or a product on each core at once: whichever is faster."""
    left, right = (np.random.default_rng(seed).random((SIZE, SIZE), dtype=np.float32) for seed in (0, 1))
    cores = machine.cores()
    with ThreadPoolExecutor(cores) as pool:
        together = _best(lambda: list(pool.map(lambda _: left @ right, range(cores))), seconds / 2)
    return max(OPERATIONS / _best(lambda: left @ right, seconds / 2), cores * OPERATIONS / together)


def _int8(seconds: float) -> float:
    """A linear layer in int8, its input quantized within the call, as in an exported model."""
    from ftx_serving.runtimes.openvino import cpu_settings

    with without_telemetry():
        import openvino as ov
        from openvino import opset13 as op

    def number(value: float) -> Any:
        return op.constant(np.array(value, dtype=np.float32))

    draw = np.random.default_rng(0)
    given = op.parameter([SIZE, SIZE], np.float32)
    levels = op.fake_quantize(given, number(-1.28), number(1.27), number(-1.28), number(1.27), 256)
    weights = op.constant(draw.integers(-127, 128, (SIZE, SIZE)).astype(np.int8))
    scales = op.constant(np.full((SIZE, 1), 0.01, dtype=np.float32))
    product = op.matmul(levels, op.multiply(op.convert(weights, np.float32), scales), False, True)
    compiled = ov.Core().compile_model(ov.Model([product], [given], "rate"), "CPU", cpu_settings())
    request = compiled.create_infer_request()
    values = draw.uniform(-1, 1, (SIZE, SIZE)).astype(np.float32)
    return OPERATIONS / _best(lambda: request.infer([values]), seconds)


def _best(work: Callable[[], object], seconds: float) -> float:
    """The shortest of the calls that fit into `seconds`, behind one to warm up; at least two."""
    work()
    taken: list[float] = []
    while len(taken) < 2 or sum(taken) < seconds:
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)
