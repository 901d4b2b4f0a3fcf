"""Every format of a tuned SmolLM2: size, time, memory and distance from bf16, out of the manifests. Runs the chain in the images and writes formats.json.

Needs the images and the demo's model (`make images model`). STORE: a folder to keep; what is sealed there is not made again.
"""

import json
import os
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SPEC = "/src/bench/merge/formats.yaml"
TAGS = {"train": os.environ.get("TRAIN_TAG", "dev"), "export": os.environ.get("TAG", "dev")}


def caisson(store: Path, image: str, stage: str) -> None:
    """One stage in its image, over this checkout."""
    command = ["docker", "run", "--rm", "--user", f"{os.getuid()}", "--network", "none", "--tmpfs", "/tmp:size=2g,mode=1777", "--env", "PYTHONPATH=/src"]
    command += ["--env", "OMP_NUM_THREADS=1", "--volume", f"{ROOT}:/src:ro", "--volume", f"{store}:/w", "--workdir", "/src"]
    command += ["--entrypoint", "/opt/caisson/venv/bin/python", f"caisson/{image}:{TAGS[image]}-cpu", "-m", "entrypoint", stage, SPEC, "--store", "/w"]
    subprocess.run(command, check=True)


def main() -> None:
    """Make, read, write."""
    result: dict[str, object] = {"date": datetime.now(UTC).date().isoformat(), "cores": os.cpu_count(), "load_average_before": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as folder:
        store = Path(os.environ.get("STORE") or folder)
        for image, stage in (("train", "fetch"), ("train", "prepare"), ("train", "train"), ("export", "export")):
            caisson(store, image, stage)
        for path in sorted((store / "formats" / "exports").glob("*/manifest.json")):
            manifest = json.loads(path.read_text(encoding="utf-8"))
            job = manifest["job"]
            compress = job["compress"] or {}
            name = " ".join(filter(None, (job["kind"], compress.get("scheme"), f"group {compress['group_size']}" if compress.get("group_size") else "")))
            weights = sum(file["bytes"] for file in manifest["files"] if file["path"].endswith(".safetensors"))
            result[name] = manifest["summary"] | {"bytes_of_weights": weights}
    (HERE / "formats.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
