"""Starts the ranks of a step on this node: torchrun's elastic agent, with the ends that a step needs.
`python -m entrypoint.run.launch OPTIONS MODULE TASK`.

torchrun's own command ends with 1 whatever its ranks end with, prints a table over their words, and gives them 30 seconds to stop.
"""

import argparse
import logging
import os
import signal
import sys
import uuid
from collections.abc import Iterable
from typing import Any, NoReturn

from torch.distributed.elastic.agent.server import WorkerSpec
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.rendezvous import RendezvousParameters
from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

from entrypoint.run.ranks import LAUNCHER
from schemas.errors import TOLD, CaissonError, Interrupted, StepFailed

MONITOR_SECONDS = 0.1


class Agent(LocalElasticAgent):
    """torchrun's agent. A rank that has said why it ends is not started again: it would say the same."""

    def _monitor_workers(self, worker_group: Any) -> Any:
        result = super()._monitor_workers(worker_group)
        if any(failure.exitcode in TOLD for failure in result.failures.values()):
            self._remaining_restarts = 0
        return result

    @property
    def has_ranks(self) -> bool:
        """Whether processes were started."""
        return self._pcontext is not None

    def failures(self) -> list[Any]:
        """Of the ranks of this node, once all have ended."""
        return list(self._pcontext.wait(0).failures.values())


class Launcher:
    """One node's ranks from their start to the code that the step ends with."""

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.stopped = False

    def run(self) -> int:
        """Until every rank has ended. Raises what no rank has said."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        agent = Agent(self._worker_spec(), DefaultLogsSpecs(), shutdown_timeout=self.options.grace)
        try:
            return code_of(agent.run().failures.values())
        except SignalException:
            if not agent.has_ranks:
                raise Interrupted("stopped before the processes of the step had started", "run the same command again") from None
            return code_of(agent.failures(), stopped=True)

    def _worker_spec(self) -> WorkerSpec:
        rendezvous = RendezvousParameters(
            # A container without a network cannot look up its own host name, by which torchrun would find its address.
            backend="c10d", endpoint="localhost:0", run_id=uuid.uuid4().hex, min_nodes=1, max_nodes=1, local_addr="127.0.0.1",
        )  # fmt: skip
        return WorkerSpec(
            role="rank",
            local_world_size=self.options.ranks,
            rdzv_handler=get_rendezvous_handler(rendezvous),
            entrypoint=sys.executable,
            args=("-m", self.options.module, self.options.task),
            max_restarts=0,
            monitor_interval=MONITOR_SECONDS,
            local_addr="127.0.0.1",
        )

    def _stop(self, *_: object) -> None:
        """The first signal goes on to the ranks; they have `grace` seconds from then, however many follow."""
        if not self.stopped:
            self.stopped = True
            raise SignalException("told to stop", signal.SIGTERM)


def code_of(failures: Iterable[Any], stopped: bool = False) -> int:
    """The code of the first rank that said why it ends, else of the first that failed; 0 where none did."""
    found = sorted(failures, key=lambda failure: failure.timestamp)
    said = next((failure.exitcode for failure in found if failure.exitcode in TOLD), None)
    if said is not None or not found:
        return int(said or 0)
    # torchrun ends the others with SIGTERM once one has failed: that is no reason.
    first = next((failure for failure in found if failure.exitcode != -signal.SIGTERM), found[0])
    if first.exitcode > 0:
        return int(first.exitcode)
    if not stopped:
        print(f"caisson: the process of local rank {first.local_rank} was ended by {signal.Signals(-first.exitcode).name}", file=sys.stderr, flush=True)
    return StepFailed.exit_code


def main() -> NoReturn:
    """Parse, launch, end with the code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ranks", type=int, required=True, help="processes on this node")
    parser.add_argument("--grace", type=int, required=True, help="seconds that a signal leaves them to end")
    parser.add_argument("module")
    parser.add_argument("task")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # the agent's: what it knows is in the code, or is said below
    os.environ[LAUNCHER] = str(os.getpid())
    os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = "SIGHUP,SIGQUIT"  # the others are handled here, also while there are no ranks
    try:
        code = Launcher(options).run()
    except CaissonError as error:
        print(f"caisson: {error}", file=sys.stderr, flush=True)
        code = error.exit_code
    sys.exit(code)


if __name__ == "__main__":
    main()
