"""Every service as the engine has made it, against section 5 of the CIS Docker benchmark (1.7): docs/hardening.md has the table."""

import json
from pathlib import Path
from typing import Any

import pytest
from project import Project

pytestmark = pytest.mark.e2e

ENDS = "a stage that ends says how it went by its exit code, and train has a watchdog of its own"
SENSITIVE = ("/", "/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr", "/var/run", "/run", "/root", "/home")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    """`docker inspect` of a container of each service; made, not started."""
    folder = tmp_path_factory.mktemp("hardening")
    for name in ("gateway", "models", "data"):
        (folder / name).mkdir()
    project = Project("hardening", "specs/demo.yaml")
    project.environment |= {"GATEWAY_SECRETS": str(folder / "gateway"), "MODELS": str(folder / "models"), "DATA": str(folder / "data"), "MEMORY_LIMIT": "2g"}
    try:
        project.compose("--profile", "*", "create")
        ids = project.compose("--profile", "*", "ps", "--all", "--quiet").split()
        found = json.loads(project.run("docker", "inspect", *ids))
        yield {one["Config"]["Labels"]["com.docker.compose.service"]: one for one in found}
    finally:
        project.remove()


def each(made: dict[str, Any]):
    return [(name, one["HostConfig"], one["Config"], one["Mounts"]) for name, one in sorted(made.items())]


def test_every_service_is_there(made) -> None:
    assert set(made) >= {"fetch", "prepare", "train", "export", "serve", "sides", "evaluate", "gateway", "plan", "status", "doctor", "ask"}


def test_rights(made) -> None:
    """5.4, 5.5, 5.22, 5.26: no added capability, none kept, not privileged, seccomp as the engine has it, nothing gains rights; 4.1: not root."""
    for name, host, config, _ in each(made):
        assert (config["User"], host["CapDrop"], host["CapAdd"], host["Privileged"]) == ("10001:10001", ["ALL"], None, False), name
        assert host["SecurityOpt"] == ["no-new-privileges:true"], name


def test_file_systems(made) -> None:
    """5.6, 5.13, 5.18, 5.20, 5.32: nothing of the host's system, the root read only, no mount that others see change, no engine socket."""
    for name, host, _, mounts in each(made):
        assert host["ReadonlyRootfs"] is True, name
        for mount in mounts:
            assert mount.get("Source") not in SENSITIVE and "docker.sock" not in json.dumps(mount), name
            assert mount.get("Propagation", "") in ("", "private", "rprivate"), name
            assert mount["RW"] is False or mount["Type"] == "volume", f"{name} may write {mount['Destination']}"
        assert host["Devices"] in (None, []), name


def test_namespaces_are_its_own(made) -> None:
    """5.10, 5.16, 5.17, 5.21, 5.25, 5.30, 5.31: of network, processes, IPC, host name, control groups and users."""
    for name, host, _, _ in each(made):
        assert host["NetworkMode"] != "host" and host["NetworkMode"] != "bridge", name
        assert (host["PidMode"], host["UTSMode"], host["UsernsMode"], host["CgroupParent"]) == ("", "", "", ""), name
        assert host["IpcMode"] in ("private", "none"), name


def test_limits(made) -> None:
    """5.11, 5.15, 5.29: memory, processes, restarts."""
    for name, host, _, _ in each(made):
        assert host["Memory"] == (2**30 if name == "gateway" else 2 * 2**30), name
        assert 1024 <= host["PidsLimit"] <= 4096, name
        assert host["RestartPolicy"]["Name"] in ("no", ""), name
        assert host["OomKillDisable"] in (None, False), name
        assert set(host["LogConfig"]["Config"]) == {"max-size", "max-file"}, name


def test_ports(made) -> None:
    """5.8, 5.9, 5.14: one service publishes one port that is not privileged, on loopback."""
    published = {name: host["PortBindings"] for name, host, _, _ in each(made) if host["PortBindings"]}
    assert list(published) == ["gateway"]
    ((inner, (outer,)),) = published["gateway"].items()
    assert (inner, outer["HostIp"]) == ("8000/tcp", "127.0.0.1")
    assert int(outer["HostPort"]) >= 1024


def test_health_is_checked_at_run_time(made) -> None:
    """5.27, of what runs on."""
    assert {name for name, _, config, _ in each(made) if config.get("Healthcheck")} == {"serve", "sides", "gateway"}, ENDS


def test_no_secret_in_environment_or_arguments(made) -> None:
    for name, _, config, _ in each(made):
        for entry in config["Env"]:
            key, _, value = entry.partition("=")
            assert not any(word in key for word in ("TOKEN", "SECRET", "PASSWORD", "API_KEY")), f"{name}: {key}"
            assert not value.startswith(("hf_", "sk-")), f"{name}: {key}"
        assert not any("key" in word.lower() for word in (config["Cmd"] or [])), name


def test_models_are_read_only_for_serve(made) -> None:
    (models,) = [mount for mount in made["serve"]["Mounts"] if mount["Destination"] == "/models"]
    assert models["RW"] is False


def test_the_image_says_which_it_is(made) -> None:
    """5.28: what runs is an image by its id; the tag only leads to it."""
    for name, one in made.items():
        assert one["Image"].startswith("sha256:"), name
        assert Path(one["Path"]).name in ("docker-init", "caisson"), name
