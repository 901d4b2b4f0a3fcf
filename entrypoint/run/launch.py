"""Starts the ranks of a step on this node: torchrun's elastic agent, with the ends that a step needs.
`python -m entrypoint.run.launch OPTIONS MODULE TASK`.

torchrun's own command ends with 1 whatever its ranks end with, prints a table over their words, and gives them 30 seconds to stop.
"""

import argparse
import logging
import os
import secrets
import signal
import sys
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from torch.distributed import DistError
from torch.distributed.elastic.agent.server import WorkerSpec
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.rendezvous import (
    RendezvousClosedError,
    RendezvousConnectionError,
    RendezvousHandler,
    RendezvousParameters,
    RendezvousTimeoutError,
)
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import DynamicRendezvousHandler
from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

from entrypoint.run.address import own_address, wait_for_answer
from entrypoint.run.events import say
from entrypoint.run.memory_kills import ended_by_memory, memory_kills
from entrypoint.run.ranks import LAUNCHER
from schemas.errors import TOLD, CaissonError, Interrupted, MachineError, StepFailed

MONITOR_SECONDS = 0.1
JOIN_SECONDS = 1800
"""For the rendezvous to answer, and for all nodes to be there: a server that restarts takes many minutes."""

STORE_SECONDS = 60
"""For each answer of the rendezvous."""

EXIT_SECONDS = 60
"""For the launchers of the other nodes to end, once all ranks have ended well, which they do together."""


class Agent(LocalElasticAgent):
    """torchrun's agent. A rank that has said why it ends is not started again: it would say the same."""

    patience = 30
    """Seconds between SIGTERM and SIGKILL: torchrun's own, until somebody has told the run to stop."""

    def _shutdown(self, death_sig: signal.Signals = signal.SIGTERM, timeout: int = 0) -> None:
        # torch 2.13 can be told the time, 2.11 cannot.
        if self._pcontext:
            self._pcontext.close(death_sig, self.patience)
        super()._shutdown(death_sig)

    def _monitor_workers(self, worker_group: Any) -> Any:
        result = super()._monitor_workers(worker_group)
        if any(failure.exitcode in TOLD for failure in result.failures.values()):
            self._remaining_restarts = 0
        elif result.failures and self._remaining_restarts:
            say("  processes of this node have failed, or those of another: starts again from the last sealed checkpoint, once all nodes are there")
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
        self.agent: Agent | None = None
        self.kills = memory_kills()

    def run(self) -> int:
        """Until every rank of this node has ended. Raises what no rank has said."""
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) != signal.SIG_IGN:  # the executor's word: it passes Ctrl-C on, once, and ranks inherit that
                signal.signal(number, self._stop)
        try:
            spec = self._worker_spec()
            agent = self.agent = Agent(spec, DefaultLogsSpecs(), exit_barrier_timeout=EXIT_SECONDS)
            with self._words_for_a_rendezvous():
                result = agent.run()
            code = code_of(result.failures.values(), self.kills)
            if code != Interrupted.exit_code:
                spec.rdzv_handler.shutdown()  # the other nodes need not wait for this one
            return code
        except SignalException:
            if self.agent is None or not self.agent.has_ranks:
                raise Interrupted("stopped before the processes of the step had started", "run the same command again") from None
            return code_of(self.agent.failures(), self.kills, stopped=True)

    @contextmanager
    def _words_for_a_rendezvous(self) -> Iterator[None]:
        nodes, place = self.options.nodes, self.options.rendezvous
        try:
            yield
        except RendezvousTimeoutError:
            raise MachineError(
                f"{nodes} nodes did not come together at {place} within {JOIN_SECONDS // 60} minutes", f"start the same command on all {nodes} nodes"
            ) from None
        except RendezvousClosedError:
            raise Interrupted("another node has ended the run", "why is in its log; then start the same command on all nodes again") from None
        except (RendezvousConnectionError, DistError):
            raise Interrupted(f"the node of the rendezvous {place} has gone", "start the same command again on every node that has ended") from None

    def _worker_spec(self) -> WorkerSpec:
        return WorkerSpec(
            role="rank",
            local_world_size=self.options.ranks,
            rdzv_handler=self._of_nodes() if self.options.nodes > 1 else self._of_this_machine(),
            entrypoint=sys.executable,
            args=("-m", self.options.module, self.options.task),
            max_restarts=self.options.restarts,
            monitor_interval=MONITOR_SECONDS,
        )

    def _of_this_machine(self) -> RendezvousHandler:
        # A container without a network cannot look up its own host name, by which torchrun would find its address.
        here = RendezvousParameters("c10d", "localhost:0", uuid.uuid4().hex, 1, 1, local_addr="127.0.0.1")
        return get_rendezvous_handler(here)

    def _of_nodes(self) -> RendezvousHandler:
        options = self.options
        own = own_address(options.rendezvous)
        # What a user has set stays: machines with several networks have reasons.
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(name, own.interface)
        # A node that comes back starts with another store than the ones that stayed: ranks make a new one each time instead.
        os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
        # torch tells nodes apart by address, process id and a count; two containers on one host's network have the first two in common.
        DynamicRendezvousHandler._node_desc_generator._local_id = secrets.randbelow(2**31)
        say(f"  waits for {options.nodes} nodes at {options.rendezvous}; this is {own.ip}")
        for is_host in (True, False) if own.is_rendezvous else (False,):  # not the host where another launcher of this machine is
            if not is_host:
                wait_for_answer(options.rendezvous, JOIN_SECONDS)
            place = RendezvousParameters(
                "c10d", options.rendezvous, options.name, options.nodes, options.nodes, local_addr=own.ip,
                is_host=str(is_host), read_timeout=STORE_SECONDS, join_timeout=JOIN_SECONDS,
            )  # fmt: skip
            try:
                return get_rendezvous_handler(place)
            except RendezvousConnectionError:
                continue
        raise MachineError(f"what answers at {options.rendezvous} is no rendezvous", "write another port in hardware.rendezvous, on all nodes")

    def _stop(self, *_: object) -> None:
        """The first signal goes on to the ranks; they have `grace` seconds from then, however many follow."""
        if not self.stopped:
            self.stopped = True
            if self.agent:
                self.agent.patience = self.options.grace
            raise SignalException("told to stop", signal.SIGTERM)


