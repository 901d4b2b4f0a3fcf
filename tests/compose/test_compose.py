"""What Compose is told: every stage a service, every service hardened, one port, one door."""

import os
import re
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import pytest
from composed import ACCELERATORS, ROOT, config, needs_compose, read

from entrypoint.chain import STAGES
from entrypoint.cli import cli
from entrypoint.plan.saves import COMPOSE_GRACE
from entrypoint.run.engine import GIVE_UP_SECONDS
from entrypoint.run.gateway import PLACES
from entrypoint.run.sides_asked import END_SECONDS
from schemas.active import FOLDER
from schemas.evaluate_job import EvaluateJob
from schemas.serve_job import ServeJob

FILES = [ROOT / "compose.yaml", *sorted((ROOT / "compose").glob("*.yaml"))]
TOOLS = {"plan", "status", "doctor", "ask"}
ON_GPU = {"train", "export", "serve", "sides", "evaluate", "plan", "status", "doctor"}
"""Services that compute on a GPU or have to see it."""


STAGES_FILE = read(ROOT / "compose" / "stages.yaml")
SERVICES: dict[str, dict[str, Any]] = STAGES_FILE["services"]


def accelerator(name: str) -> dict[str, dict[str, Any]]:
    return dict(read(ROOT / "compose" / f"accelerator.{name}.yaml")["services"])


each_service = pytest.mark.parametrize("name", SERVICES)


def test_root_includes_the_stages_and_one_accelerator() -> None:
    root = read(ROOT / "compose.yaml")
    assert root["include"] == [{"path": ["compose/stages.yaml", "compose/accelerator.${ACCELERATOR:-cpu}.yaml"], "project_directory": "."}]


def test_every_stage_is_a_service() -> None:
    assert set(SERVICES) == set(STAGES) | TOOLS | {"gateway", "sides"}
    assert all(not SERVICES[stage].get("profiles") for stage in STAGES)
    assert all(SERVICES[tool]["profiles"] == ["tools"] for tool in TOOLS), "tools start only when named"


@each_service
def test_every_service_is_a_command(name: str) -> None:
    service = SERVICES[name]
    if "entrypoint" in service:
        assert service["entrypoint"][:2] == ["/usr/local/bin/caisson", name]
    else:
        assert service["command"] == [name]
    assert name in cli.commands


@each_service
def test_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["user"] == "10001:10001"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert [t.split(":")[0] for t in service["tmpfs"]] == ["/tmp"]
    assert "size=" in service["tmpfs"][0]
    assert service["pids_limit"] >= 1024
    assert service["logging"]["driver"] == "json-file"
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    assert service["restart"] == "no"
    assert service["shm_size"]
    assert not set(service) & {"privileged", "cap_add", "devices", "pid", "ipc", "userns_mode", "extends", "build"}


@each_service
def test_network(name: str) -> None:
    service = SERVICES[name]
    if name == "serve":
        assert service["networks"] == ["inside"]
    elif name in ("sides", "evaluate"):
        assert service["networks"] == ["between"]
    elif name == "gateway":
        assert service["networks"] == ["inside", "door"]
        assert service["dns"] == ["127.0.0.1"], "Docker's own server asks nobody else"
    elif name == "fetch":
        assert not set(service) & {"network_mode", "networks"}
    else:
        assert service["network_mode"] == "none"
        assert "networks" not in service


@each_service
def test_only_the_gateway_publishes_and_on_loopback(name: str) -> None:
    ports = SERVICES[name].get("ports", [])
    assert ports == (["${BIND:-127.0.0.1}:${PORT:-8000}:8000"] if name == "gateway" else [])


def test_the_gateway_knows_where_it_is_published() -> None:
    """It refuses plain HTTP beyond this machine."""
    assert SERVICES["gateway"]["environment"] == {"BIND": "${BIND:-127.0.0.1}", "PLAIN_HTTP": "${PLAIN_HTTP:-no}"}
    options = {option.name: option.envvar for option in cli.commands["gateway"].params if isinstance(option, click.Option)}
    assert options == {"bind": "BIND", "plain_http": "PLAIN_HTTP"}


def test_the_door_leads_nowhere_but_in() -> None:
    """`internal: true` would drop the published port; without masquerading nothing gets out."""
    door = STAGES_FILE["networks"]["door"]
    assert door["driver_opts"] == {"com.docker.network.bridge.enable_ip_masquerade": "false"}
    assert "internal" not in door
    assert STAGES_FILE["networks"]["inside"] == STAGES_FILE["networks"]["between"] == {"internal": True}


