"""`docker stop` in the middle of a step: the container ends with 75 by itself, and the same command goes on from there."""

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import ROOT, Project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800), pytest.mark.skipif(not shutil.which("docker"), reason="needs Docker")]

STEPS = 4
AFTER = 2
"""The step whose end the test waits for; the next is then under way."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    smoke = (ROOT / "specs" / "cpu-smoke.yaml").read_text(encoding="utf-8")
    spec: Path = tmp_path_factory.mktemp("stop") / "spec.yaml"
    # No checkpoint by steps: the only one there can be is that of the stop.
    spec.write_text(smoke.replace("every: 2", "every: 1000").replace("max_steps: 4", f"max_steps: {STEPS}"), encoding="utf-8")
    assert "every: 1000" in spec.read_text(encoding="utf-8")
    made = Project("stop", str(spec))
    yield made
    made.remove()


@pytest.fixture(scope="module")
def stopped(project: Project) -> tuple[str, str]:
    """State of the container after `docker stop`, and what it said."""
    project.stage("fetch")
    project.stage("prepare")
    container = project.run("docker", "compose", "run", "--detach", "--no-deps", "train").strip().splitlines()[-1]
    deadline = time.monotonic() + 900
    while f'"step": {AFTER}, ' not in project.run("docker", "exec", container, "sh", "-c", "cat /store/cpu-smoke/logs/train.jsonl || true"):
        assert time.monotonic() < deadline, project.run("docker", "logs", container)
        time.sleep(0.2)
    project.run("docker", "stop", container)
    state = project.run("docker", "inspect", "--format", "{{.State.ExitCode}} {{.Config.StopTimeout}}", container).strip()
    said = project.run("docker", "logs", container)
    project.run("docker", "rm", container)
    return state, said


def test_it_ends_by_itself_within_the_time_that_it_is_given(stopped: tuple[str, str]) -> None:
    """137 would be the engine's SIGKILL after that time."""
    state, said = stopped
    assert state == "75 300", said
    step = re.search(r"train was stopped at step (\d+); its checkpoint is sealed", said)
    assert step and AFTER <= int(step[1]) < STEPS, said


def test_up_goes_on_and_finishes(project: Project, stopped: tuple[str, str]) -> None:
    at = re.search(r"stopped at step (\d+)", stopped[1])
    said = project.compose("up", "--no-color", "train")
    assert at and f"goes on from step-{at[1]}" in said, said
    assert f"step {STEPS}/{STEPS}" in said and "sealed cpu-smoke/train/" in said
