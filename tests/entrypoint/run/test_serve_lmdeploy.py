"""LMDeploy's process, as far as it goes without a GPU: its command line, what it reads from files, the door around its app."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from entrypoint.run.door import Door
from entrypoint.run.serve_lmdeploy import UNSAID, behind_door, check_engine, command_line, remembered
from schemas.errors import MachineError
from schemas.serve_job import EngineTask

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    for name in ("model", "exported", "extra"):
        (tmp_path / name).mkdir()
    return {name: str(tmp_path / name) for name in ("model", "exported", "extra")}


def task(folders: dict[str, str], **other: Any) -> EngineTask:
    values: dict[str, Any] = {
        "served_name": "n",
        "model": folders["exported"],
        "port": 8001,
        "arguments": ("--backend", "pytorch"),
        "served_keys": (),
        "own_key": "",
    }
    return EngineTask(**{**values, **other})


def test_command_line(folders: dict[str, str]) -> None:
    assert command_line(task(folders), Path(folders["extra"])) == [
        "lmdeploy", "serve", "api_server", folders["exported"], "--server-name", "0.0.0.0", "--server-port", "8001", "--model-name", "n", "--backend", "pytorch",
        "--generation-config", folders["extra"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("own", "wanted", "told"),
    [
        (None, {}, UNSAID),
        ({"temperature": 0.6, "eos_token_id": [1, 2]}, {}, {**UNSAID, "temperature": 0.6, "eos_token_id": [1, 2]}),
        ({"temperature": 0.6}, {"temperature": 0.1, "top_k": 7}, {**UNSAID, "temperature": 0.1, "top_k": 7}),
    ],
)
def test_generation_config(folders: dict[str, str], own: dict | None, wanted: dict, told: dict) -> None:
    if own is not None:
        Path(folders["exported"], "generation_config.json").write_text(json.dumps(own))
    command_line(task(folders, generation=wanted), Path(folders["extra"]))
    assert json.loads(Path(folders["extra"], "generation_config.json").read_text()) == told


def test_adapters_stand_on_the_base_with_the_exported_template(folders: dict[str, str]) -> None:
    Path(folders["exported"], "generation_config.json").write_text('{"top_k": 3}')
    adapters = {"n": "/store/n/w", "b": "/models/b"}
    found = command_line(task(folders, model=folders["model"], tokenizer=folders["exported"], adapters=adapters), Path(folders["extra"]))
    assert found[3] == folders["model"]
    assert found[-3:] == ["--adapters", "n=/store/n/w", "b=/models/b"]
    template = Path(found[-4])
    assert found[-5] == "--chat-template" and json.loads(template.read_text()) == {"model_name": "hf", "model_path": folders["exported"]}
    assert json.loads(Path(folders["extra"], "generation_config.json").read_text())["top_k"] == 3


def test_an_image_without_lmdeploy(folders: dict[str, str]) -> None:
    with pytest.raises(MachineError, match="this image has no LMDeploy"):
        check_engine(("--backend", "turbomind"))
    # And as the process that the supervisor starts: exit 3, in words.
    command = [sys.executable, "-m", "entrypoint.run.serve_lmdeploy", "8001"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stderr
        process.stdin.write(task(folders).model_dump_json() + "\n")
        process.stdin.flush()
        said = process.stderr.read()
        assert process.wait(timeout=60) == 3
    assert said == "caisson: serve.engine: this image has no LMDeploy\n    set ENGINE=lmdeploy for Compose, which takes the image serve-lmdeploy\n"


def test_the_app_runs_behind_the_door() -> None:
    """Through a real ASGI call: what is not the OpenAI endpoints never reaches the app, and nothing does without a key."""
    ran: dict[str, Any] = {}
    before = signal.getsignal(signal.SIGTERM)
    try:
        behind_door(lambda **settings: ran.update(settings), lambda: None, 7)(app=app, host="0.0.0.0", port=1)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert isinstance(ran["app"], Door) and (ran["host"], ran["port"], ran["timeout_graceful_shutdown"]) == ("0.0.0.0", 1, 7)
    assert [asyncio.run(ask(ran["app"], *asked)) for asked in (("GET", "/health"), ("POST", "/update_weights"), ("GET", "/v1/models"))] == [401, 401, 401]


def test_the_context_is_remembered() -> None:
    class Server:
        class ServerContext:
            pass

    context = remembered(Server)
    made = Server.ServerContext()
    assert context() is made and type(made).__name__ == "ServerContext"


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def ask(door: Door, method: str, path: str) -> int:
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    await door({"type": "http", "method": method, "path": path, "headers": []}, receive, send)
    return int(said[0]["status"])


@pytest.mark.image
@pytest.mark.lmdeploy
@pytest.mark.filterwarnings("ignore")  # the engine's own, while it is imported
def test_lmdeploy_takes_its_app_to_uvicorn_run() -> None:
    """In LMDeploy's image: what behind_door replaces is what its server calls, with an app by name."""
    pytest.importorskip("lmdeploy")
    import inspect

    import uvicorn
    from lmdeploy.serve.openai import api_server

    assert api_server.uvicorn is uvicorn and "server_context = ServerContext()" in inspect.getsource(api_server.serve)
    assert "uvicorn.run(app=app," in inspect.getsource(api_server.serve)
