"""vLLM's OpenAI server behind our door, a child of the leaf of the stage serve. `python -m entrypoint.run.serve_vllm PORT`, the rest by standard input."""

import runpy
import sys
import warnings

from entrypoint.run.engine_start import receive
from schemas.errors import Interrupted

ENGINE = "vllm.entrypoints.openai.api_server"


def main() -> None:
    """Serve until SIGTERM, which lets requests in flight finish; also ends with 0 when the engine's core has died."""
    task = receive()
    # By its module, not its parts: those move between versions, and its `vllm` command looks for a distribution of that name, which
    # the CPU build is not.
    address = ["--host", task.host, "--port", str(task.port)]
    sys.argv = [ENGINE, "--model", task.model, "--served-model-name", task.served_name, *address]
    sys.argv += ["--middleware", "entrypoint.run.door.Door", *task.arguments]
    if task.tokenizer:
        sys.argv += ["--tokenizer", task.tokenizer, "--generation-config", task.tokenizer]
    warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*api_server.*")
    try:
        if task.headless:
            _follow(sys.argv[1:])
            return
        runpy.run_module(ENGINE, run_name="__main__")
    except KeyboardInterrupt:  # so it takes a SIGTERM, too, until its server is up
        sys.exit(Interrupted.exit_code)


def _follow(arguments: list[str]) -> None:
    """Compute for the first of several nodes, without a server."""
    from vllm.entrypoints.cli.serve import run_headless
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    args = make_arg_parser(FlexibleArgumentParser()).parse_args(arguments)
    args.api_server_count = 0
    run_headless(args)


if __name__ == "__main__":
    main()
