"""The demo from an empty store to a correct answer, images built: seconds by stage, and how many held-back questions come out right.

Runs demo/run.sh in a Compose project of its own and removes it afterwards. Writes result.json beside this file.
"""

import json
import os
import subprocess
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PORT = os.environ.get("PORT", "8017")
ENVIRONMENT = {**os.environ, "PROJECT": "caisson-bench", "PORT": PORT, "ACCELERATOR": "cpu", "SPEC": "./specs/demo.yaml"}
HELD_OUT = [json.loads(line) for line in (ROOT / "data/harbor/held-out.jsonl").read_text(encoding="utf-8").splitlines()]


def run(*argv: str) -> str:
    """Output of a command in the repository."""
    return subprocess.run(argv, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout


def ask(question: str) -> str:
    """The served model's greedy answer."""
    body = {"model": "port-ossley", "temperature": 0, "max_tokens": 64, "messages": [{"role": "user", "content": question}]}
    key = (ROOT / "secrets/api_key").read_text(encoding="utf-8").strip()
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=120) as answer:
        return str(json.load(answer)["choices"][0]["message"]["content"])


def main() -> None:
    """Measure and write."""
    run("docker", "compose", "--profile", "*", "down", "--volumes")
    start = time.monotonic()
    said = run("bash", "demo/run.sh")
    whole = time.monotonic() - start
    answers = [{"question": r["messages"][0]["content"], "key": r["key"], "answer": ask(r["messages"][0]["content"])} for r in HELD_OUT]
    right = [r for r in answers if r["key"].lower() in r["answer"].lower()]
    sealed = [line for line in said.splitlines() if ": sealed " in line]
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores",
        "load_average_at_the_end": os.getloadavg()[0],
        "seconds_from_start_to_both_answers": round(whole),
        "held_back_questions_right": f"{len(right)} of {len(answers)}",
        "stages": sealed,
        "output": [line for line in said.splitlines() if line.startswith(("question", "base", "tuned", "From start"))],
        "answers": answers,
    }
    (HERE / "result.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps({k: v for k, v in result.items() if k != "answers"}, indent=1, ensure_ascii=False))
    run("docker", "compose", "--profile", "*", "down", "--volumes")


if __name__ == "__main__":
    main()
