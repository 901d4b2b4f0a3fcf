"""What stands around the stage evaluate: its verdict, and the service that runs the two engines."""

from pathlib import Path

import click

from entrypoint import render, render_report
from entrypoint.chain import Chain, follow, machine, read_spec
from entrypoint.evaluations import conclude, find_evaluation, verdicts
from entrypoint.options import spec_argument, store_option
from entrypoint.plan import plan_sides
from entrypoint.run.execute import attend
from entrypoint.run.store import Store
from schemas.spec import Spec


def finish(spec: Spec, place: Store, evaluation: str) -> None:
    """Print what an evaluation found, and do what its gate says: promotes, or raises GateRefused."""
    found = find_evaluation(spec.name, place, evaluation)
    render_report.show_report(found.report, verdicts(spec, found), found.id)
    if said := conclude(spec, place, found):
        click.echo(said)


@click.command()
@spec_argument
@store_option
def sides(spec: Path, store: Path) -> None:
    """Serve base and tuned model of SPEC by turns, as a running `evaluate` asks for them; ends with it. The service `sides` runs this."""
    wanted, place = read_spec(spec), Store(store)
    chain: Chain = follow(wanted, machine(wanted, place), place, "export")
    for role in ("model", "exported"):
        chain.folder(role)  # raises what has to run before
    plan = plan_sides(wanted, chain.facts, chain.inputs)
    render.show_plan(plan, chain.facts)
    render.show_line()
    attend(plan.steps[0], plan.name, place, ends=True)
