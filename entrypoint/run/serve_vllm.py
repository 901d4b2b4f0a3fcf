"""Leaf of the stage serve: vLLM's OpenAI server behind our door. `python -m entrypoint.run.serve_vllm TASK`."""

import runpy
import sys
import warnings
from pathlib import Path

from entrypoint.run.door import install_keys, read_keys
from schemas.errors import CaissonError, Interrupted
from schemas.job import Task
from schemas.serve_job import ServeJob

ENGINE = "vllm.entrypoints.openai.api_server"


def main() -> None:
    """Serve until SIGTERM, which lets requests in flight finish; also ends with 0 when the engine has died: the executor tells the two apart."""
    task = Task.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    assert isinstance(task.job, ServeJob)
    try:
        install_keys(read_keys(Path(task.job.key_file)))
    except CaissonError as error:
        print(f"caisson: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    # By its module, not its parts: those move between versions, and its `vllm` command looks for a distribution of that name, which
    # the CPU build is not.
    sys.argv = [ENGINE, "--model", task.inputs["exported"], "--middleware", "entrypoint.run.door.Door", *task.job.arguments]
    warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*api_server.*")
    try:
        runpy.run_module(ENGINE, run_name="__main__")
    except KeyboardInterrupt:  # so it takes a SIGTERM, too, until its server is up
        sys.exit(Interrupted.exit_code)


if __name__ == "__main__":
    main()
