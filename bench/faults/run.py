"""The fault bench: both columns, inside the train image, without a network. Writes result.json beside this file.

    run.py [--columns transformers,caisson] [--parts faults,end,full,damage,kills,control] [--count PART=N ...] [--rows FILE] [--again]

Rows that are in FILE already are not run again: stop it whenever you like. `--again` begins anew. Every trial by default, which takes hours on two cores.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from report import notes, table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "faults"
IMAGE = f"{os.environ.get('REGISTRY', 'caisson')}/train:{os.environ.get('TAG', 'dev')}-cpu"
PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "safetensors")
PARTS = ("faults", "end", "full", "damage", "kills", "control")
HARDENED = (
    "--user", "10001:10001", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "none", "--shm-size", "1g",
    "--tmpfs", "/tmp:mode=1777,size=1g", "--tmpfs", "/work:mode=1777,size=2g", "--tmpfs", "/full:mode=1777,size=64m",
)  # fmt: skip
"""As Compose runs it, but without an init: the trials are the container's first process."""


def main() -> None:
    """Run what has no row yet, then write what is known."""
    asked = _arguments()
    subprocess.run(["bash", str(HERE / "build.sh")], check=True)
    asked.rows.parent.mkdir(parents=True, exist_ok=True)
    if asked.again:
        asked.rows.unlink(missing_ok=True)
    for column in asked.columns.split(","):
        _run(column, {part: asked.count.get(part, "all") for part in asked.parts.split(",")}, asked.rows)
    rows = read(asked.rows)
    if asked.result:
        _write(rows, asked.result)
    print(table(rows), *notes(rows), sep="\n")


def read(path: Path) -> list[dict]:
    """Rows so far; of two with one id the later one counts. A line that was cut short does not."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        found[row["id"]] = row
    return list(found.values())


def _run(column: str, parts: dict, rows: Path) -> None:
    """One container for one column."""
    request = BUILD / f"request-{os.getpid()}.json"
    request.write_text(json.dumps({"column": column, "parts": parts, "done": [r["id"] for r in read(rows)]}), encoding="utf-8")
    name = f"caisson-faults-{os.getpid()}"
    mounts = ["--volume", f"{ROOT}:/src:ro", "--volume", f"{BUILD}/inject:/faults/inject:ro", "--volume", f"{request}:/faults/request.json:ro"]
    inside = ["--entrypoint", "/opt/caisson/venv/bin/python", IMAGE, "/src/bench/faults/inside.py", "/faults/request.json"]
    command = ["docker", "run", "--rm", "--name", name, *HARDENED, *mounts, "--env", "PYTHONPATH=/src", "--env", "OMP_NUM_THREADS=1", *inside]
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, rows.open("a", encoding="utf-8") as stream:
            assert process.stdout is not None
            for line in process.stdout:
                stream.write(line)
                stream.flush()
        if process.returncode:
            sys.exit(f"faults: the trials ended with exit code {process.returncode}; the same command goes on")
    finally:
        subprocess.run(["docker", "rm", "--force", name], capture_output=True)
        request.unlink()


def _write(rows: list[dict], path: Path) -> None:
    """One row a line, so that a difference can be read."""
    rows = [row | {"attempts": [{k: v for k, v in a.items() if k != "said"} for a in row["attempts"]]} if "attempts" in row else row for row in rows]
    head = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.release().partition('-')[0]}",
        "versions": _versions(),
    }
    lines = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in sorted(rows, key=lambda r: r["id"]))
    path.write_text(json.dumps(head)[:-1] + f', "rows": [\n{lines}\n]}}\n', encoding="utf-8")


def _versions() -> dict[str, str]:
    """Of what both columns train with, as the image has it."""
    code = f"import importlib.metadata as m, json; print(json.dumps({{name: m.version(name) for name in {PACKAGES}}}))"
    command = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "/opt/caisson/venv/bin/python", IMAGE, "-c", code]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--columns", default="transformers,caisson")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument(
        "--count", nargs="*", default=[], metavar="PART=N", help="a seeded choice of N trials of a part; each: one a kind; 0: none; or a pattern of names"
    )
    parser.add_argument("--rows", type=Path, default=BUILD / "rows.jsonl")
    parser.add_argument("--result", type=Path, help="where result.json goes; of the usual rows, beside this file")
    parser.add_argument("--again", action="store_true")
    asked = parser.parse_args()
    asked.result = asked.result or (HERE / "result.json" if asked.rows == BUILD / "rows.jsonl" else None)
    asked.count = dict(pair.split("=", 1) for pair in asked.count)
    return asked


if __name__ == "__main__":
    main()
