"""How fast this device computes and moves: medians over repetitions, the least for the start of an operation, with sizes that fit the device."""

import statistics
import time
from collections.abc import Callable, Iterator

import torch

from schemas.rates import Number

GIB = 2**30
REPEATS = 7
WARM_UP = 2

LONG_ENOUGH = 0.02
"""Seconds: a product that takes less is measured with a larger matrix, since starting it would count too much."""

LARGEST = 16384
"""Rows of a matrix: three of them in fp32 take 3 GiB."""

SHARE = 0.1
"""Of the device's free memory that the largest tensors may take together."""

MATRIX_START = 512
SMALL_OPERATIONS = 500
ROUNDS = 20
"""Of so many small operations each; the least counts. Whatever else the host does makes a round longer and none shorter."""

WAKE_SECONDS = 1.5
"""A GPU that idles has turned its clocks down, to a fifth of their rate on an H100, and takes part of a second to turn them up."""

WAKE_SIZE = 4096
NUMBERS: tuple[tuple[Number, torch.dtype], ...] = (("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32))


def timed(work: Callable[[], object], device: torch.device, repeats: int = REPEATS, of: Callable[[list[float]], float] = statistics.median) -> float:
    """Seconds of one call: the median, or what else `of` makes of those that were measured."""
    found = []
    for at in range(WARM_UP + repeats):
        synchronize(device)
        began = time.perf_counter()
        work()
        synchronize(device)
        if at >= WARM_UP:
            found.append(time.perf_counter() - began)
    return of(found)


def synchronize(device: torch.device) -> None:
    """Until everything that was started has ended."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def wake(device: torch.device) -> None:
    """Until a GPU's clocks are up: it multiplies for a while, and nobody measures. A CPU needs none."""
    if device.type != "cuda":
        return
    size = min(WAKE_SIZE, _largest(device))
    matrix = torch.ones(size, size, device=device)
    until = time.perf_counter() + WAKE_SECONDS
    while time.perf_counter() < until:
        matrix @ matrix
        synchronize(device)


def matmul_tflops(device: torch.device) -> Iterator[tuple[Number, float]]:
    """TFLOP/s of a large square product by the precision of its inputs, those that the device has units for. On a CPU no fp16: nothing trains in it there."""
    for number, dtype in NUMBERS:
        if device.type == "cpu" and number == "fp16":
            continue
        if device.type == "cuda" and number == "bf16" and torch.cuda.get_device_capability() < (8, 0):
            continue
        yield number, _product(device, dtype)
    if device.type == "cuda" and torch.cuda.get_device_capability() >= (8, 9):
        yield "fp8", _product_fp8(device)


def _product(device: torch.device, dtype: torch.dtype) -> float:
    """Of matrices that grow until one product takes long enough."""
    size = MATRIX_START
    while True:
        left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        left @ right
        seconds = timed(lambda a=left, b=right: a @ b, device, 1)  # type: ignore[misc]
        if seconds >= LONG_ENOUGH or 2 * size > _largest(device):
            break
        size *= 2
    return 2 * size**3 / timed(lambda: left @ right, device) / 1e12


def _product_fp8(device: torch.device) -> float:
    """Row times column, as the units want it, with one scale a matrix."""
    size = min(8192, _largest(device))
    left, right = (torch.randn(size, size, device=device).to(torch.float8_e4m3fn) for _ in range(2))
    one = torch.ones((), device=device)
    return 2 * size**3 / timed(lambda: torch._scaled_mm(left, right.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16), device) / 1e12


def memory_gib(device: torch.device) -> float:
    """GiB a second that a copy within the device's memory reads and writes together. The tensors are far larger than any cache."""
    count = min(GIB // 4, free_bytes(device) // 30)
    source = torch.ones(count, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * count / timed(lambda: target.copy_(source), device) / GIB


def host_gib(device: torch.device) -> float | None:
    """GiB a second from page-locked host memory to the device; None on a CPU."""
    if device.type == "cpu":
        return None
    count = min(GIB // 4, free_bytes(device) // 30)
    source = torch.ones(count, dtype=torch.uint8).pin_memory()
    target = torch.empty(count, dtype=torch.uint8, device=device)
    return count / timed(lambda: target.copy_(source, non_blocking=True), device) / GIB


def launch_us(device: torch.device) -> float:
    """Microseconds of one small operation among many: what Python, torch and the driver take to start it. The least of several rounds."""
    one = torch.ones(1, device=device)

    def many() -> None:
        for _ in range(SMALL_OPERATIONS):
            one.add_(1)

    return timed(many, device, ROUNDS, min) / SMALL_OPERATIONS * 1e6


def free_bytes(device: torch.device) -> int:
    """Of the device's memory."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    import psutil

    return int(psutil.virtual_memory().available)


def _largest(device: torch.device) -> int:
    """Rows of the largest matrix of which three may be there, in fp32."""
    return int(min(LARGEST, (SHARE * free_bytes(device) / 12) ** 0.5))
