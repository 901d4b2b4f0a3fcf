"""The stage prepare beside the tokenizer alone: speed, memory, and the bytes after kills. Runs inside.py in the train image and writes result.json.

Needs the images and the demo's model (`make images model`).
"""

import json
import os
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
IMAGE = "caisson/train:dev-cpu"
PYTHON = "/opt/caisson/venv/bin/python"
SPEC = """\
spec: 1
name: b
model: {source: /src/models/smollm2-135m-instruct.gguf}
data: {train: [{source: /src/data/harbor/train.jsonl}]}
method: {kind: sft}
"""


def run(store: Path, *arguments: str) -> str:
    """Output of Python in the image, over this checkout."""
    command = ["docker", "run", "--rm", "--user", f"{os.getuid()}", "--network", "none", "--tmpfs", "/tmp:size=6g,mode=1777", "--env", "PYTHONPATH=/src"]
    command += ["--volume", f"{ROOT}:/src:ro", "--volume", f"{store}:/w", "--workdir", "/src", "--entrypoint", PYTHON, IMAGE]
    return subprocess.run([*command, *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> None:
    """Measure and write."""
    result = {"date": datetime.now(UTC).date().isoformat(), "cores": os.cpu_count(), "load_average_before": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        (store / "spec.yaml").write_text(SPEC)
        run(store, "-m", "entrypoint", "fetch", "/w/spec.yaml", "--store", "/w/store")
        (model,) = (p.name for p in (store / "store" / "models").iterdir() if not p.name.startswith("."))
        for what in ("rate", "memory", "kill"):
            result[what] = json.loads(run(store, "bench/prepare/inside.py", f"/w/store/models/{model}", "/tmp/work", what))
    (HERE / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
