"""What people type first: `docker compose up train` with nothing there yet, and what a full disk does to it."""

import json
import shutil
from collections.abc import Iterator

import pytest
from project import ROOT, Project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900), pytest.mark.skipif(not shutil.which("docker"), reason="needs Docker")]


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    made = Project("up", "./specs/cpu-smoke.yaml")
    yield made
    made.remove()


@pytest.fixture(scope="module")
def upped(project: Project) -> str:
    return project.compose("up", "--no-color", "train")


def test_up_train_runs_what_comes_before_it(project: Project, upped: str) -> None:
    assert "sealed cpu-smoke/train/" in upped
    states = json.loads(project.compose("run", "--rm", "--no-deps", "status", "status", "--json"))
    assert [(s["stage"], s["state"]) for s in states] == [
        ("fetch", "sealed"),
        ("fetch", "sealed"),
        ("prepare", "sealed"),
        ("train", "sealed"),
        ("export", "absent"),
        ("evaluate", "absent"),
    ]


def test_up_train_again_ends_at_once(project: Project, upped: str) -> None:
    assert "up to date" in project.compose("up", "--no-color", "train")


def test_run_plan_changes_nothing(project: Project, upped: str) -> None:
    assert "train" in project.compose("run", "--rm", "plan")


@pytest.mark.parametrize("service", ["prepare", "train", "export", "plan", "status", "doctor", "ask"])
def test_a_stage_sees_no_network(project: Project, service: str) -> None:
    config = json.loads(project.compose("--profile", "*", "config", "--format", "json"))
    assert config["services"][service]["network_mode"] == "none"


def test_a_full_disk_is_said_and_nothing_is_sealed(project: Project) -> None:
    image = json.loads(project.compose("config", "--format", "json"))["services"]["fetch"]["image"]
    mounts = ["--volume", f"{ROOT}/specs/cpu-smoke.yaml:/spec.yaml:ro", "--volume", f"{ROOT}/models:/models:ro", "--volume", f"{ROOT}/data:/data:ro"]
    limits = ["--rm", "--read-only", "--network", "none", "--tmpfs", "/tmp", "--tmpfs", "/store:size=110m,uid=10001"]
    listed = "caisson fetch; code=$?; ls -A /store/models; exit $code"
    said = project.run("docker", "run", *limits, *mounts, "--entrypoint", "sh", image, "-c", listed, code=3)
    assert "Traceback" not in said, said
    assert "no space left" in said or "GiB on the store" in said or "room" in said, said