def code_of(failures: Iterable[Any], kills: int, stopped: bool = False) -> int:
    """The code of the first rank that said why it ends, else of the first that failed; 0 where none did.

    `kills` is what `memory_kills` said before they were started.
    """
    found = sorted(failures, key=lambda failure: failure.timestamp)
    said = next((failure.exitcode for failure in found if failure.exitcode in TOLD), None)
    if said is not None or not found:
        return int(said or 0)
    # torchrun ends the others with SIGTERM once one has failed: that is no reason.
    first = next((failure for failure in found if failure.exitcode != -signal.SIGTERM), found[0])
    if first.exitcode > 0:
        return int(first.exitcode)
    if stopped:
        return StepFailed.exit_code
    what = f"the process of local rank {first.local_rank}"
    killed = first.exitcode == -signal.SIGKILL
    error = ended_by_memory(what, kills) if killed else StepFailed(f"{what} was ended by {signal.Signals(-first.exitcode).name}")
    print(f"caisson: {error}", file=sys.stderr, flush=True)
    return error.exit_code


def main() -> NoReturn:
    """Parse, launch, end with the code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ranks", type=int, required=True, help="processes on this node")
    parser.add_argument("--grace", type=int, required=True, help="seconds that a signal leaves them to end")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--rendezvous", default="", help="HOST:PORT of one of several nodes")
    parser.add_argument("--name", default="", help="under which they meet there")
    parser.add_argument("--restarts", type=int, default=0, help="failures after which ranks are started again")
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
