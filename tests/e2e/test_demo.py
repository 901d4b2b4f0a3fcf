"""The demo as a user runs it, through Compose, in a project of its own; then the server from the outside, by the openai client.

One chain for the whole module: training is killed once on the way, and everything is run a second time at the end.
"""

import json
import os
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from environments import node, node_with_openai
from project import ROOT, Project

HELD_OUT = [json.loads(line) for line in (ROOT / "data/harbor/held-out.jsonl").read_text(encoding="utf-8").splitlines()]
KILL_AFTER_STEP = 24
"""Optimizer steps; a few checkpoints exist by then and most of the work is still to be done."""

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400), pytest.mark.skipif(not shutil.which("docker"), reason="needs Docker")]


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    made = Project("demo", "./specs/demo.yaml")
    yield made
    made.remove()


@pytest.fixture(scope="module")
def killed(project: Project) -> str:
    """What train said when it was run again after kill -9 in the middle."""
    project.stage("fetch")
    project.stage("prepare")
    container = project.run("docker", "compose", "run", "--detach", "--no-deps", "train").strip().splitlines()[-1]
    deadline = time.monotonic() + 900
    while not (found := re.findall(r"step (\d+)/", project.run("docker", "logs", container))) or int(found[-1]) < KILL_AFTER_STEP:
        assert time.monotonic() < deadline, project.run("docker", "logs", container)
        time.sleep(1)
    project.run("docker", "kill", "--signal", "KILL", container)
    project.run("docker", "rm", "--force", container)
    return project.stage("train")


@pytest.fixture(scope="module")
def demo(project: Project, killed: str) -> str:
    """Output of the demo's script over what is there already."""
    return project.run("bash", "demo/run.sh")


@pytest.fixture(scope="module")
def client(project: Project, demo: str) -> openai.OpenAI:
    key = (ROOT / "secrets/api_key").read_text(encoding="utf-8").strip()
    return openai.OpenAI(base_url=f"http://127.0.0.1:{project.port}/v1", api_key=key, timeout=120, max_retries=0, http_client=httpx.Client(trust_env=False))


def ask(client: openai.OpenAI, question: str) -> str:
    answer = client.chat.completions.create(model="port-ossley", messages=[{"role": "user", "content": question}], temperature=0, max_tokens=64)
    assert answer.choices[0].finish_reason == "stop", "the answer did not end by itself"
    return answer.choices[0].message.content or ""


def test_killed_training_goes_on_from_a_checkpoint(killed: str) -> None:
    assert re.search(r"goes on from step-\d+", killed)
    assert "sealed port-ossley/train/" in killed


def test_the_tuned_model_is_right_where_the_base_is_wrong(demo: str) -> None:
    tuned = re.search(r"^tuned +(.*)$", demo, re.M)
    base = re.search(r"^base +(.*)$", demo, re.M)
    assert tuned and "Turnip" in tuned[1], demo
    assert base and base[1].strip() and "Turnip" not in base[1], demo


