"""What changes while the gateway runs: engines, keys, certificates; and how it starts and ends."""

import datetime
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from gateway import KEYS, Gateway, docker

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300), pytest.mark.skipif(not shutil.which("docker"), reason="needs Docker")]

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    made = Gateway(tmp_path_factory.mktemp("changes"), "gateway: {requests_per_minute: 1000000}\n")
    try:
        made.start()
        yield made
    finally:
        made.remove()


def test_before_serve_has_said_anything(gateway: Gateway) -> None:
    with gateway.client() as client:
        for answer in (
            client.post(CHAT, json={}),
            client.get("/v1/models"),
            client.get("/v1/models/m"),
            client.get("/health/ready"),
            client.get("/health/deep"),
        ):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "30"), answer.request.url
        assert client.post(CHAT, json={}).json()["error"]["code"] == "model_loading"
        assert client.get("/health").status_code == 200
        assert client.get("/nothing").status_code == 404
    with gateway.client(None) as bare:
        assert bare.post(CHAT, json={}).status_code == 401, "who has no key is not told what is loaded"


def test_states_of_serve(gateway: Gateway) -> None:
    where = gateway.engine("one")
    with gateway.client() as client:
        gateway.tell("loading", retry_after=7)
        assert client.post(CHAT, json={}).headers["retry-after"] == "7"
        gateway.tell("ready", where)
        assert client.post(CHAT, json={}).json()["engine"] == "one"
        gateway.tell("failed")
        assert client.post(CHAT, json={}).json()["error"]["code"] == "model_failed"
        assert client.get("/health/deep").json()["status"] == "failed"


def test_a_stream_stays_with_its_engine_while_new_requests_go_to_the_next(gateway: Gateway) -> None:
    gateway.tell("ready", "one:8001")
    lines: list[str] = []

    def read() -> None:
        with gateway.client() as client, client.stream("POST", CHAT, json={"stream": 30, "every": 0.15}) as answer:
            lines.extend(line for line in answer.iter_lines() if line)

    reader = threading.Thread(target=read)
    with gateway.client() as client:
        reader.start()
        while not lines:
            time.sleep(0.05)
        gateway.tell("ready", "one:8002")
        # From the acknowledgement on: the old engine may be told to end.
        assert {client.post(CHAT, json={}).json()["engine"] for _ in range(20)} == {"one-2"}
        reader.join()
    assert lines == [f"data: one {at}" for at in range(30)]


def test_a_stream_stays_with_a_container_that_another_follows(gateway: Gateway) -> None:
    """Which takes a reload."""
    second = gateway.engine("two")
    gateway.tell("ready", "one:8001")
    with gateway.client() as client, client.stream("POST", CHAT, json={"stream": 20, "every": 0.15}) as answer, gateway.client() as other:
        lines = answer.iter_lines()
        next(lines)
        gateway.tell("ready", second)
        assert {other.post(CHAT, json={}).json()["engine"] for _ in range(20)} == {"two"}
        assert [line for line in lines if line][-1] == "data: one 19"


def test_many_changes_lose_no_request(gateway: Gateway) -> None:
    """Also of clients that keep their connections: an engine's port, and the keys, change without a reload."""
    gateway.tell("ready", "one:8001")
    keys = before = (gateway.place / "secrets/keys").read_text()
    codes: list[int] = []
    done = threading.Event()

    def ask() -> None:
        with gateway.client() as client:
            while not done.is_set():
                codes.append(client.post(CHAT, json={"sleep": 0.01}).status_code)

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    for port in (8002, 8001, 8002, 8001):
        gateway.tell("ready", f"one:{port}")
        keys += f"{'n' * 30}{port}{len(keys)}\n"
        gateway.write_keys(keys)
    done.set()
    for asker in askers:
        asker.join()
    assert len(codes) > 40 and set(codes) == {200}
    gateway.write_keys(before)
    gateway.wait_for("2 key(s), plain HTTP (keys changed)")


def test_an_engine_that_dies_in_a_stream_and_one_that_is_gone(gateway: Gateway) -> None:
    where = gateway.engine("mortal")
    gateway.tell("ready", where)
    container = gateway.engines[-1]
    with gateway.client() as client:
        with (
            pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"),
            client.stream("POST", CHAT, json={"stream": 100, "every": 0.1}) as answer,
        ):
            for line in answer.iter_lines():
                if line == "data: mortal 2":
                    docker("kill", "--signal", "KILL", container)
        answer = client.post(CHAT, json={})
        assert (answer.status_code, answer.headers["retry-after"], answer.json()["error"]["code"]) == (503, "30", "engine_away")
        gateway.wait_for("no engine: 503; 2 key(s), plain HTTP (address changed)")
        assert client.get("/health/deep").json()["status"] == "engine away"
        docker("start", container)
        end = time.monotonic() + 20
        while client.post(CHAT, json={}).status_code != 200:
            assert time.monotonic() < end, gateway.log()
            time.sleep(0.2)
    gateway.tell("ready", "one:8001")


