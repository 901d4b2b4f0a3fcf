"""Runs in the train image: makes the rows, times the tokenizer alone and the stage over them, watches its memory, kills it.

`inside.py MODEL WORK rate|memory|kill`. Prints one JSON object.
"""

import hashlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

from entrypoint.run.events import Events
from entrypoint.run.gate_pass import GatePass
from entrypoint.run.prepare import load_renderer, read_positions
from entrypoint.run.quiet import hush
from entrypoint.run.row_files import read_files
from entrypoint.run.rows import read_rows
from schemas.job import PrepareJob, RowsJob, Task

MEGABYTES = 20
REPEATS = 5
KILLS = 6
LETTERS = (400, 6000)
"""Shortest and longest answer."""


def write_rows(path: Path, megabytes: int) -> int:
    """Conversations of text and code as it lies in the image, shuffled and cut by a fixed seed; rows written."""
    pages = [p for ending in ("*.py", "*.md", "*.txt", "*.rst") for p in sorted(Path(sysconfig.get_paths()["purelib"]).rglob(ending))]
    chance = random.Random(17)
    chance.shuffle(pages)
    rows, left, round_ = 0, megabytes * 2**20, 0
    with path.open("w", encoding="utf-8") as out:
        while left > 0:
            round_ += 1
            for page in pages:
                text = page.read_text(encoding="utf-8", errors="ignore")
                at = 0
                while at + LETTERS[0] < len(text) and left > 0:
                    size = chance.randint(*LETTERS)
                    question, answer = text[at : at + 200], text[at + 200 : at + size]
                    at += size
                    if not answer.strip() or not question.strip() or "<|" in question + answer:  # templates in Python files: the gate rejects them
                        continue
                    question = f"{round_}.{rows} {question}"  # a second round is no repetition
                    line = json.dumps({"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}) + "\n"
                    out.write(line)
                    left -= len(line)
                    rows += 1
                if left <= 0:
                    break
    return rows


def task(model: Path, work: Path, data: str, output: Path) -> Task:
    """The stage over one folder of rows."""
    job = PrepareJob(
        train=(RowsJob(path=data, source="/data/rows.jsonl", format="auto"),), validation_share=0.05, loss_on="assistant", max_length=8192, too_long="drop",
        max_rejected=0.01, seed=17,
    )  # fmt: skip
    output.mkdir(parents=True, exist_ok=True)
    return Task(
        name="b", job=job, inputs={"model": str(model), "data": str(work)}, output=str(output), events=str(work / "e.jsonl"), summary=str(work / "s.json")
    )


def clear(folder: Path) -> None:
    for path in folder.glob("*"):
        path.unlink()


def encode(call: Callable[..., list], texts: list[str]) -> tuple[int, float, float]:
    """Tokens, seconds and core seconds of the tokenizer alone."""
    start, spent = time.monotonic(), time.process_time()
    tokens = sum(len(e) for at in range(0, len(texts), 512) for e in call(texts[at : at + 512], add_special_tokens=False))
    return tokens, time.monotonic() - start, time.process_time() - spent


def rate(model: Path, work: Path) -> dict:
    """Seconds of the tokenizer's encode_batch alone, on texts that lie ready, and of rows to shards; one after the other, several times."""
    hush()
    rows = write_rows(work / "small" / "rows.jsonl", MEGABYTES)
    wanted = task(model, work, "small", work / "out")
    renderer = load_renderer(model, wanted.job, work)
    texts = [r.text for row in read_rows(work / "small", "x") for r in renderer.render(row)]
    trials = []
    for _ in range(REPEATS):
        tokens, alone, alone_spent = encode(renderer.backend.encode_batch, texts)
        _, fast, fast_spent = encode(renderer.backend.encode_batch_fast, texts)
        clear(work / "out")
        start, spent = time.monotonic(), time.process_time()
        GatePass(wanted, wanted.job, renderer, Events(work / "e.jsonl"), read_files, read_positions(model)).run()
        whole, whole_spent = time.monotonic() - start, time.process_time() - spent
        trials.append(
            {
                "encode_batch_seconds": round(alone, 3),
                "rows_to_shards_seconds": round(whole, 3),
                "ratio": round(alone / whole, 4),
                "encode_batch_core_seconds": round(alone_spent, 3),
                "rows_to_shards_core_seconds": round(whole_spent, 3),
                "core_ratio": round(alone_spent / whole_spent, 4),
                "encode_batch_fast_seconds": round(fast, 3),
                "encode_batch_fast_core_seconds": round(fast_spent, 3),
                "core_ratio_to_fast": round(fast_spent / whole_spent, 4),
            }
        )
        print(trials[-1], tokens, file=sys.stderr)
    return {
        "rows": rows,
        "tokens": tokens,
        "bytes": (work / "small" / "rows.jsonl").stat().st_size,
        "trials": trials,
        "median_ratio": statistics.median(t["ratio"] for t in trials),
        "median_core_ratio_to_fast": statistics.median(t["core_ratio_to_fast"] for t in trials),
        "median_core_ratio": statistics.median(t["core_ratio"] for t in trials),
    }


def start_leaf(work: Path, wanted: Task) -> subprocess.Popen:
    path = work / "task.json"
    path.write_text(wanted.model_dump_json())
    return subprocess.Popen([sys.executable, "-m", "entrypoint.run.prepare", str(path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def memory(model: Path, work: Path) -> dict:
    """Peak resident memory of the stage's process at one and at ten times the data."""
    found = {}
    for name, megabytes in (("1x", MEGABYTES), ("10x", 10 * MEGABYTES)):
        (work / name).mkdir()
        rows = write_rows(work / name / "rows.jsonl", megabytes)
        output = work / f"out-{name}"
        start = time.monotonic()
        process = start_leaf(work, task(model, work, name, output))
        _, _, usage = os.wait4(process.pid, 0)
        said = process.stdout.read()
        assert (work / "s.json").is_file(), said
        (work / "s.json").unlink()
        found[name] = {"megabytes": megabytes, "rows": rows, "peak_mib": round(usage.ru_maxrss / 1024, 1), "seconds": round(time.monotonic() - start, 1)}
        print(found[name], file=sys.stderr)
    process = subprocess.run(
        [sys.executable, "-c", "import resource, torch, transformers, pyarrow; from transformers import AutoModelForCausalLM; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {**found, "imports_alone_mib": round(int(process.stdout) / 1024, 1)}


def kill(model: Path, work: Path) -> dict:
    """kill -9 at chance moments, then to the end: are the files those of a run that was never stopped?"""
    (work / "k").mkdir()
    write_rows(work / "k" / "rows.jsonl", 3 * MEGABYTES)
    calm, disturbed = work / "calm", work / "disturbed"
    start = time.monotonic()
    process = start_leaf(work, task(model, work, "k", calm))
    said, _ = process.communicate()
    assert process.returncode == 0, said
    seconds = time.monotonic() - start
    chance, kills, gone_on = random.Random(17), [], []
    for _ in range(KILLS):
        process = start_leaf(work, task(model, work, "k", disturbed))
        moment = chance.uniform(0.25, 0.6) * seconds
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        said, _ = process.communicate()
        kills.append({"after_seconds": round(moment, 1), "ended": process.returncode, "parts": len(list(disturbed.glob("part-*.json")))})
        gone_on += [line for line in said.splitlines() if "goes on" in line]
        if process.returncode == 0:
            break
    process = start_leaf(work, task(model, work, "k", disturbed))
    said, _ = process.communicate()
    assert process.returncode == 0, said
    same = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in calm.iterdir()} == {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in disturbed.iterdir()
    }
    return {
        "undisturbed_seconds": round(seconds, 1),
        "kills": kills,
        "goes_on": gone_on + [line for line in said.splitlines() if "goes on" in line],
        "files": len(list(calm.iterdir())),
        "byte_identical": same,
    }


def main() -> None:
    model, work, what = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    for folder in ("small", "out"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    print(json.dumps({"rate": rate, "memory": memory, "kill": kill}[what](model, work)))


if __name__ == "__main__":
    main()
