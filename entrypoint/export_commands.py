"""Commands about what was exported: list, promote, roll back."""

import json
from pathlib import Path

import click

from entrypoint import render
from entrypoint.chain import read_spec
from entrypoint.evaluations import promote_by_hand
from entrypoint.exports import Export, exports, find_export, prune
from entrypoint.options import json_option, spec_argument, store_option
from entrypoint.run.promotion import rollback
from entrypoint.run.store import Store


@click.command("exports")
@spec_argument
@store_option
@json_option
@click.option("--prune", "prunes", is_flag=True, help="Remove what was served before the last serve.keep exports.")
def list_exports(spec: Path, store: Path, as_json: bool, prunes: bool) -> None:
    """List what was exported, which of it is served, and what came of it."""
    wanted, place = read_spec(spec), Store(store)
    for gone in prune(wanted, place) if prunes else ():
        click.echo(f"removed {wanted.name}/exports/{gone.id}, {gone.megabytes:,.1f} MB")
    found = exports(wanted, place)
    if as_json:
        click.echo(json.dumps([vars(e) for e in found], indent=2))
        return
    render.show_table(("export", "state", "kind", "made (UTC)", "MB", "parity"), [_row(e) for e in found])
    for export in found:
        for said in filter(None, (export.why, export.gate, export.forced)):
            click.echo(f"{export.id}: {said}")


def _row(e: Export) -> tuple[str, ...]:
    return e.id, e.state, e.kind, e.made, f"{e.megabytes:,.1f}", e.parity


@click.command("promote")
@spec_argument
@click.argument("export")
@store_option
@click.option("--force", metavar="REASON", help="Also against the evaluation's gate; the reason is written down, and `exports` shows it.")
def promote_export(spec: Path, export: str, store: Path, force: str | None) -> None:
    """Serve EXPORT, by its ID or the beginning of it, where the evaluation's gate has passed; a server that runs follows once it has passed its own."""
    wanted, place = read_spec(spec), Store(store)
    click.echo(promote_by_hand(wanted, place, find_export(wanted, place, export), force))


@click.command("rollback")
@spec_argument
@store_option
def roll_back(spec: Path, store: Path) -> None:
    """Serve what was served before."""
    wanted = read_spec(spec)
    click.echo(f"rollback: {wanted.name}/exports/{rollback(Store(store), wanted.name).export} is current")


EXPORT_COMMANDS = (list_exports, promote_export, roll_back)
