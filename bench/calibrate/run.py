"""How far calibrations of one machine lie apart: `caisson calibrate` several times, one after the other.

    python bench/calibrate/run.py --output bench/calibrate/NAME.json [--repeats 5]

Needs what the train image holds.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def numbers(rates: dict) -> dict[str, float]:
    """Each rate by its name."""
    found = {f"matmul {kind}": value for kind, value in rates["matmul_tflops"].items()}
    return found | {name: rates[name] for name in ("memory_gib", "host_gib", "collective_gib", "launch_us") if rates[name] is not None}


def main() -> None:
    """Measure and compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as store:
        for _ in range(options.repeats):
            began = time.monotonic()
            done = subprocess.run(
                [sys.executable, "-m", "entrypoint", "calibrate", "--store", store, "--json"], cwd=ROOT, capture_output=True, text=True, check=True
            )
            runs.append({"seconds": round(time.monotonic() - began, 1), "rates": json.loads(done.stdout)})
            print(runs[-1], flush=True)
    found = {}
    for name in numbers(runs[0]["rates"]):
        values = [numbers(run["rates"])[name] for run in runs]
        middle = statistics.median(values)
        found[name] = {"median": middle, "spread": round((max(values) - min(values)) / middle, 4)}
    options.output.write_text(json.dumps({"rates": found, "runs": runs}, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
