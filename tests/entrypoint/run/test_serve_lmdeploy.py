"""LMDeploy's leaf, as far as it goes without a GPU: its command line, what it reads from files, the door around its app."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from entrypoint.run.door import Door
from entrypoint.run.serve_lmdeploy import UNSAID, behind_door, check_engine, command_line
from schemas.errors import MachineError
from schemas.job import Task
from schemas.serve_job import AdapterPlace, ServeJob

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, str]:
    for role in ("model", "exported"):
        (tmp_path / role).mkdir()
    return {role: str(tmp_path / role) for role in ("model", "exported")}


@pytest.fixture
def extra(tmp_path: Path) -> Path:
    (tmp_path / "extra").mkdir()
    return tmp_path / "extra"


def job(**other: Any) -> ServeJob:
    return ServeJob(served_name="n", engine="lmdeploy", arguments=("--backend", "pytorch", "--chat-template", "hf"), **other)


def test_command_line(inputs: dict[str, str], extra: Path) -> None:
    found = command_line(job(), inputs, extra)
    assert found == [
        "lmdeploy", "serve", "api_server", inputs["exported"], "--backend", "pytorch", "--chat-template", "hf", "--generation-config", str(extra),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("own", "wanted", "told"),
    [
        (None, {}, UNSAID),
        ({"temperature": 0.6, "eos_token_id": [1, 2]}, {}, {**UNSAID, "temperature": 0.6, "eos_token_id": [1, 2]}),
        ({"temperature": 0.6}, {"temperature": 0.1, "top_k": 7}, {**UNSAID, "temperature": 0.1, "top_k": 7}),
    ],
)
def test_generation_config(inputs: dict[str, str], extra: Path, own: dict | None, wanted: dict, told: dict) -> None:
    if own is not None:
        Path(inputs["exported"], "generation_config.json").write_text(json.dumps(own))
    command_line(job(generation=wanted), inputs, extra)
    assert json.loads((extra / "generation_config.json").read_text()) == told


def test_adapters_stand_on_the_base_with_the_exported_template(inputs: dict[str, str], extra: Path) -> None:
    places = (AdapterPlace(name="n", run="n", path="/store/n/w"), AdapterPlace(name="b", path="/models/b"))
    found = command_line(job(adapters=places), inputs, extra)
    assert found[3] == inputs["model"]
    assert found[-3:] == ["--adapters", "n=/store/n/w", "b=/models/b"]
    template = Path(found[-4])
    assert found[-5] == "--chat-template" and json.loads(template.read_text()) == {"model_name": "hf", "model_path": inputs["exported"]}


def test_an_adapter_that_is_not_there(inputs: dict[str, str], extra: Path) -> None:
    with pytest.raises(MachineError, match="n is not there"):
        command_line(job(adapters=(AdapterPlace(name="n", run="n"),)), inputs, extra)


def test_an_image_without_lmdeploy(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="this image has no LMDeploy"):
        check_engine(("--backend", "turbomind"))
    # And as the process that the executor starts: exit 3, in words.
    task = Task(name="n", job=job(), inputs={"exported": str(tmp_path)}, output="", events="", summary="")
    (tmp_path / "task.json").write_text(task.model_dump_json())
    command = [sys.executable, "-m", "entrypoint.run.serve_lmdeploy", str(tmp_path / "task.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr == "caisson: serve.engine: this image has no LMDeploy\n    set ENGINE=lmdeploy for Compose, which takes the image serve-lmdeploy\n"


def test_the_app_runs_behind_the_door() -> None:
    """Through a real ASGI call: what is not the OpenAI endpoints never reaches the app."""
    ran: dict[str, Any] = {}
    before = signal.getsignal(signal.SIGTERM)
    try:
        behind_door(lambda **settings: ran.update(settings), 7)(app=app, host="0.0.0.0", port=1)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert isinstance(ran["app"], Door) and (ran["host"], ran["port"], ran["timeout_graceful_shutdown"]) == ("0.0.0.0", 1, 7)
    assert [asyncio.run(ask(ran["app"], *asked)) for asked in (("GET", "/health"), ("POST", "/update_weights"), ("GET", "/v1/models"))] == [200, 401, 401]


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
@pytest.mark.filterwarnings("ignore")  # the engine's own, while it is imported
def test_lmdeploy_takes_its_app_to_uvicorn_run() -> None:
    """In LMDeploy's image: what behind_door replaces is what its server calls, with an app by name."""
    pytest.importorskip("lmdeploy")
    import inspect

    import uvicorn
    from lmdeploy.serve.openai import api_server

    assert api_server.uvicorn is uvicorn
    assert "uvicorn.run(app=app," in inspect.getsource(api_server.serve)
