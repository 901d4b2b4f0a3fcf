"""Leaf: the gateway's process. Follows serve, keys and certificate, and keeps nginx in line. `python -m entrypoint.run.gateway JOB`."""

import secrets
import signal
import sys
import threading
from pathlib import Path

from entrypoint.run.events import say
from entrypoint.run.gateway_state import Places, State, acknowledge, look
from entrypoint.run.nginx_config import render
from entrypoint.run.nginx_process import Nginx
from schemas.active import FOLDER
from schemas.errors import CaissonError, StepFailed, UsageError
from schemas.gateway_job import GatewayJob

POLL_SECONDS = 1
PLACES = Places(told=Path(FOLDER), secrets=Path("/run/secrets/gateway"))
WORK = Path("/tmp/nginx")


def follow(job: GatewayJob, places: Places, nginx: Nginx, stop: threading.Event) -> None:
    """Until `stop`: look, and where something changed go over to it. What cannot be used when nginx already runs is said, and the old stays."""
    salt = secrets.token_hex(16)
    shown: State | None = None
    complained = ""
    while not stop.is_set():
        if (code := nginx.ended()) is not None:
            raise StepFailed(f"nginx ended by itself, with exit code {code}", "its last lines are above")
        try:
            state = look(places)
            refuse_plain(job, state)
            if state != shown:
                nginx.use(render(job, state, nginx.folder, salt))
                acknowledge(places.told, state.active.generation)
                say(describe(state, shown))
                shown, complained = state, ""
        except (CaissonError, ValueError) as error:
            if nginx.process is None and isinstance(error, CaissonError):
                raise
            if str(error) != complained:
                complained = str(error)
                print(f"caisson: gateway: {error}\n    what was there before stays in use", file=sys.stderr, flush=True)
        stop.wait(POLL_SECONDS)


def refuse_plain(job: GatewayJob, state: State) -> None:
    """Beyond this machine keys and prompts travel encrypted, unless somebody said otherwise by name. Raises UsageError."""
    if not (job.loopback or job.plain_http or state.certificate):
        raise UsageError(
            f"BIND={job.bind} publishes beyond this machine, and there is no TLS",
            "put tls.crt and tls.key into secrets/gateway; behind a proxy of your own that has TLS set PLAIN_HTTP=yes",
        )


def describe(state: State, before: State | None) -> str:
    """One line about what requests meet now."""
    where = f"{state.address}, generation {state.active.generation}" if state.address else "no engine: 503"
    changed = "" if before is None else " (" + ", ".join(name for name in ("active", "address", "control", "keys", "certificate") if getattr(state, name) != getattr(before, name)) + " changed)"  # fmt: skip
    return f"gateway: {state.active.state}: {where}; {len(state.keys)} key(s), {'TLS' if state.certificate else 'plain HTTP'}{changed}"


def main() -> None:
    """Until SIGTERM; requests that run are then finished."""
    job = GatewayJob.model_validate_json(sys.argv[1])
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    nginx = Nginx(WORK)
    try:
        follow(job, PLACES, nginx, stop)
    except CaissonError as error:
        print(f"caisson: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    finally:
        nginx.quit()


if __name__ == "__main__":
    main()