@each_service
def test_only_the_store_is_written(name: str) -> None:
    mounts = {m["target"]: m for m in SERVICES[name]["volumes"]}
    wanted = {
        "gateway": {"/spec.yaml", "/run/caisson", "/run/secrets/gateway"},
        **{key: {"/spec.yaml", "/plan.lock.json", "/models", "/data", "/store", "/run/caisson"} for key in ("serve", "sides", "evaluate")},
    }
    assert set(mounts) == wanted.get(name, {"/spec.yaml", "/plan.lock.json", "/models", "/data", "/store"})
    written = {target: mount["type"] for target, mount in mounts.items() if not mount.get("read_only")}
    assert written == dict.fromkeys({"/store", "/run/caisson"} & set(mounts), "volume")
    assert mounts["/spec.yaml"]["bind"] == {"create_host_path": False}, "a spec that is missing must not become a folder"
    assert "docker.sock" not in str(mounts)


def test_what_they_tell_each_other_is_in_memory_and_theirs() -> None:
    options = STAGES_FILE["volumes"]["told"]["driver_opts"]
    assert STAGES_FILE["volumes"]["asked"]["driver_opts"] == options, "and evaluate and sides another of the kind"
    assert {name for name in SERVICES if any(m["source"] == "asked" for m in SERVICES[name]["volumes"])} == {"evaluate", "sides"}
    assert (options["type"], options["device"]) == ("tmpfs", "tmpfs")
    assert set(options["o"].split(",")) >= {"mode=0700", "uid=10001", "gid=10001"}
    assert next(m["target"] for m in SERVICES["gateway"]["volumes"] if m["source"] == "told") == FOLDER
    secrets = next(m for m in SERVICES["gateway"]["volumes"] if m["target"] == str(PLACES.secrets))
    assert secrets["read_only"] and secrets["bind"] == {"create_host_path": False}


def test_each_stage_waits_for_the_one_before_it() -> None:
    beside = {"serve": "gateway", "evaluate": "sides"}
    for before, stage in [*pairwise(STAGES[:-1]), ("export", "evaluate"), ("export", "sides")]:
        other = {beside[stage]: {"condition": "service_started"}} if stage in beside else {}
        assert SERVICES[stage]["depends_on"] == {before: {"condition": "service_completed_successfully"}} | other
    assert "depends_on" not in SERVICES["fetch"]
    assert "depends_on" not in SERVICES["gateway"], "it answers before anything else does"
    assert all("depends_on" not in SERVICES[tool] for tool in TOOLS), "looking runs nothing"


def test_stages_with_work_to_keep_get_time_to_stop() -> None:
    drain = int(re.search(r"DRAIN_SECONDS = (\d+)", (ROOT / "entrypoint" / "plan" / "serve.py").read_text())[1])  # type: ignore[index]
    grace = int(SERVICES["serve"]["stop_grace_period"].removesuffix("s"))
    assert grace > drain
    assert SERVICES["gateway"]["stop_grace_period"] == f"{grace}s", "streams go through it"
    assert all(int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > max(END_SECONDS, GIVE_UP_SECONDS) for name in ("sides", "evaluate"))
    assert SERVICES["train"]["stop_grace_period"] == f"${{TRAIN_GRACE:-{COMPOSE_GRACE // 60}m}}"


def test_healthcheck() -> None:
    check = SERVICES["serve"]["healthcheck"]
    assert check["test"] == ["CMD", "/opt/caisson/venv/bin/python", "-m", "entrypoint.run.ready"]
    assert [name for name in SERVICES if "healthcheck" in SERVICES[name]] == ["serve", "sides", "gateway"], "what runs on; a stage that ends has its exit code"


@each_service
def test_memory_has_a_limit(name: str) -> None:
    """plan, status and doctor have that of the stages: they plan with the memory that they see."""
    assert SERVICES[name]["mem_limit"] == ("1g" if name == "gateway" else "${MEMORY_LIMIT:-0}")


@needs_compose
def test_memory_limit_reaches_every_stage() -> None:
    limits = {name: int(service["mem_limit"]) for name, service in config("cpu", MEMORY_LIMIT="1500m")["services"].items()}
    assert limits == {name: 2**30 if name == "gateway" else 1500 * 2**20 for name in SERVICES}
    assert int(config("cpu")["services"]["train"].get("mem_limit", 0)) == 0


