"""Leaf: the gateway's process. Follows serve, keys and certificate, and keeps nginx in line. `python -m entrypoint.run.gateway JOB`."""

import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from entrypoint.run.events import say
from entrypoint.run.gateway_keys import read_keys
from entrypoint.run.gateway_metrics import Metrics
from entrypoint.run.gateway_state import LOADING, Certificate, Places, State, acknowledge, find_certificate, is_silent, read_active, read_control, resolve
from entrypoint.run.nginx_config import addresses, fixed_files, is_ready, key_files, told_files
from entrypoint.run.nginx_process import Nginx
from schemas.active import FOLDER
from schemas.errors import CaissonError, StepFailed, UsageError
from schemas.gateway_job import GatewayJob

POLL_SECONDS = 0.25
ON_ITS_WAY_SECONDS = 0.2
"""A request that was looked at just before a change is with its engine after that."""

PLACES = Places(told=Path(FOLDER), secrets=Path("/run/secrets/gateway"))
WORK = Path("/tmp/nginx")
T = TypeVar("T")


class Follower:
    """What was last seen and is in use."""

    def __init__(self, job: GatewayJob, places: Places, nginx: Nginx, metrics: Metrics):
        self.job, self.places, self.nginx, self.metrics = job, places, nginx, metrics
        self.salt = secrets.token_hex(16)
        self.shown: State | None = None
        self.fixed: dict[str, str] = {}
        self.engines: tuple[str, ...] = ()
        self.complaints: dict[str, str] = {}

    def look(self) -> State:
        """The present state. A part that cannot be used is said once and stays as it was; raises CaissonError where it never was."""
        before = self.shown
        active = self._part("active", lambda: read_active(self.places.told) or LOADING, before.active if before else LOADING)
        keys = self._part("keys", lambda: read_keys(self.places.secrets / "keys"), before.keys if before else ())
        certificate = self._part("certificate", self._certificate, before.certificate if before else None)
        address = resolve(active.upstream) if active.upstream else None
        return State(active, address, read_control(self.places.told), keys, certificate, is_silent(self.places.told))

    def follow(self) -> None:
        """Look once, and go over to what changed."""
        if (code := self.nginx.ended()) is not None:
            raise StepFailed(f"nginx ended by itself, with exit code {code}", "its last lines are above")
        state = self.look()
        if state == self.shown:
            return
        self.engines = known_engines(addresses(state), self.engines)
        fixed = fixed_files(self.job, self.engines, state.certificate, self.nginx.folder, self.salt)
        if self.shown is None:  # before nginx answers anything
            self.nginx.tell(told_files(state), key_files(state, self.salt))
        if fixed != self.fixed:
            self.nginx.use(fixed)
            self.fixed = fixed
        self.nginx.tell(told_files(state), key_files(state, self.salt))
        if self.shown is None or state.active != self.shown.active:
            time.sleep(ON_ITS_WAY_SECONDS if self.shown else 0)
            acknowledge(self.places.told, state.active.generation)
        self.metrics.ready, self.metrics.generation = int(is_ready(state)), state.active.generation
        say(describe(state, self.shown))
        self.shown = state

    def _certificate(self) -> Certificate | None:
        found = find_certificate(self.places.secrets)
        if not (found or self.job.loopback or self.job.plain_http):
            raise UsageError(
                f"BIND={self.job.bind} publishes beyond this machine, and there is no TLS",
                "put tls.crt and tls.key into secrets/gateway; behind a proxy of your own that has TLS set PLAIN_HTTP=yes",
            )
        return found

    def _part(self, name: str, read: Callable[[], T], before: T) -> T:
        try:
            found = read()
        except (CaissonError, ValueError) as error:
            if self.shown is None and isinstance(error, CaissonError):
                raise
            if str(error) != self.complaints.get(name):
                print(f"caisson: gateway: {error}\n    what was there before stays in use", file=sys.stderr, flush=True)
            self.complaints[name] = str(error)
            return before
        self.complaints.pop(name, None)
        return found


def known_engines(now: tuple[str, ...], before: tuple[str, ...]) -> tuple[str, ...]:
    """Addresses that nginx has to know, the newest first. Those of the container before stay, for requests that are on their way there; what is
    known already changes nothing, since a reload closes connections."""
    return before if set(now) <= set(before) else tuple(dict.fromkeys((*now, *before[: len(now)])))


def describe(state: State, before: State | None) -> str:
    """One line about what requests meet now."""
    where = f"{state.address}, generation {state.active.generation}" if state.address else "no engine: 503"
    line = f"gateway: {state.active.state}: {where}; {len(state.keys)} key(s), {'TLS' if state.certificate else 'plain HTTP'}"
    if before is None:
        return line
    return f"{line} ({', '.join(name for name in vars(state) if getattr(state, name) != getattr(before, name))} changed)"


def main() -> None:
    """Until SIGTERM; requests that run are then finished."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    nginx, metrics = Nginx(WORK), Metrics()
    follower = Follower(GatewayJob.model_validate_json(sys.argv[1]), PLACES, nginx, metrics)
    metrics.listen(WORK)
    try:
        while not stop.is_set():
            follower.follow()
            stop.wait(POLL_SECONDS)
    except CaissonError as error:
        print(f"caisson: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    finally:
        nginx.quit()


if __name__ == "__main__":
    main()
