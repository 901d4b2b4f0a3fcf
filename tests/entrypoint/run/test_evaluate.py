"""The leaf of the stage evaluate, a process as the executor starts it, before a server that fails, hangs or changes and a disk that fills."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")
np = pytest.importorskip("numpy")
from leaf_process import ROOT  # noqa: E402
from tiny import tokenizer  # noqa: E402

from entrypoint.run.control import KEY, put  # noqa: E402
from entrypoint.run.shards import ShardWriter  # noqa: E402
from entrypoint.run.template import Encoded  # noqa: E402
from schemas.evaluate_job import ASKED, TOLD, EvaluateJob, SideTold  # noqa: E402
from schemas.job import Task  # noqa: E402
from schemas.suite import SuiteJob  # noqa: E402

pytestmark = pytest.mark.image
QUESTIONS = 24
Say = Callable[[dict[str, Any]], Any]


class Bench:
    """Inputs of an evaluation in a folder, a server that answers as `say` says, and what stands for the service sides: two models behind one address."""

    def __init__(self, folder: Path, names: tuple[str, ...] = ("quiz",)):
        self.folder, self.output, self.control = folder, folder / "out", folder / "control"
        self.say: Say = lambda body: answer("yes")
        self.asked: list[dict[str, Any]] = []
        self.start, self.ended = 1, threading.Event()
        for name in ("out", "control", "prepared", "store/n/exports/e", "trained", *(f"suites/{at:02d}" for at in range(len(names)))):
            (folder / name).mkdir(parents=True)
        made = tokenizer()
        made.save_pretrained(folder / "store/n/exports/e")
        writer = ShardWriter(folder / "prepared", "validation", labelled=False)
        writer.add(Encoded(np.arange(5, 11, dtype=np.int32), np.array([0, 0, 0, 1, 1, 1], dtype=np.uint8)), True)
        writer.flush(0)
        for at in range(len(names)):
            rows = (json.dumps({"question": f"{names[at]} {n}?", "answer": "yes"}) + "\n" for n in range(QUESTIONS))
            (folder / f"suites/{at:02d}/q.jsonl").write_text("".join(rows))
        columns = {"question": "question", "answer": "answer", "group": "group"}
        suites = tuple(
            SuiteJob(
                name=name, kind="questions", source=f"/data/{name}.jsonl", path=f"{at:02d}", columns=columns, metric="exact_match", limit=None, max_tokens=8,
                seed=1, requests=4,
            )
            for at, name in enumerate(names)
        )  # fmt: skip
        job = EvaluateJob(
            rows="text", limit=10, seed=1, requests=4, most_unanswered=0.05, engine="vllm", engine_lock="", arguments=(), suites=suites,
            control_folder=str(self.control),
        )  # fmt: skip
        places = {"prepared": "prepared", "exported": "store/n/exports/e", "trained": "trained", "suites": "suites"}
        inputs = {role: str(folder / path) for role, path in places.items()}
        self.task = Task(name="n", job=job, inputs=inputs, output=str(self.output), events=str(folder / "events"), summary=str(folder / "summary"))
        put(self.control, KEY, "a-key")
        self._serve()

    def _serve(self) -> None:
        bench = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                bench.asked.append(body)
                said = bench.say(body)
                try:
                    self.send_response(said if isinstance(said, int) else 200)
                    self.end_headers()
                    self.wfile.write(b"broken" if isinstance(said, int) else json.dumps(said).encode())
                except OSError:
                    pass  # evaluate has gone

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.teller = threading.Thread(target=self._tell, daemon=True)
        self.teller.start()

    def _tell(self) -> None:
        beat = 0
        while not self.ended.wait(0.05):
            try:
                side = json.loads((self.control / ASKED).read_text())["side"]
            except OSError:
                continue
            beat += 1
            state = "ended" if side == "none" else "ready"
            url = f"http://127.0.0.1:{self.server.server_port}/v1"
            told = SideTold(state=state, side=side, start=self.start, url=url, served_name=f"n-{side}", length=512, engine="e 1", beat=beat)
            put(self.control, TOLD, told.model_dump_json())

    def begin(self) -> "subprocess.Popen[str]":
        path = self.folder / "task.json"
        path.write_text(self.task.model_dump_json())
        given = {"HOME": str(self.folder), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-m", "entrypoint.run.evaluate", str(path)]
        return subprocess.Popen(command, env=given, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self) -> tuple[int, str, str]:
        process = self.begin()
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def questions(self, suite: str, side: str) -> int:
        """How often a suite was asked of one side."""
        return sum(body["model"] == f"n-{side}" and body.get("messages", [{}])[0].get("content", "").startswith(suite) for body in self.asked)

    def until(self, count: int) -> None:
        """Wait until so many requests have come."""
        end = time.monotonic() + 40
        while len(self.asked) < count and time.monotonic() < end:
            time.sleep(0.01)

    def close(self) -> None:
        self.ended.set()
        self.teller.join()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, ("quiz", "more"))
    yield made
    made.close()


def answer(text: str) -> dict[str, Any]:
    return {"choices": [{"text": text, "message": {"content": text}, "finish_reason": "stop"}], "usage": {"completion_tokens": 1}}


def test_errors_of_the_server_are_asked_again_and_counted(bench: Bench) -> None:
    failed: set[str] = set()

    def once(body: dict[str, Any]) -> Any:
        if body["model"] == "n-base" and "messages" in body and body["messages"][0]["content"] not in failed and len(failed) < 3:
            failed.add(body["messages"][0]["content"])
            return 500
        return answer("yes")

    bench.say = once
    code, _, err = bench.run()
    assert code == 0, err
    report = json.loads((bench.output / "answers" / "quiz.base.json").read_text())
    assert report["retried"] == 3 and all(question["ended"] == "stop" for question in report["questions"]) and len(report["questions"]) == QUESTIONS
    assert json.loads((bench.folder / "summary").read_text())["summary"]["unanswered"] == 0


def test_a_suite_ends_early_when_too_much_fails_and_what_was_answered_is_kept(bench: Bench) -> None:
    bench.say = lambda body: 503 if "more" in body.get("messages", [{}])[0].get("content", "") else answer("yes")
    code, _, err = bench.run()
    assert (
        code == 1
        and "evaluate: more: " in err
        and "requests to the base model failed in all their tries" in err
        and "HTTP 503" in err
        and "docker compose logs sides" in err
    ), err
    assert bench.questions("more", "base") < QUESTIONS * 4 / 2, "the others are not asked four times each"
    first = bench.questions("quiz", "base")
    bench.say = lambda body: answer("yes")
    code, out, err = bench.run()
    assert code == 0 and "base: quiz: answered before" in out and bench.questions("quiz", "base") == first == QUESTIONS, err


@pytest.mark.long
def test_killed_between_its_halves_it_goes_on_with_what_is_missing(bench: Bench) -> None:
    slow = threading.Event()

    def slowly(body: dict[str, Any]) -> Any:
        slow.wait(0.03)
        return answer("yes")

    bench.say = slowly
    process = bench.begin()
    bench.until(2 * QUESTIONS + 12)  # the base is done, the tuned model is at its first suite
    process.kill()
    process.communicate()
    code, out, err = bench.run()
    assert code == 0 and "base: quiz: answered before" in out and "base: more: answered before" in out, out + err
    assert bench.questions("quiz", "base") == bench.questions("more", "base") == QUESTIONS < bench.questions("quiz", "tuned") <= 2 * QUESTIONS
    answers = sorted(path.name for path in (bench.output / "answers").iterdir())
    assert (
        answers == sorted(f"{suite}.{side}.json" for suite in ("own", "quiz", "more") for side in ("base", "tuned")) and (bench.output / "report.html").exists()
    )


@pytest.mark.long
def test_an_engine_that_was_lost_is_asked_all_of_the_suite_again(bench: Bench) -> None:
    def lost(body: dict[str, Any]) -> Any:
        if bench.start == 1 and bench.questions("quiz", "tuned") == 8:
            bench.start = 2
            time.sleep(0.3)
        return answer("yes" if bench.start == 2 else "no")

    bench.say = lost
    code, out, err = bench.run()
    assert code == 0 and "tuned: quiz: the engine was lost, and all is asked again" in out, out + err
    questions = json.loads((bench.output / "answers" / "quiz.tuned.json").read_text())["questions"]
    assert [question["answer"] for question in questions] == ["yes"] * QUESTIONS, "none is of the engine before"


def test_a_stop_while_the_server_hangs_ends_at_once_with_75(bench: Bench) -> None:
    hang = threading.Event()
    bench.say = lambda body: hang.wait(30) or answer("yes")
    process = bench.begin()
    bench.until(1)
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    hang.set()
    assert process.returncode == 75 and "run the same command again" in err and time.monotonic() - start < 20, "the server answers after 30 s"


def test_a_full_disk_ends_with_3(bench: Bench, request: pytest.FixtureRequest) -> None:
    small = Path("/small")
    if not small.is_dir():
        pytest.skip("needs the small file system of tests/image/run.sh")
    output, filler = small / "evaluated", small / "filler"
    output.mkdir()
    request.addfinalizer(lambda: filler.unlink(missing_ok=True))
    try:
        with filler.open("wb", buffering=0) as full:
            while True:
                full.write(bytes(4096))
    except OSError:
        pass
    bench.task = bench.task.model_copy(update={"output": str(output)})
    code, _, err = bench.run()
    assert code == 3 and "Traceback" not in err and str(output) in err, err
