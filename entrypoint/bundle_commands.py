"""Commands that carry Caisson over an air gap."""

import re
import subprocess
import sys
from pathlib import Path

import click

from entrypoint.bundle import make as bundles
from entrypoint.bundle.papers import refused
from entrypoint.chain import read_spec
from entrypoint.options import spec_argument
from schemas.errors import UsageError

UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
PATH = click.Path(path_type=Path)


@click.command()
@spec_argument
@click.option("--to", "folder", type=PATH, required=True, help="The bundle's folder, as on a medium. The same call goes on where it was stopped.")
@click.option("--key", type=PATH, required=True, help="A private SSH key, with which the manifest is signed.")
@click.option("--part-size", default="4GiB", show_default=True, help="The most that one file has: bytes, or KiB, MiB, GiB.")
@click.option("--since", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="The manifest of an older bundle: only what differs is stored.")
def bundle(spec: Path, folder: Path, key: Path, part_size: str, since: Path | None) -> None:
    """Pack what SPEC needs on a machine without a network: images, model, data, Compose files, specs, docs and this program, signed."""
    found = re.fullmatch(r"([1-9]\d*) ?(KiB|MiB|GiB|)", part_size)
    if not found:
        raise UsageError(f"--part-size: {part_size!a} is no size", "as 4GiB or 700MiB")
    number = bundles.make(spec, read_spec(spec), Path.cwd(), folder, key, int(found[1]) * UNITS[found[2]], since)
    for reason in refused(folder / "written"):
        click.echo(f"warning: fetch will refuse a model of this bundle: {reason}", err=True)
    click.echo(f"{folder}: bundle {number}; over there: sh load.sh --signers FILE")


@click.command()
@click.argument("folder", metavar="BUNDLE", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--signers", type=PATH, required=True, help="Whose signature is trusted: an allowed_signers file of ssh-keygen.")
@click.option("--to", type=PATH, default=Path("caisson"), show_default=True, help="The folder from which Compose will be called.")
@click.option("--back-to", metavar="NUMBER", help="Take a bundle that is older than the last one loaded there, if it is this one.")
@click.option("--yes", is_flag=True, help="Load; without it only verify and say what would be done.")
def load(folder: Path, signers: Path, to: Path, back_to: str | None, yes: bool) -> None:
    """Verify BUNDLE and load it, with this program's own copy of the bundle's load.sh."""
    script = Path(bundles.__file__).parent / "load.sh"
    argv = ["sh", str(script), "--bundle", str(folder), "--signers", str(signers), "--to", str(to)]
    argv += [*(["--back-to", back_to] if back_to else []), *(["--yes"] if yes else [])]
    sys.exit(subprocess.run(argv).returncode)


BUNDLE_COMMANDS = (bundle, load)
