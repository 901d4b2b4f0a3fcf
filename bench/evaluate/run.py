"""Benchmarks through Caisson beside EvalScope run by hand: the same questions, the same server, the scores of each question, and the seconds.

    python bench/evaluate/run.py        # needs the image evaluate; some minutes

The server is a process on loopback inside the container: it answers after 20 ms with what the question's digest decides, the same for both.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMAGE = f"{os.environ.get('REGISTRY', 'caisson')}/evaluate:{os.environ.get('TAG', 'dev')}-cpu"

if __name__ == "__main__":
    argv = [
        "docker", "run", "--rm", "--init", "--user", "10001:10001", "--read-only", "--cap-drop", "ALL", "--network", "none", "--tmpfs", "/tmp:mode=1777,size=1g",
        "--volume", f"{ROOT}:/src:ro", "--workdir", "/src", "--env", "PYTHONPATH=/src", "--env", "HOME=/tmp",
        "--entrypoint", "/opt/caisson/venv/bin/python", IMAGE, "bench/evaluate/both.py",
    ]  # fmt: skip
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    (Path(__file__).parent / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for name, one in result["benchmarks"].items():
        print(f"{name}: {one['questions']} questions, {one['differing']} scores differ, seconds {one['caisson_seconds']} beside {one['evalscope_seconds']}")
    sys.exit(any(one["differing"] for one in result["benchmarks"].values()))
