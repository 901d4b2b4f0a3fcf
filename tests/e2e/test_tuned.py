"""A QLoRA and a full fine-tune of SmolLM2, each from rows to an answer: export, the parity gate of the engine that serves, and both `openai` clients
behind the gateway. Of a LoRA the demo's chain shows the same. Two steps of training are enough: what counts is that other weights are served, and which.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from environments import CLIENTS, node_with_openai, python_with
from project import ROOT, Project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900), pytest.mark.skipif(not shutil.which("docker"), reason="needs Docker")]

SPEC = ROOT / "specs/cpu-smoke.yaml"
LORA = "adapter:\n  kind: lora\n  rank: 4\n"
CHANGED = {"qlora": (LORA, "adapter: {kind: qlora, rank: 4}\n"), "full": (LORA, "adapter: {kind: full}\n")}


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    """One for both: the model and the rows are fetched once."""
    made = Project("tuned", str(SPEC))
    yield made
    made.remove()


@pytest.fixture(params=["qlora", "full"])
def served(project: Project, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The name under which it answers; stopped afterwards."""
    name = f"smoke-{request.param}"
    text = SPEC.read_text(encoding="utf-8")
    for old, new in (CHANGED[request.param], ("name: cpu-smoke", f"name: {name}"), ("max_steps: 4", "max_steps: 2")):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (tmp_path / "spec.yaml").write_text(text, encoding="utf-8")
    project.environment["SPEC"] = str(tmp_path / "spec.yaml")
    for stage in ("fetch", "prepare", "train", "export"):
        project.stage(stage)
    project.compose("up", "--detach", "--no-deps", "--wait", "gateway", "serve")
    yield name
    project.compose("down", "--timeout", "10")


def test_trained_exported_through_the_gate_and_asked_by_both_clients(project: Project, served: str) -> None:
    container = project.compose("ps", "--quiet", "serve").strip()
    manifests = project.run("docker", "exec", container, "sh", "-c", f"cat /store/{served}/exports/*/manifest.json")
    assert json.loads(manifests)["stage"] == "export"
    lines = project.run("docker", "exec", container, "cat", f"/store/{served}/logs/serve.jsonl").splitlines()
    (parity,) = (line for line in map(json.loads, lines) if line["event"] == "parity")
    assert parity["verdict"] == "passed" and parity["of"] >= 4, parity
    key = (ROOT / "secrets/api_key").read_text(encoding="utf-8").strip()
    environment = {"PATH": os.environ["PATH"], "HOME": "/tmp", "no_proxy": "*", "MODEL": served}
    environment |= {"OPENAI_BASE_URL": f"http://127.0.0.1:{project.port}/v1", "OPENAI_API_KEY": key}
    clients = [[python_with("openai") / "python", CLIENTS / "use_openai.py"]]
    if shutil.which("npm"):
        clients.append(["node", node_with_openai() / "use_openai.mjs"])
    for client in clients:
        for feature in ("models", "chat", "streaming", "errors"):
            done = subprocess.run([*client, feature], env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{client} {feature}\n{done.stdout}\n{done.stderr}"
