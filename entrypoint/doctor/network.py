"""The door: its port and its keys."""

import os
import socket

from entrypoint import probe
from entrypoint.doctor.finding import Finding
from entrypoint.run.gateway_keys import read_keys
from schemas.errors import CaissonError


def key_findings() -> list[Finding]:
    """Nothing in a container that has no key to see; on a host a missing one, or one that only the server's user may read, is no fault yet."""
    key = probe.key_file()
    if key is None:
        return []
    try:
        read_keys(key)
    except CaissonError as error:
        return [Finding("D502", "API keys", "fail", error.what, error.fix or "")]
    return [Finding("D502", "API keys", "ok", str(key))]


def port_finding() -> Finding:
    """Whether something listens where the gateway will be published."""
    host, port = probe.door()
    if not port.isdigit() or not 0 < int(port) < 65536:
        return Finding("D501", "port", "fail", f"PORT is {port!r}", "set PORT in .env to a number up to 65535")
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just given back is free
            trial.bind((host, int(port)))
    except PermissionError:
        return Finding("D501", "port", "ok", f"{host}:{port}; only root may see whether it is free")
    except OSError as error:
        fix = "none where it is this project's own gateway; else stop what listens there, or set PORT in .env"
        return Finding("D501", "port", "warn", f"{host}:{port}: {os.strerror(error.errno) if error.errno else error}", fix)
    return Finding("D501", "port", "ok", f"{host}:{port} is free")
