"""Inside the image evaluate: each benchmark by Caisson and by EvalScope's own command, twice by turns. Prints one JSON document as its last line."""

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from entrypoint.run.benchmarks.asking import ask_benchmark
from entrypoint.run.endpoint import Endpoint
from schemas.suite import SuiteJob

QUESTIONS, AT_ONCE, ROUNDS, SEED, MAX_TOKENS = 200, 8, 2, 17, 64
WORDS = ["north", "south", "east", "west", "crane", "berth", "tide", "pilot", "gull", "rope", "anchor", "lamp"]

SERVER = """
import hashlib, json, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        number = int(hashlib.sha256(body["messages"][-1]["content"].encode()).hexdigest(), 16)
        time.sleep(0.02)
        text = ("ANSWER: " + "ABCD"[number % 4], "ANSWER: \\\\boxed{%d}" % (number % 3), "I do not know.")[(number >> 8) % 3]
        said = json.dumps({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1, "completion_tokens": 7, "total_tokens": 8}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
    def log_message(self, *_): pass
class Server(ThreadingHTTPServer):
    request_queue_size = 64
server = Server(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""

BY_HAND = """
import json, sys
from evalscope.api.registry import BENCHMARK_REGISTRY
from evalscope.config import TaskConfig
from evalscope.run import run_task
name, folder, url, work, at_once, seed, tokens = sys.argv[1:]
adapter = BENCHMARK_REGISTRY.get(name).data_adapter
adapter.load = lambda self: self.load_from_disk(use_local_loader=True)
run_task(TaskConfig(model="m", datasets=[name], dataset_args={name: {"dataset_id": folder, **({"subset_list": ["ARC-Easy"]} if name == "arc" else {})}}, eval_type="openai_api",
    api_url=url, api_key="k", work_dir=work, no_timestamp=True, eval_batch_size=int(at_once), seed=int(seed), generation_config={"temperature": 0, "max_tokens": int(tokens), "seed": int(seed)}))
"""


def rows_of(name: str, chance: random.Random) -> dict[str, list[dict[str, object]]]:
    """Invented questions in the data set's form, by file."""

    def words(count: int) -> str:
        return " ".join(chance.choices(WORDS, k=count))

    if name == "arc":
        return {
            "ARC-Easy_test": [
                {"question": words(9) + "?", "choices": {"text": [words(2) for _ in range(4)], "label": list("ABCD")}, "answerKey": chance.choice("ABCD")}
                for _ in range(QUESTIONS)
            ]
        }
    if name == "hellaswag":
        return {
            "default_validation": [
                {"ctx_a": words(9), "ctx_b": words(3), "endings": [words(4) for _ in range(4)], "label": str(chance.randrange(4))} for _ in range(QUESTIONS)
            ]
        }
    maths = [{"question": words(12) + "?", "answer": f"{words(5)}\n#### {chance.randrange(3)}"} for _ in range(QUESTIONS)]
    return {"main_test": maths, "main_train": maths[:4]}


def by_hand(name: str, folder: Path, url: str, work: Path) -> dict[str, float]:
    subprocess.run([sys.executable, "-c", BY_HAND, name, str(folder), url, str(work), *map(str, (AT_ONCE, SEED, MAX_TOKENS))], check=True, stdout=sys.stderr)
    found = {}
    for file in work.glob("reviews/*/*.jsonl"):
        part = file.stem.removeprefix(f"{name}_")
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            score = row["sample_score"]["score"]
            found[f"{part}-{row['index']}"] = float(next(iter(score["value"].values())))
    return found


def compare(name: str, url: str, place: Path) -> dict[str, object]:
    folder = place / name / "00"
    folder.mkdir(parents=True)
    for file, rows in rows_of(name, random.Random(name)).items():
        (folder / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    job = SuiteJob(name=name, kind="benchmark", source=f"hf://x/{name}", path="00", columns={}, metric="accuracy", limit=None, max_tokens=MAX_TOKENS, seed=SEED, requests=AT_ONCE, subsets=("ARC-Easy",) if name == "arc" else ())  # fmt: skip
    ours, theirs, differing, right = [], [], set(), 0.0
    for turn in range(ROUNDS):
        start = time.monotonic()
        result = ask_benchmark(job, place / name, Endpoint(url, "k", "m"), "tuned")
        ours.append(round(time.monotonic() - start, 2))
        start = time.monotonic()
        other = by_hand(name, folder, url, place / f"{name}-{turn}")
        theirs.append(round(time.monotonic() - start, 2))
        mine = {question.id: question.score for question in result.questions}
        assert len(other) == len(mine) == QUESTIONS, (len(other), len(mine))
        differing |= {id for id in {**mine, **other} if mine.get(id) != other.get(id)}
        right = sum(score or 0 for score in mine.values()) / len(mine)
    ratio = round(statistics.median(ours) / statistics.median(theirs), 3)
    return {
        "questions": QUESTIONS,
        "differing": len(differing),
        "accuracy": right,
        "caisson_seconds": ours,
        "evalscope_seconds": theirs,
        "ratio": ratio,
        "tool": result.tool,
    }


if __name__ == "__main__":
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert server.stdout
    url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
    with tempfile.TemporaryDirectory() as work:
        found = {name: compare(name, url, Path(work)) for name in ("arc", "hellaswag", "gsm8k")}
    server.kill()
    print(json.dumps({"at_once": AT_ONCE, "rounds": ROUNDS, "benchmarks": found}))
