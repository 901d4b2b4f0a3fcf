"""A new export takes over from a real engine that serves: beside it, in its place, and not at all."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from served_model import USER_KEY, Served, Store, learned

from entrypoint.run import store as stores
from entrypoint.run.promotion import promote, read_current, rollback

pytestmark = [pytest.mark.image, pytest.mark.serving, pytest.mark.timeout(900)]

WRONG_TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
ASKED = {"model": "tiny", "messages": [{"role": "user", "content": "what is the word of the harbour, case 0?"}], "temperature": 0, "max_tokens": 30}


class Gateway(threading.Thread):
    """What lies outside: it takes over every generation, and says so."""

    def __init__(self, folder: Path):
        super().__init__(daemon=True)
        self.folder, self.stopped = folder, threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(0.2):
            try:
                generation = json.loads((self.folder / "active.json").read_text())["generation"]
            except FileNotFoundError:
                continue
            draft = self.folder / ".gateway.draft"
            draft.write_text(json.dumps({"generation": generation}))
            draft.rename(self.folder / "gateway.json")

    def leave(self) -> None:
        self.stopped.set()
        self.join()
        (self.folder / "gateway.json").unlink()


class Client(threading.Thread):
    """Asks again and again, and keeps what came."""

    def __init__(self, served: Served):
        super().__init__(daemon=True)
        self.served, self.stopped, self.answers = served, threading.Event(), list[tuple[int, str]]()

    def run(self) -> None:
        while not self.stopped.wait(0.2):
            try:
                status, said = self.served.ask("/v1/chat/completions", ASKED, USER_KEY)
                self.answers.append((status, said["choices"][0]["message"]["content"]))
            except OSError as error:
                self.answers.append((0, str(error)))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    made = Store(tmp_path_factory.mktemp("store"))
    yield made
    made.remove()


@pytest.fixture(scope="module")
def served(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    first = store.export("aaaa")
    promote(stores.Store(store.root), "tiny", "aaaa", "export")
    made = Served(store.root, first, tmp_path_factory.mktemp("served") / "x", handover="overlap", keep=1)
    try:
        made.wait_for("ready")
        yield made
    finally:
        made.remove()


def current(store: Store) -> str:
    found = read_current(stores.Store(store.root), "tiny")
    assert found
    return found.export


def wait(served: Served, kind: str, count: int, seconds: float = 240) -> None:
    """Until an event has been written so many times."""
    end = time.monotonic() + seconds
    while len(served.events(kind)) < count:
        assert time.monotonic() < end, served.tail()
        time.sleep(0.1)


def test_the_old_one_answers_until_the_new_one_has_passed_its_gate(served: Served, store: Store) -> None:
    store.export("bbbb")
    gateway, client = Gateway(served.control), Client(served)
    gateway.start()
    client.start()
    time.sleep(1)
    promote(stores.Store(store.root), "tiny", "bbbb", "promote")
    wait(served, "drained", 1)
    client.stopped.set()
    client.join()
    gateway.leave()
    assert set(client.answers) == {(200, "The word of the harbour is amber.")}, served.tail()
    assert len(client.answers) > 10
    assert (served.active()["state"], served.active()["upstream"]) == ("ready", f"127.0.0.1:{served.job.ports[1]}")
    (drained,), (promoted,) = served.events("drained"), served.events("promoted")
    assert drained["export"] == "aaaa" and drained["by_itself"] and drained["gateway_followed"]
    assert (promoted["export"], promoted["former"]) == ("bbbb", "aaaa")
    assert [e["export"] for e in served.events("parity")] == ["aaaa", "bbbb"]
    assert promoted["at"] >= served.events("parity")[1]["at"]


def test_a_wrong_template_is_not_promoted_and_the_old_one_goes_on(served: Served, store: Store) -> None:
    store.export("cccc", template=WRONG_TEMPLATE)
    gateway, client = Gateway(served.control), Client(served)
    gateway.start()
    client.start()
    time.sleep(0.5)
    promote(stores.Store(store.root), "tiny", "cccc", "promote")
    wait(served, "promotion_failed", 1)
    client.stopped.set()
    client.join()
    gateway.leave()
    assert {status for status, _ in client.answers} == {200}
    end = time.monotonic() + 10
    while current(store) != "bbbb" and time.monotonic() < end:
        time.sleep(0.1)
    found = read_current(stores.Store(store.root), "tiny")
    assert found and (found.export, found.by) == ("bbbb", "serve")
    assert found.refused[0].export == "cccc" and "token 1 of its prompt" in found.refused[0].why
    assert served.active()["upstream"] == f"127.0.0.1:{served.job.ports[1]}"


def test_without_room_another_model_s_weights_come_and_go_and_the_old_one_comes_back(served: Served, store: Store) -> None:
    """Also where no gateway would find a second port."""
    import torch

    other, _ = learned(20, seed=5)
    store.export("dddd", model=other.to(torch.bfloat16))
    before = served.active()["generation"]
    promote(stores.Store(store.root), "tiny", "dddd", "promote")
    served.wait_for("loading", after=before)
    served.wait_for("ready", after=before)
    failed = served.events("promotion_failed")[-1]
    assert (failed["export"], failed["serves"]) == ("dddd", "bbbb") and "of its answer" in failed["what"]
    assert current(store) == "bbbb"
    status, said = served.ask("/v1/chat/completions", ASKED, USER_KEY)
    assert (status, said["choices"][0]["message"]["content"]) == (200, "The word of the harbour is amber.")


def test_back(served: Served, store: Store) -> None:
    before = served.active()["generation"]
    rollback(stores.Store(store.root), "tiny")
    served.wait_for("loading", after=before)
    served.wait_for("ready", after=before)
    assert served.events("ready")[-1]["export"] == "aaaa" == current(store)
    assert served.stop() == 0
