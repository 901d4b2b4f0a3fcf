"""What nginx reads: its configuration, and the small files in which each request finds what changes."""

import json
import re
from pathlib import Path

from entrypoint.run.gateway_keys import table
from entrypoint.run.gateway_state import Certificate, State
from schemas.gateway_job import GatewayJob

SCRIPTS = Path(__file__).parent / "nginx"
POSTS = ("/v1/chat/completions", "/v1/completions", "/v1/responses")
"""Beside GET /v1/models and GET /v1/models/ID: the endpoints that are let in."""

PORTS = (8001, 8002)
"""Of serve's engines, one beside the other during a handover: both are known before either is used."""

UPSTREAM = """    upstream {name} {{
        server {address} max_fails=0;
        keepalive 64;
        keepalive_requests 1000000;
        keepalive_timeout 3s;    # shorter than the engine's own 5 s: a request never meets a connection that is being closed
    }}
"""


def addresses(state: State) -> tuple[str, ...]:
    """IP:PORT of every engine that requests may soon be sent to."""
    if state.address is None:
        return ()
    host = state.address.rpartition(":")[0]
    return tuple(sorted({state.address, *(f"{host}:{port}" for port in PORTS)}))


def fixed_files(job: GatewayJob, engines: tuple[str, ...], certificate: Certificate | None, folder: Path, salt: str) -> dict[str, str]:
    """Name -> content of what takes a reload."""
    values = {
        "workers": str(job.workers),
        "folder": str(folder),
        "scripts": str(SCRIPTS),
        "requests_per_minute": str(job.requests_per_minute),
        "requests_at_once": str(job.requests_at_once),
        "max_body_mib": str(job.max_body_mib),
        "upstreams": "".join(UPSTREAM.format(name=_name(address), address=address) for address in engines),
        "listen_options": "ssl http2" if certificate else "",
        "tls": _tls(certificate, folder) if certificate else "",
        "locations": _locations(job),
        "rate_retry_after": str(max(1, -(-60 // job.requests_per_minute))),
    }
    template = (SCRIPTS / "nginx.conf").read_text(encoding="utf-8")
    files = {"fixed.json": json.dumps({"salt": salt, "folder": str(folder)}), "nginx.conf": re.sub(r"@([a-z_]+)@", lambda found: values[found[1]], template)}
    if certificate:  # as it was when it was found to fit: whatever happens to the user's files
        files |= {f"tls-{certificate.digest}.crt": certificate.chain, f"tls-{certificate.digest}.key": certificate.key}
    return files


def is_ready(state: State) -> bool:
    """Whether there is an engine that requests may be sent to."""
    return state.active.state == "ready" and state.address is not None


def told_files(state: State) -> dict[str, str]:
    """Where requests go now: two files that each request reads, and a document for what is asked less often."""
    return {
        "authorization": f"Bearer {state.control}" if state.control else "",
        "engine": _name(state.address) if state.address and is_ready(state) else "",
        "told.json": json.dumps({**state.active.model_dump(mode="json", exclude={"upstream"}), "silent": state.silent}),
    }


def key_files(state: State, salt: str) -> dict[str, str]:
    """Name of each file in the folder `keys` -> what it holds: the name of a key."""
    return table(state.keys, salt)


def _name(address: str) -> str:
    return "engine_" + re.sub(r"\W", "_", address)


def _locations(job: GatewayJob) -> str:
    limits = (
        f"            limit_req zone=rate burst={job.burst} nodelay;\n            limit_conn at_once {job.requests_at_once};\n"
        "            error_page 400 412 /inner/e400;\n            error_page 500 @e500;\n            error_page 401 @e401;\n            error_page 405 @e405;\n            error_page 413 @e413;\n"
        "            error_page 429 @e429;\n            error_page 502 503 504 =503 @e503;\n"
    )

    def location(match: str, method: str, answer: str) -> str:
        return (
            f'        location {match} {{\n            if ($key_name = "") {{ return 401; }}\n            if ($request_method != {method}) {{ return 405; }}\n'
            f'            if ($engine = "") {{ return 503; }}\n{limits}            {answer}\n        }}\n'
        )

    posts = [location(f"= {path}", "POST", f"proxy_pass http://$engine{path};") for path in POSTS]
    gets = [location("= /v1/models", "GET", "proxy_pass http://$engine/v1/models;"), location("~ ^/v1/models/.", "GET", "js_content gate.model;")]
    return "".join(posts + gets)


def _tls(certificate: Certificate, folder: Path) -> str:
    pair = folder / f"tls-{certificate.digest}"
    return (
        f"ssl_certificate {pair}.crt;\n        ssl_certificate_key {pair}.key;\n        ssl_protocols TLSv1.2 TLSv1.3;\n"
        "        ssl_session_cache shared:tls:4m;\n        ssl_session_tickets off;"
    )
