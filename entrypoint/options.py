"""What several commands take."""

import os
from pathlib import Path

import click

from schemas.errors import UsageError

STORE = Path("/store")


def _utf8(_: click.Context, parameter: click.Parameter, path: Path) -> Path:
    """A path that every document can hold: the store's is written into tasks and events."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UsageError(f"{parameter.human_readable_name}: {os.fsencode(path)!r} is not UTF-8", "rename it, or name another") from None
    return path


def _maybe_utf8(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    return None if path is None or str(path) == "" else _utf8(context, parameter, path)


spec_argument = click.argument("spec", type=click.Path(path_type=Path), default=Path("/spec.yaml"), callback=_utf8)
store_option = click.option(
    "--store", type=click.Path(path_type=Path, file_okay=False), default=STORE, show_default=True, help="Folder with every artifact.", callback=_utf8
)
lock_option = click.option(
    "--lock-file",
    envvar="LOCK",
    type=click.Path(path_type=Path),
    help="The plan's lock; without it plan.lock.json beside SPEC, where there is one. With --lock, - writes to standard output.",
    callback=_maybe_utf8,
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
