"""The container engine of this machine."""

import json
import shutil
import subprocess
from dataclasses import dataclass

from entrypoint.probe.command import ask


@dataclass(frozen=True)
class Engine:
    """What the container engine said: versions, or why it did not answer."""

    version: str = ""
    compose: str = ""
    runtimes: tuple[str, ...] = ()
    error: str = ""


def engine() -> Engine:
    """Docker Engine and Compose as this machine has them."""
    if not shutil.which("docker"):
        return Engine(error="no docker on the PATH")
    try:
        version = ask("docker", "version", "--format", "{{.Server.Version}}")
        runtimes = json.loads(ask("docker", "info", "--format", "{{json .Runtimes}}"))
        return Engine(version, ask("docker", "compose", "version", "--short"), tuple(sorted(runtimes)))
    except subprocess.CalledProcessError as error:
        said = (error.stderr or "").strip().splitlines()
        return Engine(error=said[-1] if said else f"docker ended with {error.returncode}")
    except subprocess.TimeoutExpired:
        return Engine(error="docker did not answer within 10 s")
    except ValueError:
        return Engine(error="docker answers in another form than is known")
