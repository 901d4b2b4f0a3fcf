"""nginx's configuration as text; what nginx makes of it is in tests/e2e/test_gateway.py."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from entrypoint.run.gateway_keys import Key
from entrypoint.run.gateway_state import LOADING, Certificate, State
from entrypoint.run.nginx_config import POSTS, addresses, fixed_files, key_files, told_files
from schemas.active import Active
from schemas.gateway_job import GatewayJob

JOB = GatewayJob(max_body_mib=16, requests_per_minute=50, burst=10, requests_at_once=8, loopback=True, bind="127.0.0.1", plain_http=False, workers=2)
READY = State(Active(generation=7, state="ready", upstream="serve:8001", models=("m",)), "10.0.0.2:8001", "control", (Key("alice", "0" * 64),), None)
FOLDER = Path("/tmp/nginx")


def config(certificate: Certificate | None = None, job: GatewayJob = JOB) -> str:
    return fixed_files(job, addresses(READY), certificate, FOLDER, "salt")["nginx.conf"]


def block(text: str, head: str) -> str:
    """The body of the first block with this head."""
    start = text.index(head + " {")
    depth, at = 0, start
    while True:
        at += 1
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if text[at] == "}" and depth == 0:
            return text[start : at + 1]


def test_everything_is_filled_in() -> None:
    assert re.findall(r"@[a-z_]+@", config()) == []


@pytest.mark.parametrize("path", POSTS)
def test_an_endpoint_wants_a_key_a_method_and_keeps_to_limits(path: str) -> None:
    found = block(config(), f"location = {path}")
    assert found.index('if ($key_name = "") { return 401; }') < found.index("if ($request_method != POST) { return 405; }") < found.index("proxy_pass")
    assert "limit_req zone=rate burst=10 nodelay;" in found and "limit_conn at_once 8;" in found
    assert f"proxy_pass http://$engine{path};" in found, "the path that was matched goes on, not what the client wrote"


def test_only_what_is_named_reaches_the_engine() -> None:
    text = config()
    passed = {found[1] for found in re.finditer(r"proxy_pass http://\$engine(\S*);", text)}
    assert passed == {*POSTS, "/v1/models"}
    assert "proxy_pass_request_headers off;" in text
    assert set(re.findall(r"proxy_set_header (\S+)", text)) == {"Host", "Connection", "Authorization", "Content-Type", "Accept", "X-Request-Id"}


def test_every_location_of_ours_looks_at_the_key() -> None:
    text = config()
    open_ones = {"= /health", "= /health/ready", "= /health/deep", "= /inner/models", "= /inner/deep", "= /inner/e400"}
    for head in re.findall(r"location ([^@{]+) \{", text):
        found = block(text, f"location {head}")
        assert (head in open_ones) is ('$key_name = ""' not in found), head
        assert ("/inner/" in head) is ("internal;" in found)


def test_an_added_header_brings_the_request_id_along() -> None:
    """nginx drops headers of the outer level as soon as an inner one adds its own."""
    for head in re.findall(r"location ([^{]+) \{", config()):
        found = block(config(), f"location {head}")
        assert ("add_header" not in found) or "add_header X-Request-Id $id always;" in found, head


def test_while_nothing_answers_every_endpoint_says_so() -> None:
    for head in (*(f"= {path}" for path in POSTS), "= /v1/models", "~ ^/v1/models/.", "= /health/ready"):
        assert 'if ($engine = "") { return 503; }' in block(config(), f"location {head}")


def test_what_requests_are_told() -> None:
    told = told_files(READY)
    assert json.loads(told["told.json"]) == {"generation": 7, "state": "ready", "models": ["m"], "retry_after": 30, "silent": False}
    assert (told["engine"], told["authorization"]) == ("engine_10_0_0_2_8001", "Bearer control")
    assert f"upstream {told['engine']} {{\n        server 10.0.0.2:8001 " in config()
    for away in (
        replace(READY, address=None),
        replace(READY, active=READY.active.model_copy(update={"state": "failed"})),
        replace(READY, active=LOADING, address=None),
    ):
        assert told_files(away)["engine"] == ""


def test_both_engines_of_a_server_are_known_before_they_are_used() -> None:
    assert addresses(READY) == addresses(replace(READY, address="10.0.0.2:8002")) == ("10.0.0.2:8001", "10.0.0.2:8002")
    assert addresses(replace(READY, address=None)) == ()
    assert config().count("upstream engine_") == 2


def test_a_log_without_query_body_or_key() -> None:
    fields = set(re.findall(r"\$([a-z_]+)", re.search(r"log_format requests.*?;", config(), re.DOTALL)[0]))  # type: ignore[index]
    assert {"id", "key_name", "status", "request_time", "path"} <= fields
    assert not fields & {"request", "request_uri", "args", "query_string", "request_body", "http_authorization"}


def test_tls_where_there_is_a_certificate() -> None:
    certificate = Certificate("chain", "key", "d1")
    text = config(certificate)
    assert "listen 8000 ssl http2;" in text and "ssl_certificate /tmp/nginx/tls-d1.crt;" in text and "ssl_protocols TLSv1.2 TLSv1.3;" in text
    files = fixed_files(JOB, (), certificate, FOLDER, "salt")
    assert (files["tls-d1.crt"], files["tls-d1.key"]) == ("chain", "key"), "a copy: the user's files may change at any time"
    assert "ssl" not in config()


def test_retry_after_is_until_the_next_request_is_let_in() -> None:
    assert "Retry-After 2 always" in config()
    assert "Retry-After 10 always" in config(job=JOB.model_copy(update={"requests_per_minute": 6}))
    assert "Retry-After 1 always" in config(job=JOB.model_copy(update={"requests_per_minute": 6000}))


def test_a_key_changes_no_configuration_and_is_in_no_file() -> None:
    assert list(key_files(READY, "salt").values()) == ["alice"]
    assert "0" * 64 not in str(key_files(READY, "salt"))
    assert json.loads(fixed_files(JOB, (), None, FOLDER, "salt")["fixed.json"]) == {"salt": "salt", "folder": "/tmp/nginx"}
