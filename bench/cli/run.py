"""How long the command line takes when there is nothing to compute: `validate`, `plan`, and each stage that is up to date.

Fresh processes, medians. The stages of specs/cpu-smoke.yaml are run once through Compose, in a project of their own, and then timed inside
the train image, since starting a container is the engine's time. Writes result.json beside this file.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RUNS = 9
SPEC = "./specs/cpu-smoke.yaml"
ENVIRONMENT = {**os.environ, "PROJECT": "caisson-bench-cli", "SPEC": SPEC, "ACCELERATOR": "cpu"}
VOLUME = "caisson-bench-cli_store"
IMAGE = f"{os.environ.get('REGISTRY', 'caisson')}/train:{os.environ.get('TAG', 'dev')}-cpu"

INSIDE = """
import json, statistics, subprocess, sys, time
found = {}
for stage in ("fetch", "prepare", "train", "export"):
    seconds = []
    for _ in range(int(sys.argv[1]) + 1):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "entrypoint", stage], capture_output=True, text=True)
        seconds.append(time.perf_counter() - start)
        assert done.returncode == 0 and "up to date" in done.stdout, done
    found[stage] = seconds[1:]
print(json.dumps(found))
"""


def seconds(*arguments: str) -> list[float]:
    """Wall seconds of RUNS fresh processes after one that is not counted."""
    found = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "entrypoint", *arguments], cwd=ROOT, capture_output=True, check=True)
        found.append(time.perf_counter() - start)
    return found[1:]


def heavy_modules() -> list[str]:
    """Which of the heavy libraries a plan imports; none, if all is well."""
    code = "import sys, entrypoint.cli; print([m for m in ('torch', 'transformers', 'vllm', 'trl', 'numpy') if m in sys.modules])"
    return list(json.loads(subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.replace("'", '"')))


def main() -> None:
    """Measure and write."""
    raw = {
        "validate": seconds("validate", "specs/demo.yaml"),
        "plan": seconds("plan", "specs/zero3-70b-8gpu.yaml", "--facts", "tests/facts/h100x8.json", "--store", "/nonexistent/store"),
    }
    for stage in ("fetch", "prepare", "train", "export"):
        subprocess.run(["docker", "compose", "run", "--rm", "--no-deps", stage], cwd=ROOT, env=ENVIRONMENT, capture_output=True, check=True)
    mounts = [
        "--volume",
        f"{VOLUME}:/store",
        "--volume",
        f"{ROOT}/{SPEC}:/spec.yaml:ro",
        "--volume",
        f"{ROOT}/models:/models:ro",
        "--volume",
        f"{ROOT}/data:/data:ro",
    ]
    python = ["--entrypoint", "/opt/caisson/venv/bin/python", IMAGE, "-c", INSIDE, str(RUNS)]
    inside = subprocess.run(["docker", "run", "--rm", "--network", "none", "--tmpfs", "/tmp", *mounts, *python], capture_output=True, text=True, check=True)
    raw |= {f"{stage}, up to date": values for stage, values in json.loads(inside.stdout).items()}
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
        "load_average": os.getloadavg()[0],
        "imported_by_the_command_line": heavy_modules(),
        "median_seconds": {name: round(statistics.median(values), 3) for name, values in raw.items()},
        "raw_seconds": {name: [round(v, 4) for v in values] for name, values in raw.items()},
    }
    (HERE / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["median_seconds"], indent=1))
    subprocess.run(["docker", "compose", "--profile", "*", "down", "--volumes"], cwd=ROOT, env=ENVIRONMENT, capture_output=True, check=True)


if __name__ == "__main__":
    main()
