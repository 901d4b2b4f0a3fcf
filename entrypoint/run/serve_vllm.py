"""Leaf of the stage serve: vLLM's OpenAI server behind our door. `python -m entrypoint.run.serve_vllm TASK`."""

import sys
from pathlib import Path

from entrypoint.run.door import install_keys, read_keys
from schemas.errors import CaissonError
from schemas.job import ServeJob, Task


def main() -> None:
    """Serve until SIGTERM; requests in flight are finished first."""
    task = Task.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    assert isinstance(task.job, ServeJob)
    try:
        install_keys(read_keys(Path(task.job.key_file)))
    except CaissonError as error:
        print(f"caisson: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    import uvloop
    from vllm.entrypoints.openai.api_server import run_server
    from vllm.entrypoints.openai.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = make_arg_parser(FlexibleArgumentParser())
    arguments = parser.parse_args(["--model", task.inputs["exported"], "--middleware", "entrypoint.run.door.Door", *task.job.arguments])
    validate_parsed_serve_args(arguments)
    uvloop.run(run_server(arguments))


if __name__ == "__main__":
    main()
