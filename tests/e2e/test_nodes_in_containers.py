"""Two containers as two nodes: two Compose projects, as on two hosts, with one folder as their store and a network between them."""

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from project import ROOT, Project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900), pytest.mark.skipif(not shutil.which("docker"), reason="needs Docker")]

MAKE = "from pathlib import Path; from tiny import *; write_model(Path('/made/models/tiny')); write_rows(Path('/made/data/rows.jsonl'), rows(70))"
TRAIN = "{epochs: 12, learning_rate: 1.0e-2, batch_tokens: 240, checkpoint: {every: 4, keep: KEEP}}"


class Nodes:
    """Everything below one folder, which stands for the shared file system."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.projects: list[Project] = []
        self.network = f"caisson-nodes-{os.getpid()}"

    def set_up(self) -> None:
        """The network, a tiny model and its rows."""
        for name in ("store", "models", "data"):
            (self.folder / name).mkdir()
            (self.folder / name).chmod(0o777)
        self.project("network").run("docker", "network", "create", self.network)
        image = json.loads(self.projects[0].compose("config", "--format", "json"))["services"]["train"]["image"]
        mounts = ["--volume", f"{ROOT}:/src:ro", "--volume", f"{self.folder}:/made", "--env", "PYTHONPATH=/src/tests/entrypoint/run"]
        self.projects[0].run("docker", "run", "--rm", *mounts, "--entrypoint", "/opt/caisson/venv/bin/python", image, "-c", MAKE)

    def project(self, name: str, hardware: str = "{}", keep: int = 2, core: str = "0,1") -> Project:
        """One host's Compose project, with a spec of its own. How many checkpoints are kept changes no weight, but it is another artifact."""
        spec = self.folder / f"{name}.yaml"
        sections = "spec: 1\nname: tiny\nmodel: {source: /models/tiny}\ndata: {train: [{source: /data/rows.jsonl}], validation: 10%}\nmethod: {kind: sft}\n"
        spec.write_text(f"{sections}adapter: {{kind: lora, rank: 8, dropout: 0.2}}\ntrain: {TRAIN.replace('KEEP', str(keep))}\nhardware: {hardware}\n")
        made = Project(f"nodes-{name}", str(spec))
        # A core each, as the two processes of one machine have: with more threads sums may round otherwise, and wait for each other.
        pinned = self.folder / f"{name}.compose.yaml"
        pinned.write_text(f"services: {{train: {{cpuset: '{core}'}}}}\n")
        made.environment |= {
            "COMPOSE_FILE": f"compose.yaml:compose/nodes.yaml:{pinned}", "STORE_FOLDER": f"{self.folder}/store", "MODELS": f"{self.folder}/models",
            "DATA": f"{self.folder}/data", "NODES_NETWORK": self.network,
        }  # fmt: skip
        self.projects.append(made)
        return made

    def pair(self, name: str, keep: int) -> tuple[Project, Project]:
        """Two nodes that are up; the first is the rendezvous."""
        hardware = f"{{nodes: 2, rendezvous: 'caisson-nodes-{name}-a-{os.getpid()}-train-1:29400'}}"
        first, second = (self.project(f"{name}-{which}", hardware, keep, core) for which, core in ("a0", "b1"))
        for node in (first, second):
            node.compose("up", "--detach", "--no-deps", "train")
        return first, second

    def events(self) -> list[dict[str, Any]]:
        """Of all runs of train so far."""
        log = self.folder / "store/tiny/logs/train.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def wait_for_step(self, step: int, seen: int, *nodes: Project) -> None:
        """Until an event after the first `seen` says that it is done."""
        end = time.monotonic() + 300
        while not any(e["event"] == "step" and e["step"] == step for e in self.events()[seen:]):
            assert time.monotonic() < end, [node.run("docker", "logs", container(node)) for node in nodes]
            time.sleep(0.05)

    def artifact(self, said: str) -> Path:
        """That a run names."""
        found = re.search(r"tiny/train/[0-9a-f]{16}", said)
        assert found, said
        return self.folder / "store" / found[0]

    def remove(self) -> None:
        """Containers and volumes of every project, then the network."""
        for project in self.projects:
            project.remove()
        self.projects[0].run("docker", "network", "rm", self.network, code=None)


def container(node: Project) -> str:
    """As Compose names it, and the nodes' network knows it."""
    return f"{node.environment['PROJECT']}-train-1"


def finish(node: Project) -> str:
    """Its log, once it has ended well; Compose may start it again on the way there."""
    end = time.monotonic() + 300
    while (state := node.run("docker", "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", container(node)).strip()) != "exited 0":
        assert time.monotonic() < end, state + node.run("docker", "logs", container(node))
        time.sleep(0.5)
    return node.run("docker", "logs", container(node))


def outcome(artifact: Path) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """Losses and gradient norms by step, and the bytes of the weights."""
    kept = ("step", "loss", "grad_norm", "eval_loss")
    curve = [{k: entry[k] for k in kept if k in entry} for entry in json.loads((artifact / "curve.json").read_text())]
    return [entry for entry in curve if len(entry) > 1], {p.name: p.read_bytes() for p in (artifact / "weights").glob("*.safetensors")}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    folder = tmp_path_factory.mktemp("shared")
    for part in (folder, *folder.parents[:2]):  # the containers' user goes through them
        part.chmod(part.stat().st_mode | 0o055)
    made = Nodes(folder)
    try:
        made.set_up()
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def expected(nodes: Nodes) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """Of two processes on one machine that nobody disturbs."""
    alone = nodes.project("alone", "{strategy: ddp}")
    for stage in ("fetch", "prepare"):
        alone.stage(stage)
    return outcome(nodes.artifact(alone.stage("train")))


def test_a_node_that_is_killed_and_started_again_rejoins(nodes: Nodes, expected: tuple[list[dict[str, Any]], dict[str, bytes]]) -> None:
    seen = len(nodes.events())
    first, second = nodes.pair("killed", keep=3)
    nodes.wait_for_step(6, seen, first, second)
    second.run("docker", "kill", container(second))
    assert second.run("docker", "wait", container(second)).strip() == "137"
    second.run("docker", "start", container(second))
    said = finish(first) + finish(second)
    assert re.search(r"goes on from step-\d+\b", said), said
    assert [e["event"] for e in nodes.events()[seen:]].count("sealed") == 1, "by one of them"
    assert said.count(": sealed tiny/train/") == said.count("sealed by the node that leads") == 1
    assert outcome(nodes.artifact(said)) == expected


def test_with_the_node_of_the_rendezvous_both_are_started_again_by_compose(nodes: Nodes, expected: tuple[list[dict[str, Any]], dict[str, bytes]]) -> None:
    seen = len(nodes.events())
    for made in (nodes.folder / "store" / "tiny" / "train").glob("[0-9a-f]*"):
        shutil.rmtree(made)  # else there is nothing left to do: nothing that is learned differs
    first, second = nodes.pair("restarted", keep=4)
    nodes.wait_for_step(6, seen, first, second)
    kill = "import psutil; [p.kill() for p in psutil.process_iter() if p.pid > 1 and 'entrypoint' in p.cmdline()]"
    first.run("docker", "exec", container(first), "/opt/caisson/venv/bin/python", "-c", kill, code=None)
    said = finish(first) + finish(second)
    assert "the node of the rendezvous" in said and "goes on from step-" in said, said
    restarts = [int(node.run("docker", "inspect", "--format", "{{.RestartCount}}", container(node))) for node in (first, second)]
    assert min(restarts) >= 1, said
    assert outcome(nodes.artifact(said)) == expected
