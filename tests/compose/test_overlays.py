"""Files beside compose.yaml that give train what most runs must not have: a way out, or a network of nodes."""

import os
import subprocess

import pytest
from composed import ACCELERATORS, ROOT, config, needs_compose, read

from schemas.answers_job import KEY_FILE
from schemas.track import Mlflow, Swanlab, Wandb

# -- trackers that send while training

TRACK = read(ROOT / "compose" / "track.yaml")


def test_the_overlay_gives_a_way_out_and_keys_and_nothing_else() -> None:
    assert set(TRACK["services"]) == {"train", "plan", "status"}
    assert set(TRACK["services"]["train"]) == {"network_mode", "secrets", "environment"}
    assert all(service["network_mode"] == "bridge" for service in TRACK["services"].values())
    assert all(value is None for value in TRACK["services"]["train"]["environment"].values()), "passed on where the host has it"
    for tracker in (Wandb, Swanlab, Mlflow):
        path = tracker.model_fields["key_file"].default
        name = path.rpartition("/")[2]
        assert path == f"/run/secrets/{name}"
        assert name in TRACK["services"]["train"]["secrets"] and TRACK["secrets"][name] == {"file": f"${{{name.upper()}_FILE:-/dev/null}}"}
    assert set(TRACK["secrets"]) == set(TRACK["services"]["train"]["secrets"])


@needs_compose
@pytest.mark.parametrize("kind", ACCELERATORS)
def test_config_with_the_overlay(kind: str) -> None:
    before = config(kind)["services"]
    after = config(kind, COMPOSE_FILE="compose.yaml:compose/track.yaml")["services"]
    assert {name for name in before if before[name] != after[name]} == {"train", "plan", "status"}
    assert (before["train"]["network_mode"], after["train"]["network_mode"]) == ("none", "bridge")
    for name in ("user", "read_only", "cap_drop", "security_opt", "tmpfs", "volumes", "image", "command"):
        assert before["train"][name] == after["train"][name]


# -- a teacher behind an endpoint

TEACHER = read(ROOT / "compose" / "teacher.yaml")


def test_the_teachers_overlay_gives_prepare_a_way_out_and_a_key_and_nothing_else() -> None:
    assert set(TEACHER["services"]) == {"prepare", "plan", "status"}
    assert set(TEACHER["services"]["prepare"]) == {"network_mode", "secrets", "environment"}
    assert all(set(TEACHER["services"][tool]) == {"network_mode"} for tool in ("plan", "status"))
    assert all(value is None for value in TEACHER["services"]["prepare"]["environment"].values()), "passed on where the host has it"
    assert KEY_FILE == "/run/secrets/teacher_key"
    assert TEACHER["services"]["prepare"]["secrets"] == ["teacher_key"] == list(TEACHER["secrets"])
    assert TEACHER["secrets"]["teacher_key"] == {"file": "${TEACHER_KEY_FILE:-/dev/null}"}


@needs_compose
@pytest.mark.parametrize("kind", ACCELERATORS)
def test_config_with_the_teachers_overlay(kind: str) -> None:
    before = config(kind)["services"]
    after = config(kind, COMPOSE_FILE="compose.yaml:compose/teacher.yaml")["services"]
    assert {name for name in before if before[name] != after[name]} == {"prepare", "plan", "status"}
    assert (before["prepare"]["network_mode"], after["prepare"]["network_mode"]) == ("none", "bridge")
    assert config(kind, COMPOSE_FILE="compose.yaml:compose/teacher.yaml", TEACHER_NETWORK="host")["services"]["prepare"]["network_mode"] == "host"
    for name in ("user", "read_only", "cap_drop", "security_opt", "tmpfs", "volumes", "image", "command"):
        assert before["prepare"][name] == after["prepare"][name]


# -- several machines

NODES = read(ROOT / "compose" / "nodes.yaml")
WITH_NODES = {"COMPOSE_FILE": "compose.yaml:compose/nodes.yaml", "STORE_FOLDER": "/mnt/caisson"}


def test_nodes_get_a_network_a_restart_and_a_store_and_nothing_else() -> None:
    assert set(NODES["services"]) == {"train", "plan", "status"}
    assert set(NODES["services"]["train"]) == {"network_mode", "restart", "environment"}
    assert all(set(NODES["services"][tool]) == {"network_mode"} for tool in ("plan", "status"))
    assert set(NODES["services"]["train"]["environment"]) >= {"GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"}
    assert all(value is None for value in NODES["services"]["train"]["environment"].values()), "passed on where the host has it"
    assert set(NODES["volumes"]) == {"store"}


@needs_compose
@pytest.mark.parametrize("kind", ACCELERATORS)
def test_config_of_a_node(kind: str) -> None:
    before, after = config(kind)["services"], config(kind, **WITH_NODES)["services"]
    assert {name for name in before if before[name] != after[name]} == {"train", "plan", "status"}
    assert (after["train"]["network_mode"], after["train"]["restart"]) == ("host", "on-failure:10")
    for name in ("user", "read_only", "cap_drop", "security_opt", "tmpfs", "volumes", "image", "command", "stop_grace_period"):
        assert before["train"].get(name) == after["train"].get(name)
    store = config(kind, **WITH_NODES)["volumes"]["store"]
    assert store["driver_opts"] == {"type": "none", "o": "bind", "device": "/mnt/caisson"}


@needs_compose
def test_config_of_a_node_takes_another_network() -> None:
    assert config("cpu", **WITH_NODES, NODES_NETWORK="between")["services"]["train"]["network_mode"] == "between"


@needs_compose
def test_a_node_without_a_shared_folder_is_told() -> None:
    said = subprocess.run(
        ["docker", "compose", "--env-file", "/dev/null", "config", "-q"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "COMPOSE_FILE": WITH_NODES["COMPOSE_FILE"]},
        capture_output=True,
        text=True,
    )
    assert said.returncode != 0
    assert "set STORE_FOLDER to a folder that all nodes share" in said.stderr
