"""Merging random models, tensor by tensor and by peft. Runs inside.py in the export image and writes merge.json.

run.py [SIZE...]      1b 3b 8b; needs the images, and on the disk four times the model. FOLDER: where the models go, /tmp by default.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
IMAGE = f"caisson/export:{os.environ.get('TAG', 'dev')}-cpu"
WAYS = {"1b": ("tensors", "peft-bf16", "peft-fp32"), "3b": ("tensors", "peft-bf16"), "8b": ("tensors",)}
"""What fits into 24 GiB beside other work."""


def run(folder: Path, *arguments: str) -> dict[str, object]:
    """What inside.py said; an end by the kernel for memory is a result."""
    command = ["docker", "run", "--rm", "--user", f"{os.getuid()}", "--network", "none", "--tmpfs", "/tmp:size=1g,mode=1777", "--env", "PYTHONPATH=/src"]
    command += ["--env", "OMP_NUM_THREADS=1", "--volume", f"{ROOT}:/src:ro", "--volume", f"{folder}:/w", "--workdir", "/src"]
    command += ["--entrypoint", "/opt/caisson/venv/bin/python", IMAGE, "bench/merge/inside.py", *arguments]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return json.loads(said.stdout.splitlines()[-1]) if said.returncode == 0 else {"exit": said.returncode}


def main(sizes: list[str]) -> None:
    """Measure and write, size by size: what was measured before stays."""
    path = HERE / "merge.json"
    result = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=os.environ.get("FOLDER", "/tmp")) as name:
            folder = Path(name)
            found: dict[str, object] = {"date": datetime.now(UTC).date().isoformat(), "cores": os.cpu_count(), "load_average_before": os.getloadavg()[0]}
            found["made"] = run(folder, "make", f"/w/{size}", size)
            for way in WAYS[size]:
                found[way] = run(folder, way, f"/w/{size}", f"/w/{way}")
                if way.startswith("peft"):
                    found[f"{way} beside tensors"] = run(folder, "same", "/w/tensors", f"/w/{way}")
                    shutil.rmtree(folder / way, ignore_errors=True)
            result[size] = found
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:] or list(WAYS))