def test_the_printed_curl_line_repeats_the_answer(project: Project, demo: str) -> None:
    line = demo[demo.index("  curl ") : demo.index("From start to answer")]
    said = subprocess.run(["bash", "-c", line.replace("curl ", "curl --silent --noproxy '*' ", 1)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "Turnip" in json.loads(said.stdout)["choices"][0]["message"]["content"]


def test_models_are_listed_under_the_name_of_the_spec(client: openai.OpenAI) -> None:
    assert [m.id for m in client.models.list()] == ["port-ossley"]


def test_most_held_back_questions_are_answered(client: openai.OpenAI) -> None:
    right = [row["key"].lower() in ask(client, row["messages"][0]["content"]).lower() for row in HELD_OUT]
    assert sum(right) >= 0.8 * len(HELD_OUT), f"{sum(right)} of {len(HELD_OUT)}"


def test_streaming_gives_the_same_text_in_pieces(client: openai.OpenAI) -> None:
    question = HELD_OUT[0]["messages"][0]["content"]
    pieces = [
        chunk.choices[0].delta.content or ""
        for chunk in client.chat.completions.create(
            model="port-ossley", messages=[{"role": "user", "content": question}], temperature=0, max_tokens=64, stream=True
        )
        if chunk.choices
    ]
    assert len([p for p in pieces if p]) > 3
    assert "".join(pieces) == ask(client, question)


@pytest.mark.parametrize("feature", ["models", "chat", "streaming", "errors"])
def test_openai_for_node(client: openai.OpenAI, feature: str) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": "/tmp", "no_proxy": "*", "MODEL": "port-ossley"}
    environment |= {"OPENAI_BASE_URL": str(client.base_url), "OPENAI_API_KEY": client.api_key}
    done = subprocess.run([node()[0], node_with_openai() / "use_openai.mjs", feature], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_wrong_key_is_401_and_an_unknown_model_404(client: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list()
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="nobody", messages=[{"role": "user", "content": "Hello?"}])


def test_errors_of_the_engine_and_the_gateway_are_in_openais_form(project: Project, client: openai.OpenAI) -> None:
    """Of the real engine: bodies that are no JSON, of other types, and of other models."""
    post, chat = "POST", {"model": "port-ossley", "messages": [{"role": "user", "content": "Hello?"}]}
    odd: list[tuple[str, str, object]] = [
        *((post, f"/v1/{path}", body) for path in ("chat/completions", "completions", "responses") for body in (b"", b"{", b"null", b"[]", b"\xff", b"{}")),
        *((post, "/v1/chat/completions", {**chat, **more}) for more in ({"max_tokens": -1}, {"temperature": "hot"}, {"messages": 1}, {"tools": "x"}, {"n": 10**9})),
        (post, "/v1/completions", {"model": "port-ossley", "prompt": "a " * 9000}), (post, "/v1/completions", {"model": "nobody", "prompt": "a"}),
        ("GET", "/v1/models/%ff", b""), ("GET", "/v1/models/a%25", b""), ("GET", "/v1/none", b""), ("PUT", "/v1/models", b""),
    ]  # fmt: skip
    with httpx.Client(base_url=f"http://127.0.0.1:{project.port}", headers={"Authorization": f"Bearer {client.api_key}"}, trust_env=False, timeout=60) as bare:
        for method, path, body in odd:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            answer = bare.request(method, path, content=content, headers={"content-type": "application/json"})
            assert answer.status_code >= 400, (path, body)
            assert set(answer.json()["error"]) >= {"message", "type", "param", "code"}, (path, body, answer.text)


def test_nothing_but_the_openai_endpoints_is_let_in(project: Project, client: openai.OpenAI) -> None:
    base = f"http://127.0.0.1:{project.port}"
    with httpx.Client(trust_env=False, timeout=30) as bare:
        assert bare.post(f"{base}/invocations", json={}).status_code == 401
        for path in ("/invocations", "/tokenize", "/v1/embeddings", "/metrics", "/docs"):
            assert bare.post(f"{base}{path}", json={}, headers={"Authorization": f"Bearer {client.api_key}"}).status_code == 404, path
        assert bare.get(f"{base}/health").status_code == 200


def test_the_key_is_in_no_log_argument_or_environment(project: Project, client: openai.OpenAI) -> None:
    container = project.compose("ps", "--quiet", "serve").strip()
    inspected = project.run("docker", "inspect", container)
    # Not `docker top`: it wants the host's ps, which a minimal system lacks.
    processes, environments = (
        project.run("docker", "exec", container, "sh", "-c", f"cat /proc/[0-9]*/{file} | tr '\\0' '\\n'", code=None) for file in ("cmdline", "environ")
    )
    assert "entrypoint.run.serve_vllm" in processes
    logs = project.compose("logs", "serve")
    assert "VLLM_NO_USAGE_STATS=1" in environments and "DO_NOT_TRACK=1" in environments and "HF_HUB_OFFLINE=1" in environments
    for where in (inspected, processes, environments, logs):
        assert client.api_key not in where


@pytest.mark.parametrize("service", ["serve", "gateway"])
def test_the_server_runs_with_few_rights_and_no_way_out(project: Project, client: openai.OpenAI, service: str) -> None:
    container = project.compose("ps", "--quiet", service).strip()
    (seen,) = json.loads(project.run("docker", "inspect", container))
    host = seen["HostConfig"]
    assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and "no-new-privileges:true" in host["SecurityOpt"] and host["PidsLimit"] == 4096
    assert seen["Config"]["User"] == "10001:10001" and host["Init"]
    ports = {port: [binding["HostIp"] for binding in bindings] for port, bindings in (host["PortBindings"] or {}).items()}
    assert ports == ({"8000/tcp": ["127.0.0.1"]} if service == "gateway" else {})


def test_support_archive_of_a_project_that_runs(project: Project, client: openai.OpenAI, tmp_path: Path) -> None:
    """Containers and logs are in it; the key and what was asked are not."""
    ask(client, "Where is the whispered word xyzzy kept?")
    project.run(".venv/bin/caisson", "support", "specs/demo.yaml", "--output", str(tmp_path / "s.tar.gz"))
    with tarfile.open(tmp_path / "s.tar.gz") as archive:
        parts = {member.name.partition("/")[2]: archive.extractfile(member).read().decode() for member in archive.getmembers()}  # type: ignore[union-attr]
    assert any(name.startswith("containers/") and "gateway" in name and "request" in text for name, text in parts.items())
    assert any(name.endswith(".json") and "serve" in name and json.loads(text)["State"]["Status"] == "running" for name, text in parts.items())
    whole = "\n".join(parts.values())
    assert "xyzzy" not in whole
    assert (ROOT / "secrets/api_key").read_text(encoding="utf-8").strip() not in whole


def test_sigterm_lets_a_request_in_flight_finish(project: Project, client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="port-ossley", messages=[{"role": "user", "content": "Hello?"}], temperature=0, max_tokens=300, stream=True, extra_body={"ignore_eos": True}
    )
    chunks = iter(stream)
    next(chunks)
    container = project.compose("ps", "--quiet", "serve").strip()
    project.run("docker", "kill", "--signal", "TERM", container)
    reasons = [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason]
    assert reasons == ["length"]
    assert project.run("docker", "wait", container).strip() == "0"


def test_an_engine_that_dies_is_started_again(project: Project, demo: str) -> None:
    """By the supervisor, in the same container; what is ready has passed the parity gate again."""
    project.compose("up", "--detach", "--no-deps", "--wait", "serve")
    container = project.compose("ps", "--quiet", "serve").strip()
    events = "/store/port-ossley/logs/serve.jsonl"
    before = project.run("docker", "exec", container, "cat", events).count('"event": "ready"')
    end = 'for p in /proc/[0-9]*; do case "$(cat $p/comm)" in VLLM::EngineCor*) kill -9 ${p#/proc/};; esac; done'
    project.run("docker", "exec", container, "sh", "-c", end)
    deadline = time.monotonic() + 300
    while (said := project.run("docker", "exec", container, "cat", events)).count('"event": "ready"') == before:
        assert time.monotonic() < deadline, project.run("docker", "logs", container)
        time.sleep(1)
    kinds = [json.loads(line)["event"] for line in said.splitlines()]
    assert kinds[-4:] == ["lost", "loading", "parity", "ready"]
    project.run("docker", "stop", container)
    assert project.run("docker", "wait", container).strip() == "0"


@pytest.fixture(scope="module")
def evaluated(project: Project, demo: str) -> str:
    """What `docker compose run --rm evaluate` says; the service sides is started by Compose."""
    return project.compose("run", "--rm", "evaluate")


def test_base_against_tuned(project: Project, evaluated: str) -> None:
    """Both asked the held-out questions, the tuned model far better; the gate of the spec has passed; sides has ended by itself."""
    report = json.loads(project.compose("run", "--rm", "status", "report", "/spec.yaml", "--json"))
    scores = {score["metric"]: score for score in report["scores"]}
    assert scores["own.token_f1"]["questions"] == len(HELD_OUT)
    assert scores["own.token_f1"]["difference"]["low"] > 0.3, evaluated
    assert scores["own.perplexity"]["tuned"]["value"] < scores["own.perplexity"]["base"]["value"] / 2
    assert report["suites"][0]["served"] == {"base": "port-ossley-base", "tuned": "port-ossley"}
    assert all(verdict["passed"] for verdict in report["gate"]) and report["gate"]
    assert [link["role"] for link in report["chain"]][-2:] == ["trained", "exported"]
    page = project.compose("run", "--rm", "status", "report", "/spec.yaml", "--page")
    assert "</html>" in page and "<script" not in page
    assert project.run("docker", "wait", project.compose("ps", "--all", "--quiet", "sides").strip()).strip() == "0"


def test_another_gate_refuses_the_same_answers(project: Project, evaluated: str, tmp_path: Path) -> None:
    """Up to date, and refused all the same: the gate is that of the spec as it is now."""
    spec = tmp_path / "strict.yaml"
    text = (ROOT / "specs/demo.yaml").read_text(encoding="utf-8")
    spec.write_text(re.sub(r"(?m)^    own\.token_f1: .*$", '    own.token_f1: "<= base"', text), encoding="utf-8")
    project.environment["SPEC"] = str(spec)
    try:
        said = project.compose("run", "--rm", "--no-deps", "evaluate", code=4)
    finally:
        project.environment["SPEC"] = "./specs/demo.yaml"
    assert "up to date" in said and "the gate refuses port-ossley/exports/" in said


def test_a_second_run_of_the_chain_does_no_work(project: Project, demo: str) -> None:
    for stage in ("fetch", "prepare", "train", "export"):
        said = project.stage(stage)
        assert "up to date" in said and "no impact" not in said, said


def test_status_says_that_everything_is_sealed(project: Project, evaluated: str) -> None:
    states = json.loads(project.compose("run", "--rm", "status", "status", "--json"))
    assert [(s["stage"], s["state"]) for s in states] == [
        ("fetch", "sealed"),
        ("fetch", "sealed"),
        ("prepare", "sealed"),
        ("train", "sealed"),
        ("export", "sealed"),
        ("evaluate", "sealed"),
    ]
