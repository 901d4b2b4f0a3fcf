"""nginx's configuration: the template beside this file, filled in with limits and the present state."""

import hashlib
import json
import re
from pathlib import Path

from entrypoint.run.gateway_keys import table
from entrypoint.run.gateway_state import Certificate, State
from schemas.gateway_job import GatewayJob

SCRIPTS = Path(__file__).parent / "nginx"
POSTS = ("/v1/chat/completions", "/v1/completions", "/v1/responses")
"""Beside GET /v1/models and GET /v1/models/ID: the endpoints that are let in."""

NOWHERE = "unix:/tmp/none"
"""An upstream has to be named, also where no request gets as far."""

MESSAGES = {
    "loading": ("model_loading", "the model is being loaded: ask again in a while"),
    "failed": ("model_failed", "the model could not be loaded: the log of serve has the reason"),
    "ready": ("engine_away", "the engine does not answer right now: ask again in a while"),
}


def render(job: GatewayJob, state: State, folder: Path, salt: str) -> dict[str, str]:
    """Name -> content of the files that nginx reads: `nginx.conf` and two documents for its script, named by their content."""
    keys = json.dumps({"salt": salt, "names": table(state.keys, salt)}, sort_keys=True)
    told = json.dumps({**state.active.model_dump(mode="json", exclude={"upstream"}), "found": state.address is not None})
    names = {"keys_file": f"keys-{_digest(keys)}.json", "told_file": f"told-{_digest(told)}.json"}
    ready = state.active.state == "ready" and state.address is not None
    code, message = MESSAGES[state.active.state]
    values = {
        "workers": str(job.workers),
        "folder": str(folder),
        "scripts": str(SCRIPTS),
        **{key: str(folder / name) for key, name in names.items()},
        "digest": _digest(state.certificate.digest if state.certificate else ""),
        "requests_per_minute": str(job.requests_per_minute),
        "requests_at_once": str(job.requests_at_once),
        "max_body_mib": str(job.max_body_mib),
        "upstream": state.address or NOWHERE,
        "authorization": f'"Bearer {state.control}"' if state.control else "$http_authorization",
        "listen_options": "ssl http2" if state.certificate else "",
        "tls": _tls(state.certificate) if state.certificate else "",
        "locations": _locations(job, ready),
        "when_away": "" if ready else "return 503;",
        "rate_retry_after": str(max(1, -(-60 // job.requests_per_minute))),
        "retry_after": str(state.active.retry_after),
        "away_code": code,
        "away_message": message,
    }
    template = (SCRIPTS / "nginx.conf").read_text(encoding="utf-8")
    config = re.sub(r"@([a-z_]+)@", lambda found: values[found[1]], template)
    return {names["keys_file"]: keys, names["told_file"]: told, "nginx.conf": config}


def _locations(job: GatewayJob, ready: bool) -> str:
    away = "" if ready else "            return 503;\n"
    limits = (
        f"            limit_req zone=rate burst={job.burst} nodelay;\n            limit_conn at_once {job.requests_at_once};\n"
        "            error_page 401 @e401;\n            error_page 405 @e405;\n            error_page 413 @e413;\n"
        "            error_page 429 @e429;\n            error_page 502 503 504 @e503;\n"
    )

    def location(match: str, method: str, answer: str) -> str:
        keyed = '            if ($key_name = "") { return 401; }\n'
        return (
            f"        location {match} {{\n{keyed}            if ($request_method != {method}) {{ return 405; }}\n{away}"
            f'            set $args "";\n{limits}            {answer}\n        }}\n'
        )

    posts = [location(f"= {path}", "POST", f"proxy_pass http://engine{path};") for path in POSTS]
    gets = [location("= /v1/models", "GET", "proxy_pass http://engine/v1/models;"), location("~ ^/v1/models/.", "GET", "js_content gate.model;")]
    return "".join(posts + gets)


def _tls(certificate: Certificate) -> str:
    return (
        f"ssl_certificate {certificate.chain};\n        ssl_certificate_key {certificate.key};\n        ssl_protocols TLSv1.2 TLSv1.3;\n"
        "        ssl_session_cache shared:tls:4m;\n        ssl_session_tickets off;"
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
