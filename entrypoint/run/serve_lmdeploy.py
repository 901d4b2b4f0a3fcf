"""Leaf of the stage serve: LMDeploy's OpenAI server behind our door. `python -m entrypoint.run.serve_lmdeploy TASK`."""

import importlib.util
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from entrypoint.run.door import Door, install_keys, read_keys
from schemas.errors import CaissonError, Interrupted, MachineError
from schemas.job import Task
from schemas.serve_job import ServeJob

GENERATION = "generation_config.json"
UNSAID: dict[str, float] = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
"""Sampling where neither request nor model say anything: vLLM's and OpenAI's. LMDeploy's own are 0.8 and the 50 likeliest tokens."""


def main() -> None:
    """Serve until SIGTERM, which lets requests in flight finish."""
    task = Task.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    assert isinstance(task.job, ServeJob)
    signal.signal(signal.SIGTERM, _stop)
    try:
        check_engine(task.job.arguments)
        install_keys(read_keys(Path(task.job.key_file)))
        extra = Path(tempfile.mkdtemp(prefix="lmdeploy-"))
        sys.argv = command_line(task.job, task.inputs, extra)
    except CaissonError as error:
        print(f"caisson: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    import uvicorn
    from lmdeploy.cli import run

    uvicorn.run = behind_door(uvicorn.run, task.job.drain_seconds)
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


def command_line(job: ServeJob, inputs: Mapping[str, str], extra: Path) -> list[str]:
    """LMDeploy's argv. What it reads from files alone is written into `extra`. Raises MachineError for an adapter that is not there."""
    model = Path(inputs["model"] if job.adapters else inputs["exported"])
    found = ["lmdeploy", "serve", "api_server", str(model), *job.arguments]
    write_generation(Path(inputs["exported"]), job.generation, extra)
    found += ["--generation-config", str(extra)]
    if not job.adapters:
        return found
    template = extra / "template.json"  # the exported one, not the base model's
    template.write_text(json.dumps({"model_name": "hf", "model_path": inputs["exported"]}), encoding="utf-8")
    missing = next((place.name for place in job.adapters if place.path is None), None)
    if missing:
        raise MachineError(f"serve.adapters: {missing} is not there", "train it first, or take the entry out")
    return [*found, "--chat-template", str(template), "--adapters", *(f"{place.name}={place.path}" for place in job.adapters)]


def write_generation(model: Path, wanted: Mapping[str, float], folder: Path) -> None:
    """A generation config of what the spec says, else the model, else everybody."""
    own = model / GENERATION
    said: dict[str, Any] = json.loads(own.read_bytes()) if own.is_file() else {}
    (folder / GENERATION).write_text(json.dumps({**UNSAID, **said, **wanted}), encoding="utf-8")


def behind_door(run: Callable[..., None], drain_seconds: int) -> Callable[..., None]:
    """uvicorn.run, with the door around whatever app it is given: LMDeploy makes its app and runs it in one function."""

    def run_behind(*, app: Any, **settings: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # uvicorn takes the signal, and raises it again when it has drained
        run(app=Door(app), **settings, timeout_graceful_shutdown=drain_seconds)

    return run_behind


def _stop(number: int, frame: object) -> None:
    sys.exit(Interrupted.exit_code)


if __name__ == "__main__":
    main()
