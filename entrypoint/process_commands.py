"""Commands whose process is replaced by another: the gateway, one question, a measurement of the machine."""

from importlib.util import find_spec
from pathlib import Path

import click

from entrypoint.chain import follow, machine, read_spec
from entrypoint.options import json_option, spec_argument, store_option
from entrypoint.plan import plan_gateway
from entrypoint.plan.tables import LOCKS
from entrypoint.probe import find_device, in_container, usable_cores
from entrypoint.run.child import replace_process
from entrypoint.run.store import Store
from schemas.calibrate_job import CalibrateJob
from schemas.errors import MachineError


@click.command()
@spec_argument
@click.option("--bind", envvar="BIND", default="127.0.0.1", show_default=True, help="The host's address at which the port is published.")
@click.option("--plain-http", envvar="PLAIN_HTTP", is_flag=True, help="Without TLS also beyond this machine.")
def gateway(spec: Path, bind: str, plain_http: bool) -> None:
    """Stand in front of the server: keys, limits, TLS and the log."""
    job, decisions = plan_gateway(read_spec(spec), usable_cores(), bind, plain_http)
    for decision in decisions:
        click.echo(f"{decision.field}: {decision.value}: {decision.why}")
    replace_process("entrypoint.run.gateway", job.model_dump_json())


@click.command()
@spec_argument
@click.argument("question")
@store_option
@click.option("--base", is_flag=True, help="Ask the base model instead of the tuned one.")
def ask(spec: Path, question: str, store: Path, base: bool) -> None:
    """Ask the exported model, or its base, one QUESTION without a server."""
    wanted, place = read_spec(spec), Store(store)
    chain = follow(wanted, machine(wanted, place), place, "export")
    role = "model" if base else "exported"
    folder = chain.folder(role)
    place.verify(folder, role)
    replace_process("entrypoint.run.ask", str(place.root / folder), question)


@click.command()
@store_option
@json_option
def calibrate(store: Path, as_json: bool) -> None:
    """Measure how fast this machine computes and moves, in about half a minute; the store keeps it and the next plan counts with it."""
    if not find_spec("torch"):
        raise MachineError("there is no torch here to measure with", "run it in the trainer's image: `docker compose run --rm --no-deps train calibrate`")
    device, found = find_device()
    if device not in ("cpu", "cuda"):
        raise MachineError(f"no image of Caisson computes on {device}", "set ACCELERATOR=cpu to measure the CPU")
    if device == "cuda" and not found:
        raise MachineError("this image computes on CUDA, and no GPU is in sight", "see `caisson doctor`; ACCELERATOR=cpu measures the CPU")
    ranks = len(found) if found else min(CPU_RANKS, usable_cores())
    lock = LOCKS["train"].get(device, "") if in_container() else ""
    job = CalibrateJob(device=device, name=found[0].name if found else "cpu", ranks=ranks, store=str(store), image_lock=lock, as_json=as_json)
    replace_process("entrypoint.run.calibrate", job.model_dump_json())


CPU_RANKS = 2
"""As many as a plan trains with on a CPU."""


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@store_option
@json_option
def anatomy(model: Path, store: Path, as_json: bool) -> None:
    """Count what MODEL, a folder with a config.json or that file, is made of; the store keeps it for later plans. Needs an image with transformers."""
    replace_process("entrypoint.run.anatomy", str(model), str(store), "json" if as_json else "text")


PROCESS_COMMANDS = (anatomy, gateway, ask, calibrate)
