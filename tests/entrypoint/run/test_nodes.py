"""Two nodes, rehearsed on one machine: each a `caisson train` of its own, with a launcher, over one store. tests/e2e has them in containers."""

import json
import os
import re
import shutil
import signal
import socket
import time

import pytest

pytest.importorskip("trl")

from resumed import outcome
from tiny import caisson, kill_tree, run, spec

pytestmark = [pytest.mark.image, pytest.mark.timeout(900)]

SETTINGS = "{epochs: 10, learning_rate: 1.0e-2, batch_tokens: 240, checkpoint: {every: 4}}"
LORA = "{kind: lora, rank: 8, dropout: 0.2}"


@pytest.fixture(scope="module")
def expected(sources, fetched, tmp_path_factory):
    """What two processes of one machine make of it."""
    folder = tmp_path_factory.mktemp("expected")
    store = shutil.copytree(fetched, folder / "store")
    path = spec(folder, *sources, adapter=LORA, train=SETTINGS, hardware="{strategy: ddp}")
    run("train", path, "--store", store, cwd=folder)
    return outcome(store)


class Nodes:
    """Up to two of them, at a rendezvous of their own."""

    def __init__(self, folder, sources, store):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder, self.sources, self.store = folder, sources, store
        self.hardware = f"{{strategy: ddp, nodes: 2, rendezvous: '127.0.0.1:{self.port}'}}"
        self.started = []

    def start(self, store=None, **changes):
        folder = self.folder / f"node-{len(self.started)}"
        folder.mkdir()
        path = spec(folder, *self.sources, **{"adapter": LORA, "train": SETTINGS, "hardware": self.hardware, **changes})
        self.started.append(caisson("train", path, "--store", store or self.store, cwd=folder))
        # A core each, as the two processes of one machine have: with more threads sums may round otherwise, and wait for each other.
        os.sched_setaffinity(self.started[-1].pid, {sorted(os.sched_getaffinity(0))[len(self.started) % len(os.sched_getaffinity(0))]})
        return self.started[-1]

    def pair(self, store=None, second=None, **changes):
        """Both; the first is the rendezvous, whichever leads. `store` and `second` are of the second alone."""
        first = self.start(**changes)
        end = time.monotonic() + 400
        while True:
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", self.port)):
                    return first, self.start(store, **changes, **(second or {}))
            assert first.poll() is None and time.monotonic() < end
            time.sleep(0.1)

    def wait_for_step(self, step):
        """Until an event says that it is done."""
        log = self.store / "tiny" / "logs" / "train.jsonl"
        end = time.monotonic() + 400
        while not log.exists() or f'"step": {step},' not in log.read_text():
            for process in self.started:
                assert process.poll() in (None, -signal.SIGKILL), process.communicate()
            assert time.monotonic() < end
            time.sleep(0.02)


@pytest.fixture
def nodes(tmp_path, sources, fetched):
    made = Nodes(tmp_path, sources, shutil.copytree(fetched, tmp_path / "store"))
    yield made
    for process in made.started:
        if process.poll() is None:
            kill_tree(process)
        process.communicate()


def finish(process, code=0):
    out, err = process.communicate(timeout=400)
    assert process.returncode == code, f"exit {process.returncode}\n{out}\n{err}"
    return out + err


def happened(store, event):
    return [e for e in map(json.loads, (store / "tiny" / "logs" / "train.jsonl").read_text().splitlines()) if e["event"] == event]


def test_two_nodes_end_as_two_processes_of_one_machine_do(nodes, expected):
    said = [finish(process) for process in nodes.pair()]
    assert outcome(nodes.store) == expected
    assert sorted("sealed by the node that leads" in text for text in said) == [False, True]
    assert sorted(": sealed tiny/train/" in text for text in said) == [False, True]
    assert len(happened(nodes.store, "sealed")) == len(happened(nodes.store, "started")) == 1
    steps = [e["step"] for e in happened(nodes.store, "step")]
    assert steps == sorted(set(steps)), "told by one process"
    left = {p.name for p in (nodes.store / "tiny" / "train").iterdir() if p.name.startswith(".") and not p.name.startswith(".lock")}
    assert left == set(), "no task, summary or half-made folder"
    assert "up to date" in finish(nodes.start())


def test_sharded_weights_over_two_nodes(nodes, sources, fetched, tmp_path):
    """DeepSpeed finds its neighbours by torchrun's variables too."""
    short = {"adapter": "{kind: full}", "train": "{max_steps: 6, learning_rate: 1.0e-2, batch_tokens: 240}"}
    store = shutil.copytree(fetched, tmp_path / "alone")
    run("train", spec(tmp_path, *sources, hardware="{strategy: zero3}", **short), "--store", store, cwd=tmp_path)
    nodes.hardware = nodes.hardware.replace("ddp", "zero3")
    first, second = nodes.pair(**short)
    finish(second)
    finish(first)
    assert outcome(nodes.store) == outcome(store)


def test_a_node_that_is_killed_comes_back_and_nothing_is_lost(nodes, expected):
    first, second = nodes.pair()
    nodes.wait_for_step(6)
    kill_tree(second)
    said = finish(nodes.start()) + finish(first)
    assert "starts again from the last sealed checkpoint" in said
    assert re.search(r"goes on from step-\d+\b", said), said
    assert outcome(nodes.store) == expected
    assert len(happened(nodes.store, "sealed")) == 1


def test_with_the_node_of_the_rendezvous_all_end_and_go_on_together(nodes, expected):
    first, second = nodes.pair()
    nodes.wait_for_step(6)
    kill_tree(first)
    assert "the node of the rendezvous 127.0.0.1:" in finish(second, code=75)
    nodes.started.clear()
    nodes.folder = nodes.folder / "again"
    nodes.folder.mkdir()
    said = "".join(finish(process) for process in nodes.pair())
    assert "goes on from step-" in said
    assert outcome(nodes.store) == expected


def test_a_signal_to_one_node_seals_a_checkpoint_on_all(nodes):
    first, second = nodes.pair()
    nodes.wait_for_step(2)
    second.send_signal(signal.SIGTERM)
    said = finish(first, code=75) + finish(second, code=75)
    assert "its checkpoint is sealed" in said
    (checkpoint,) = (nodes.store / "tiny" / "train").glob(".partial-*/checkpoints/step-*")
    assert (checkpoint / "manifest.json").is_file()


def test_nodes_that_follow_different_plans_are_refused_by_name(nodes):
    for process in nodes.pair(second={"train": SETTINGS.replace("epochs: 10", "epochs: 10, schedule: cosine")}):
        said = finish(process, code=3)
        assert re.search(r"the nodes do not follow one plan: \S+ and \S+ differ in schedule (linear \| cosine|cosine \| linear)\n", said), said
        assert "Traceback" not in said


def test_nodes_without_a_common_store_are_refused(nodes):
    other = shutil.copytree(nodes.store, nodes.folder / "other")
    for process in nodes.pair(store=other):
        said = finish(process, code=3)
        assert "the nodes have no store in common" in said and "mount one folder" in said and "Traceback" not in said
