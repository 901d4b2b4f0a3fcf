"""The supervisor with a real engine over a model that has learned its rows: one boot for many looks, then what ends an engine."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served_model import ROOT, USER_KEY, Served, Store

from entrypoint.run.canary import LOOK_SECONDS
from entrypoint.run.seal import faults, read_manifest

pytestmark = [pytest.mark.image, pytest.mark.serving, pytest.mark.timeout(900)]

QUESTION = [{"role": "user", "content": "what is the word of the harbour, case 0?"}]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    made = Store(tmp_path_factory.mktemp("store"))
    yield made
    made.remove()


def read_only(folder: Path) -> Path:
    """In fact, for the engine's user: it is bound by modes in the image."""
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return folder


@pytest.fixture(scope="module")
def served(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(store.root, read_only(store.export("aaaa")), tmp_path_factory.mktemp("served") / "x")
    try:
        made.wait_for("ready")
        yield made
    finally:
        made.remove()


def test_the_gate_was_passed_before_it_was_ready(served: Served, store: Store) -> None:
    (gate,) = served.events("parity")
    assert (gate["verdict"], gate["of"], gate["equal"], gate["ties"]) == ("passed", 6, 6, 0), gate
    assert gate["ends"] == sum(prompt["ended"] for prompt in store.golden["prompts"]) > 0
    assert 0 < gate["largest_difference"] < 0.2
    assert gate["at"] <= served.events("ready")[0]["at"]
    assert "serve: parity: tiny: aaaa: 6 golden prompts read alike, 6 answered token for token; the end token was honoured in" in served.said()


def test_what_the_gateway_is_told(served: Served) -> None:
    said = served.active()
    assert (said["state"], said["upstream"], said["models"]) == ("ready", f"127.0.0.1:{served.job.ports[0]}", ["tiny"])
    assert said["retry_after"] >= 5


def test_answers_for_the_gateway_s_key_and_a_user_s(served: Served) -> None:
    gateway = (served.control / "control").read_text()
    for key in (gateway, USER_KEY):
        status, said = served.ask("/v1/chat/completions", {"model": "tiny", "messages": QUESTION, "temperature": 0, "max_tokens": 30}, key)
        assert status == 200
        assert said["choices"][0]["message"]["content"] == "The word of the harbour is amber."
        assert said["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("path", ["/health", "/metrics", "/tokenize", "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/invocations", "/version"])
def test_control_is_shut_to_the_gateway_and_to_users(served: Served, path: str) -> None:
    body = None if path in ("/health", "/metrics", "/version") else {}
    assert served.ask(path, body)[0] == 401
    for key in ((served.control / "control").read_text(), USER_KEY):
        assert served.ask(path, body, key)[0] == 404


def test_no_key_is_in_an_argument_an_environment_or_a_log(served: Served) -> None:
    keys = [(served.control / "control").read_text(), USER_KEY]
    group = [p for p in Path("/proc").iterdir() if p.name.isdigit()]
    seen = served.said()
    for process in group:
        try:
            seen += (process / "cmdline").read_text() + (process / "environ").read_text()
        except OSError:
            continue
    assert "entrypoint.run.serve_vllm" in seen and "VLLM_NO_USAGE_STATS=1" in seen
    assert [key for key in keys if key in seen] == []


def test_log_probabilities_of_a_user(served: Served) -> None:
    """The engine would compile for them, and there is no compiler."""
    body = {"model": "tiny", "messages": QUESTION, "max_tokens": 4, "logprobs": True, "top_logprobs": 5}
    status, said = served.ask("/v1/chat/completions", body, USER_KEY)
    assert status == 200 and len(said["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == 5


def ready(served: Served) -> int:
    return subprocess.run([sys.executable, "-m", "entrypoint.run.ready", str(served.control)], cwd=ROOT, capture_output=True).returncode


def test_ready_as_compose_asks(served: Served) -> None:
    assert ready(served) == 0


def test_looks_for_a_sign_of_life_stand_in_no_log(served: Served) -> None:
    time.sleep(2 * LOOK_SECONDS)
    assert "caisson-canary" not in served.said() and '"GET /metrics' not in served.said() and '"GET /health' not in served.said()


def test_an_engine_that_hangs_is_seen_within_30_s_and_restarted(served: Served) -> None:
    before, old = served.active()["generation"], served.engine()
    os.kill(old, signal.SIGSTOP)
    assert served.wait_for("loading", after=before) < 30
    assert ready(served) == 1
    served.wait_for("ready", after=before)
    assert served.engine() != old and not Path(f"/proc/{old}").exists()
    assert "no sign of life" in served.events("lost")[-1]["why"]
    assert ready(served) == 0


def test_an_engine_whose_core_hangs_behind_an_open_port(served: Served) -> None:
    """Its port answers /health as if nothing were wrong."""
    served.wait_for("ready")
    before = served.active()["generation"]
    cores = served.engine_processes("VLLM::EngineCor")
    assert len(cores) == 1
    os.kill(cores[0], signal.SIGSTOP)
    assert served.wait_for("loading", after=before) < 30
    served.wait_for("ready", after=before)
    assert not Path(f"/proc/{cores[0]}").exists()


def test_the_cache_holds_as_much_at_every_start(served: Served) -> None:
    capacities = {event["cache_tokens"] for event in served.events("ready")}
    assert len(served.events("ready")) >= 3
    assert len(capacities) == 1 and capacities.pop() > 0


def test_the_model_s_folder_is_only_read_and_the_cache_is_written(served: Served, store: Store) -> None:
    folder = store.root / "tiny" / "exports" / "aaaa"
    manifest = read_manifest(folder)
    assert manifest and faults(folder, manifest, hashes=True) == []
    assert {p.name for p in folder.iterdir()} == {f.path for f in manifest.files} | {"manifest.json"}
    assert [p for p in (store.root / "cache").glob("lock-*/vllm/**/*") if p.is_file()], "what vLLM has found out about the model's class"


def test_sigterm_lets_a_request_in_flight_finish(served: Served) -> None:
    answers: list[Any] = []
    body = {"model": "tiny", "messages": QUESTION, "max_tokens": 150, "ignore_eos": True}
    asking = threading.Thread(target=lambda: answers.append(served.ask("/v1/chat/completions", body, USER_KEY)))
    asking.start()
    time.sleep(0.3)
    engine = served.engine_processes()
    assert engine
    assert served.stop() == 0, served.tail()
    asking.join()
    assert answers[0][0] == 200 and answers[0][1]["choices"][0]["finish_reason"] == "length"
    assert served.events("drained")[0]["by_itself"]
    assert served.active()["state"] == "loading", "the gateway sends nobody here any more"
    assert not [pid for pid in engine if Path(f"/proc/{pid}").exists()]