def test_secrets_are_files_and_reach_who_needs_them() -> None:
    assert {name: SERVICES[name].get("secrets", []) for name in SERVICES if "secrets" in SERVICES[name]} == {
        "fetch": ["hf_token", "ms_token"],
    }
    assert all(set(secret) == {"file"} for secret in STAGES_FILE["secrets"].values())
    assert ServeJob.model_fields["control_folder"].default == EvaluateJob.model_fields["control_folder"].default == FOLDER


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_no_secret_in_an_environment(path: Path) -> None:
    for name, service in read(path).get("services", {}).items():
        for key, value in service.get("environment", {}).items():
            assert not re.search(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", key, re.IGNORECASE), f"{name}: {key}"
            assert not re.search(r"TOKEN|SECRET|PASSWORD|API_KEY", str(value), re.IGNORECASE), f"{name}: {key}"
        assert "env_file" not in service


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_nothing_that_moves_by_itself_or_is_silently_dropped(path: Path) -> None:
    lines = [line.split(" #")[0] for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    text = "\n".join(lines)
    assert "latest" not in text
    assert not re.search(r"^\s*gpus:|[{,]\s*gpus:", text, re.MULTILINE), "Compose 2.26 drops it without a word"
    assert not re.search(r"^version:", text, re.MULTILINE)
    assert "configs:" not in text


@pytest.mark.parametrize("kind", ACCELERATORS)
def test_every_service_has_an_image(kind: str) -> None:
    images = {name: service["image"] for name, service in accelerator(kind).items()}
    assert set(images) == set(SERVICES) - {"gateway"}
    assert SERVICES["gateway"]["image"] == "${REGISTRY:-caisson}/gateway:${TAG:-dev}", "one for every accelerator"
    for name, image in images.items():
        wanted = {
            "export": "export",
            "evaluate": "evaluate",
            **dict.fromkeys(("serve", "sides"), "serve-vllm" if kind == "cpu" else "serve-${ENGINE:-vllm}"),
        }.get(name, "train")
        assert image == f"${{REGISTRY:-caisson}}/{wanted}:${{TAG:-dev}}-{kind}"
        for engine in ("vllm", "lmdeploy"):
            assert (ROOT / "images" / wanted.replace("${ENGINE:-vllm}", engine) / "Dockerfile").is_file()


def test_cuda_reserves_gpus() -> None:
    for name, service in accelerator("cuda").items():
        if name not in ON_GPU:
            assert set(service) == {"image"}
            continue
        assert set(service) == {"image", "deploy", "tmpfs"}
        assert service["tmpfs"][0].startswith("/tmp:mode=1777,exec,size="), "compiled kernels are loaded from there"
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert (device["driver"], device["count"]) == ("nvidia", "all")
        assert set(device["capabilities"]) >= {"gpu", "utility"}, "utility is NVML, which the plan asks"


def test_cpu_reserves_nothing() -> None:
    assert all(set(service) == {"image"} for service in accelerator("cpu").values())


# -- as Compose itself reads it


@needs_compose
@pytest.mark.parametrize("kind", ACCELERATORS)
def test_config_is_valid_and_hardened(kind: str) -> None:
    services = config(kind)["services"]
    assert set(services) == set(SERVICES)
    for name, service in services.items():
        assert service["image"].endswith(":dev" if name == "gateway" else f":dev-{kind}")
        assert (service["user"], service["read_only"], service["cap_drop"]) == ("10001:10001", True, ["ALL"]), name
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert [t.split(":")[0] for t in service["tmpfs"]] == ["/tmp"], "the accelerator's replaces the stage's: two at one place do not start"
    published = [(name, port["host_ip"], port["published"]) for name, service in services.items() for port in service.get("ports", [])]
    assert published == [("gateway", "127.0.0.1", "8000")]
    assert set(services["serve"]["networks"]) == {"inside"}


@needs_compose
def test_config_keeps_the_reservations() -> None:
    services = config("cuda")["services"]
    reserved = {name for name, s in services.items() if s.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices")}
    assert reserved == ON_GPU
    assert all("deploy" not in s for s in config("cpu")["services"].values())


@needs_compose
def test_config_takes_what_the_user_sets(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.touch()
    found = config("cpu", SPEC=str(spec), MODELS="/m", DATA="/d", PORT="9000", TAG="v1", REGISTRY="r.example/c", PROJECT="other", SHM_SIZE="8gb")
    assert found["name"] == "other"
    train = found["services"]["train"]
    assert train["image"] == "r.example/c/train:v1-cpu"
    assert [m["source"] for m in train["volumes"]] == [str(spec), "/dev/null", "/m", "/d", "store"]
    assert int(train["shm_size"]) == 8 * 2**30
    assert config("cpu")["services"]["train"]["stop_grace_period"] == "5m0s"
    assert config("cpu", TRAIN_GRACE="930s")["services"]["train"]["stop_grace_period"] == "15m30s"
    assert found["services"]["gateway"]["ports"][0]["published"] == "9000"


@needs_compose
def test_unknown_accelerator_is_refused() -> None:
    said = subprocess.run(
        ["docker", "compose", "--env-file", "/dev/null", "config", "-q"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "ACCELERATOR": "rocm"},
        capture_output=True,
        text=True,
    )
    assert said.returncode != 0
    assert "accelerator.rocm.yaml" in said.stderr
