"""Leaf of `caisson calibrate`: measures the machine and keeps the rates in the store. `python -m entrypoint.run.calibrate JOB`, JOB being JSON."""

import sys
import time
from pathlib import Path

from entrypoint import __version__
from entrypoint.run.disk_speed import measure, remember_disk
from entrypoint.run.leaf import versions
from entrypoint.run.rates_file import keep_rates
from schemas.calibrate_job import CalibrateJob
from schemas.errors import CaissonError, MachineError
from schemas.rates import Number, Rates

LOOK_SECONDS = 1.0
QUIET = 15.0
"""Percent of all cores that other programs may take without being named: in bench/calibrate rates lay a factor of two apart on a busy machine."""


def calibrate(job: CalibrateJob) -> Rates:
    """Measure; each rate is said as it comes. Raises MachineError where the store cannot be written."""
    import psutil
    import torch

    from entrypoint.run import rates
    from entrypoint.run.collective_rate import collective_gib

    busy = psutil.cpu_percent(interval=LOOK_SECONDS)
    if busy > QUIET:
        _say(job, "the CPU is already busy", f"{busy:.0f}%: these rates are of what is left; measure again when it is quiet")
    device = torch.device(job.device)
    rates.wake(device)
    products: dict[Number, float] = {}
    for number, speed in rates.matmul_tflops(device):
        products[number] = round(speed, 5)
        _say(job, f"matrix product in {number}", f"{speed:.3g} TFLOP/s")
    memory = rates.memory_gib(device)
    _say(job, "memory, read and written", f"{memory:.1f} GiB/s")
    host = rates.host_gib(device)
    if host is not None:
        _say(job, "host to device", f"{host:.1f} GiB/s")
    launch = rates.launch_us(device)
    _say(job, "one small operation", f"{launch:.1f} us")
    collective = collective_gib(job.device, job.ranks)
    if collective is not None:
        _say(job, f"all-reduce between {job.ranks} processes", f"{collective:.2f} GiB/s")
    found = Rates(
        device=job.name, matmul_tflops=products, memory_gib=round(memory, 3), host_gib=host and round(host, 3), collective_gib=collective and round(collective, 4),
        launch_us=round(launch, 3), measured_at=round(time.time(), 1), image_lock=job.image_lock, source=f"caisson {__version__}, torch {versions()['torch']}",
    )  # fmt: skip
    _keep(job, found)
    return found


def _keep(job: CalibrateJob, found: Rates) -> None:
    root = Path(job.store)
    try:
        root.mkdir(parents=True, exist_ok=True)
        disk = measure(root)
        _say(job, "disk of the store, written and flushed", f"{disk:.2f} GiB/s")
        remember_disk(root, disk)
        keep_rates(root, found)
    except OSError as error:
        raise MachineError(f"the store {root} cannot be written: {error.strerror}", "name another with --store, or give it to this user") from None


def _say(job: CalibrateJob, what: str, value: str) -> None:
    """Beside the JSON, where that is wanted."""
    print(f"  {what:<40} {value}", file=sys.stderr if job.as_json else sys.stdout, flush=True)


def main() -> int:
    """Measure and print; the exit code."""
    job = CalibrateJob.model_validate_json(sys.argv[1])
    began = time.monotonic()
    try:
        found = calibrate(job)
    except CaissonError as error:
        print(f"caisson: {error}", file=sys.stderr)
        return error.exit_code
    if job.as_json:
        print(found.model_dump_json(indent=2))
    else:
        print(f"calibrate: {job.name} measured in {time.monotonic() - began:.0f} s; the next plan counts with it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