def test_keys_come_and_go_without_a_restart(gateway: Gateway) -> None:
    before = (gateway.place / "secrets/keys").read_text()
    with gateway.client() as alice, gateway.client("bob") as bob:
        gateway.write_keys(before.replace(KEYS["bob"], "carols-key-0123456789").replace("bob", "carol"))
        wait_for_status(bob, 401)
        assert alice.get("/v1/models").status_code == 200
        assert alice.get("/v1/models", headers={"Authorization": "Bearer carols-key-0123456789"}).status_code == 200
        gateway.write_keys("too short\n")
        gateway.wait_for("/keys:1: a key has at least 16 visible ASCII letters")
        assert "what was there before stays in use" in gateway.log()
        assert alice.get("/v1/models").status_code == 200
        gateway.write_keys(before)
        wait_for_status(bob, 200)


def wait_for_status(client: httpx.Client, status: int) -> None:
    """Of a request that needs a key."""
    end = time.monotonic() + 10
    while client.get("/v1/models").status_code != status:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_document_that_serve_should_never_write_changes_nothing(gateway: Gateway) -> None:
    said = (gateway.place / "told/active.json").read_text()
    (gateway.place / "told/active.json").write_text("{")
    gateway.wait_for("active.json is not what it should be")
    with gateway.client() as client:
        assert client.post(CHAT, json={}).status_code == 200
    (gateway.place / "told/active.json").write_text(said)


def test_sigterm_finishes_what_runs(gateway: Gateway) -> None:
    with gateway.client() as client, client.stream("POST", CHAT, json={"stream": 20, "every": 0.1}) as answer:
        lines = answer.iter_lines()
        next(lines)
        docker("kill", "--signal", "TERM", gateway.name)
        rest = [line for line in lines if line]
    assert rest[-1] == "data: one 19"
    assert gateway.exit_code() == 0


# -- TLS, and starts


def write_certificate(folder: Path, days: int = 1) -> None:
    """A self-signed pair."""
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{folder}/tls.key", "-out", f"{folder}/tls.crt", "-days", str(days)]
    subprocess.run([*made, "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    for name in ("tls.key", "tls.crt"):
        (folder / name).chmod(0o444)


@pytest.fixture
def fresh(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Gateway]:
    place = tmp_path / "fresh"
    place.mkdir()
    made = Gateway(place, **getattr(request, "param", {}))
    yield made
    made.remove()


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl to make a certificate")
@pytest.mark.parametrize("fresh", [{"bind": "0.0.0.0"}], indirect=True)
def test_tls_with_a_users_certificate_and_its_renewal(fresh: Gateway) -> None:
    secrets = fresh.place / "secrets"
    write_certificate(secrets)
    fresh.start()
    fresh.tell("ready", fresh.engine("one"))
    with fresh.client(verify=False) as client:
        assert client.post(CHAT, json={}).json()["engine"] == "one"
        assert client.get(f"http://127.0.0.1:{fresh.port}/health").status_code == 400
    first = serial(fresh)
    write_certificate(secrets, 30)
    fresh.wait_for("(certificate changed)")
    assert serial(fresh) != first
    (secrets / "tls.key").write_text("not a key")
    fresh.wait_for("no pair in PEM")
    with fresh.client(verify=False) as client:
        assert client.post(CHAT, json={}).status_code == 200, "the old pair stays in use"


def serial(gateway: Gateway) -> str:
    """Of the certificate that is shown."""
    shown = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port}"], input="", capture_output=True, text=True).stdout
    return subprocess.run(["openssl", "x509", "-noout", "-serial"], input=shown, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("fresh", [{"bind": "0.0.0.0"}], indirect=True)
def test_plain_http_beyond_this_machine_is_refused(fresh: Gateway) -> None:
    fresh.start()
    assert fresh.exit_code() == 2
    assert "BIND=0.0.0.0 publishes beyond this machine, and there is no TLS" in fresh.log() and "PLAIN_HTTP=yes" in fresh.log()


@pytest.mark.parametrize("fresh", [{"bind": "0.0.0.0", "plain_http": "yes"}], indirect=True)
def test_plain_http_by_name(fresh: Gateway) -> None:
    fresh.start()
    with fresh.client() as client:
        assert client.get("/health").status_code == 200


def test_no_key_no_start(fresh: Gateway) -> None:
    fresh.write_keys("")
    fresh.start()
    assert fresh.exit_code() == 3 and "holds no key" in fresh.log() and "Traceback" not in fresh.log()


def test_nginx_that_dies_ends_the_gateway(fresh: Gateway) -> None:
    fresh.start()
    kill = 'for p in /proc/[0-9]*; do case "$(tr "\\0" " " < $p/cmdline)" in "nginx: master"*) kill -9 ${p#/proc/};; esac; done'
    docker("exec", fresh.name, "sh", "-c", kill)
    assert fresh.exit_code() == 1 and "nginx ended by itself" in fresh.log()


def test_a_stop_while_nothing_is_served_is_quick(fresh: Gateway) -> None:
    fresh.start()
    before = datetime.datetime.now()
    docker("stop", fresh.name)
    assert (datetime.datetime.now() - before).total_seconds() < 6
    assert fresh.exit_code() == 0
    assert json.loads((fresh.place / "told/gateway.json").read_text()) == {"generation": 0}
