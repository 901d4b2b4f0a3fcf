"""Runs inside.py in the train image, without a network, and writes result.json and the table of README.md."""

import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
IMAGE = "caisson/train:dev-cpu"


def table(kinds: dict) -> str:
    """A line a kind."""
    lines = ["| row | Caisson | TRL |", "|---|---|---|"]
    for kind, found in kinds.items():
        ours, trl = found["caisson"], found["trl"]
        verdict = "caught" if ours["caught_by_cause"] else "NOT caught"
        reason = ours["said"].split(": ", 1)[1] if ours["said"].startswith("rows.jsonl") else ours["said"]
        told = f"error: {trl['said'].split(' <- ')[-1]}" if trl["outcome"] == "error" else trl["outcome"]
        if trl["outcome"] == "error" and not trl["names_the_line"]:
            told += " (no line)"
        if trl.get("learned_tokens") and "trained" in trl["outcome"]:
            told += f", {trl['learned_tokens']} tokens learned"
        lines.append("| " + " | ".join(re.sub(r"[|\n`]", " ", cell)[:120] for cell in (kind, f"{verdict}: {reason}", told)) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure and write."""
    command = ["docker", "run", "--rm", "--user", "0", "--network", "none", "--tmpfs", "/tmp:size=4g", "--env", "PYTHONPATH=/src", "--env", "HOME=/tmp"]
    command += ["--volume", f"{ROOT}:/src:ro", "--workdir", "/src", "--entrypoint", "/opt/caisson/venv/bin/python", IMAGE, "bench/bad_rows/inside.py"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    result = {"date": datetime.now(UTC).date().isoformat(), **json.loads(said)}
    (HERE / "result.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    readme = HERE / "README.md"
    text = readme.read_text(encoding="utf-8")
    head, _, rest = text.partition("<!-- table -->\n")
    _, _, tail = rest.partition("<!-- end -->")
    readme.write_text(f"{head}<!-- table -->\n{table(result['kinds'])}\n<!-- end -->{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
