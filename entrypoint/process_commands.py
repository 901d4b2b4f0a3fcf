"""Commands whose process is replaced by another: the gateway, one question."""

from pathlib import Path

import click

from entrypoint.chain import follow, machine, read_spec
from entrypoint.options import spec_argument, store_option
from entrypoint.plan import plan_gateway
from entrypoint.probe import usable_cores
from entrypoint.run.child import replace_process
from entrypoint.run.store import Store


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


PROCESS_COMMANDS = (gateway, ask)
