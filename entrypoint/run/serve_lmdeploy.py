"""LMDeploy's OpenAI server behind our door, a child of the leaf of the stage serve. `python -m entrypoint.run.serve_lmdeploy PORT`, the rest by
standard input."""

import importlib.util
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from entrypoint.run.door import Door
from entrypoint.run.engine_start import receive
from entrypoint.run.lmdeploy_dialect import Dialect
from schemas.errors import CaissonError, Interrupted, MachineError
from schemas.serve_job import EngineTask

GENERATION = "generation_config.json"
UNSAID: dict[str, float] = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
"""Sampling where neither request nor model say anything: vLLM's and OpenAI's. LMDeploy's own are 0.8 and the 50 likeliest tokens."""


def main() -> None:
    """Serve until SIGTERM, which lets requests in flight finish."""
    signal.signal(signal.SIGTERM, _stop)
    task = receive()
    try:
        check_engine(task.arguments)
    except CaissonError as error:
        print(f"caisson: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    sys.argv = command_line(task, Path(tempfile.mkdtemp(prefix="lmdeploy-")))
    import uvicorn
    from lmdeploy.cli import run
    from lmdeploy.serve.openai import api_server

    context = remembered(api_server)
    uvicorn.run = behind_door(uvicorn.run, context, task.drain_seconds)
    run()


def check_engine(arguments: Sequence[str]) -> None:
    """Raise MachineError where this image has no LMDeploy, or no driver loads TurboMind: LMDeploy would take its other back end in silence."""
    if importlib.util.find_spec("lmdeploy") is None:
        raise MachineError("serve.engine: this image has no LMDeploy", "set ENGINE=lmdeploy for Compose, which takes the image serve-lmdeploy")
    if "turbomind" not in arguments:
        return
    from lmdeploy import turbomind

    if not turbomind.is_available():
        raise MachineError(
            f"serve.backend: turbomind cannot be loaded: {turbomind._import_error}", "look at `nvidia-smi` on the host, or write backend: pytorch"
        )


def command_line(task: EngineTask, extra: Path) -> list[str]:
    """LMDeploy's argv. What it reads from files alone is written into `extra`."""
    address = ["--server-name", task.host, "--server-port", str(task.port), "--model-name", task.served_name]
    found = ["lmdeploy", "serve", "api_server", task.model, *address, *task.arguments]
    write_generation(Path(task.tokenizer or task.model), task.generation, extra)
    found += ["--generation-config", str(extra)]
    if task.tokenizer:
        template = extra / "template.json"  # the exported one, not the base model's
        template.write_text(json.dumps({"model_name": "hf", "model_path": task.tokenizer}), encoding="utf-8")
        found += ["--chat-template", str(template)]
    if task.adapters:
        found += ["--adapters", *(f"{name}={folder}" for name, folder in task.adapters.items())]
    return found


def write_generation(model: Path, wanted: Mapping[str, float], folder: Path) -> None:
    """A generation config of what the spec says, else the model, else everybody."""
    own = model / GENERATION
    said: dict[str, Any] = json.loads(own.read_bytes()) if own.is_file() else {}
    (folder / GENERATION).write_text(json.dumps({**UNSAID, **said, **wanted}), encoding="utf-8")


def remembered(server: Any) -> Callable[[], Any]:
    """A way to the server context that LMDeploy makes inside its function and hands to nobody."""
    made: list[Any] = []
    original = server.ServerContext

    def make() -> Any:
        made.append(original())
        return made[-1]

    server.ServerContext = make
    return lambda: made[-1]


def behind_door(run: Callable[..., None], context: Callable[[], Any], drain_seconds: int) -> Callable[..., None]:
    """uvicorn.run, with the door around whatever app it is given: LMDeploy makes its app and runs it in one function."""

    def run_behind(*, app: Any, **settings: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # uvicorn takes the signal, and raises it again when it has drained
        run(app=Door(Dialect(app, context)), **settings, timeout_graceful_shutdown=drain_seconds)

    return run_behind


def _stop(number: int, frame: object) -> None:
    sys.exit(Interrupted.exit_code)


if __name__ == "__main__":
    main()
