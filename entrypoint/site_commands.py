"""Commands for those who run a site: what stands in the way, what to send to someone who helps, what is inside an image."""

import json
import sys
from pathlib import Path

import click

from entrypoint import render
from entrypoint.chain import follow, machine, read_spec
from entrypoint.doctor import examine, see
from entrypoint.documents import read_document
from entrypoint.migrate import CURRENT, difference, replace
from entrypoint.migrate import migrate as migrated
from entrypoint.options import json_option, spec_argument, store_option
from entrypoint.probe import image
from entrypoint.run.child import replace_process
from entrypoint.run.store import Store
from entrypoint.support import collect, pack
from schemas.errors import MachineError
from schemas.load import load


@click.command()
@store_option
@click.option("--spec", type=click.Path(path_type=Path), help="Also whether the disk has room for what this spec has still to write.")
@json_option
def doctor(store: Path, spec: Path | None, as_json: bool) -> None:
    """Check engine, GPU, driver, disk, memory, limits, clock, port and keys; each finding with its code and its fix."""
    facts, fault = see(store)
    findings = examine(facts, store, fault, None if spec is None else _needs(spec, store))
    if as_json:
        click.echo(json.dumps([vars(f) for f in findings], indent=2))
    else:
        render.show_table(("check", "state", "found", "fix"), [(f.check, f.state, f.found, f.fix and f"{f.code}: {f.fix}") for f in findings])
    if any(f.state == "fail" for f in findings):
        sys.exit(MachineError.exit_code)


def _needs(spec: Path, store: Path) -> dict[str, int]:
    """Bytes that each stage has still to write."""
    wanted, place = read_spec(spec), Store(store)
    chain = follow(wanted, machine(wanted, place), place)
    needs: dict[str, int] = {}
    for step in chain.merged().steps:
        if not (step.identity and place.find(step)):
            needs[step.stage] = needs.get(step.stage, 0) + step.disk_bytes
    return needs


@click.command()
@spec_argument
@store_option
@click.option("--output", type=click.Path(path_type=Path), help="The archive; caisson-support.tar.gz here unless named.")
def support(spec: Path, store: Path, output: Path | None) -> None:
    """Pack what someone needs who helps you: versions, findings, plan, last logs, SPEC; without secrets, prompts or rows. Read it before you send it."""
    parts = collect(spec, store)
    path = pack(parts, output or Path("caisson-support.tar.gz"))
    for name, content in parts.items():
        click.echo(f"  {name}  {len(content.encode()):,} bytes")
    click.echo(f"{path}: {len(parts)} text files; look through them before you send it: tar -xzOf {path} | less")


@click.command()
@click.option("--doubtful", is_flag=True, help="Only packages whose licence forbids to pass them on, has terms of its own, or is not named.")
def sbom(doubtful: bool) -> None:
    """Print what is inside this image as CycloneDX JSON: Debian and Python packages, with their licences."""
    replace_process("entrypoint.run.sbom", *(("doubtful",) if doubtful else ("cyclonedx", image() or "host")))


@click.command()
@spec_argument
@click.option("--write", is_flag=True, help="Rewrite SPEC; without it the difference is printed only.")
def migrate(spec: Path, write: bool) -> None:
    """Rewrite a SPEC of an older version of the format, and print what changes."""
    old = read_document(spec, "spec file", "name a spec file; examples are in specs/")
    new = migrated(old, spec.name)
    if new == old:
        click.echo(f"{spec.name}: version {CURRENT} is current, nothing to do")
        return
    load(new, spec.name)  # what is written must be what the program reads
    click.echo(difference(old, new, spec.name), nl=False)
    if write:
        replace(spec, new)
    click.echo(f"{spec.name}: {'rewritten' if write else 'nothing was changed; --write does it'}")


SITE_COMMANDS = (doctor, support, sbom, migrate)
