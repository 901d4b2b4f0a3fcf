"""The command line: parse, call, print. No decisions."""

import errno
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from entrypoint import __version__, render
from entrypoint.bundle_commands import BUNDLE_COMMANDS
from entrypoint.chain import STAGES, Chain, follow, foresee, last_stage, machine, read_spec, with_config, with_models
from entrypoint.evaluate_commands import finish, sides
from entrypoint.export_commands import EXPORT_COMMANDS
from entrypoint.exports import promote_newest
from entrypoint.facts_files import read_facts, show_facts
from entrypoint.lock_file import find_lock, save_lock
from entrypoint.options import json_option, lock_option, spec_argument, store_option
from entrypoint.plan import check_sections
from entrypoint.plan.lock import check_lock
from entrypoint.plan.refuse import refuse_unbuilt
from entrypoint.process_commands import PROCESS_COMMANDS
from entrypoint.report_commands import REPORT_COMMANDS
from entrypoint.run.events import discard_output
from entrypoint.run.execute import Told, attend, execute, replace_process
from entrypoint.run.sides_asked import dismiss
from entrypoint.run.store import Store
from entrypoint.site_commands import SITE_COMMANDS
from entrypoint.status import State, states
from schemas.errors import CaissonError, Interrupted, MachineError, SpecError, StepFailed
from schemas.evaluate_job import EvaluateJob
from schemas.generate import make_json_schema
from schemas.plan import Plan, Stage

CONTROL = Path(EvaluateJob.model_fields["control_folder"].default)
SHOW_HELP = "Only this part. engine: what DeepSpeed or FSDP is told, each value with its reason. env: lines for .env that Compose cannot work out."


class Commands(click.Group):
    """Ends with words, not with a traceback, where what is printed cannot be written."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """As click's. Raises MachineError where standard output is on a full disk.

        A reader that has gone, as `head` when it has enough, has all that it wanted: nothing is said, and the code is the shell's for SIGPIPE.
        """
        try:
            try:
                return super().main(*args, **kwargs)
            except SystemExit:
                sys.stdout.flush()
                raise
        except OSError as error:
            if error.filename is not None or error.errno not in (errno.ENOSPC, errno.EIO):
                raise
            discard_output()
            raise MachineError(f"standard output cannot be written: {error.strerror}", "let it lead to a terminal, a reader or a disk with room") from None

    def invoke(self, ctx: click.Context) -> Any:
        """As click's, which ends with 1 for a reader that has gone: the code of a step that failed."""
        try:
            found = super().invoke(ctx)
            sys.stdout.flush()
            return found
        except BrokenPipeError:
            discard_output()
            sys.exit(128 + signal.SIGPIPE)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="caisson")
def cli() -> None:
    """Fine-tune, export and serve a language model from one spec file.

    SPEC is the spec file; inside the images it is /spec.yaml unless named. Exit codes: 0 done or up to date, 1 a step
    failed, 2 the spec or the command line is wrong, 3 this machine cannot, 4 a gate refused, 75 interrupted and resumable.
    """


@cli.command()
@spec_argument
def validate(spec: Path) -> None:
    """Check SPEC; read neither the machine nor the network."""
    found = read_spec(spec)
    check_sections(found)
    click.echo(f"{spec.name}: valid ({found.name}: {found.method.kind}, adapter {found.adapter.kind})")


@cli.command()
@spec_argument
@store_option
@click.option("--facts", "facts_file", help="Plan for another machine: a file, or the name of a recorded one, as h100-x8.")
@click.option("--config", type=click.Path(path_type=Path), help="The model's config.json, or its folder, where the model has not been fetched.")
@click.option("--show", type=click.Choice(["engine", "env"]), help=SHOW_HELP)
@click.option("--lock", is_flag=True, help="Write the plan as a lock: a stage that finds it refuses to do anything else.")
@lock_option
@json_option
def plan(spec: Path, store: Path, facts_file: str | None, config: Path | None, show: str | None, lock: bool, lock_file: Path | None, as_json: bool) -> None:
    """Print what every stage would do on this machine, and why, without doing it; where there is a lock, also how the plan differs from it."""
    wanted, place = read_spec(spec), Store(store)
    refuse_unbuilt(wanted)
    facts = with_models(read_facts(facts_file), wanted, place) if facts_file is not None else machine(wanted, place)
    chain = follow(wanted, with_config(facts, wanted, config, place) if config is not None else facts, place, last_stage(wanted))
    chain = chain if facts_file is not None else foresee(chain, place)
    if lock:
        save_lock(chain, spec, lock_file)
        return
    if show == "engine":
        render.show_engine(chain.merged(), as_json)
    elif show == "env":
        render.show_env(chain.merged(), chain.facts, as_json)
    elif as_json:
        click.echo(chain.merged().model_dump_json(indent=2))
    else:
        render.show_plan(chain.merged(), chain.facts)
    for error in (*(error for _, error in chain.refusals), *chain.errors.values()):
        raise error
    _hold_to_lock(chain.merged(), chain, spec, lock_file)


def _hold_to_lock(plan: Plan, chain: Chain, spec: Path, lock_file: Path | None) -> None:
    """Raise GateRefused where a lock holds another plan."""
    if found := find_lock(spec, lock_file):
        check_lock(found[0], plan, chain.facts, found[1])


def _run_stage(stage: Stage, spec: Path, store: Path, lock_file: Path | None = None) -> None:
    check_sections(read_spec(spec))
    if stage == "fetch":  # every run begins there
        refuse_unbuilt(read_spec(spec))
    chain, place = _chain(spec, store, stage)
    steps = chain.plan(stage)
    _hold_to_lock(steps, chain, spec, lock_file)
    if all(place.find(step) for step in steps.steps):
        for step in steps.steps:
            click.echo(f"{stage}: {step.title}: up to date ({step.folder}/{step.id})")
        _promote(stage, spec, store)
        return
    for _, error in foresee(chain, place, fetch_itself=stage == "fetch").refusals:
        raise error
    render.show_plan(steps, chain.facts)
    render.show_line()
    execute(_ready(steps), place)
    if len(_ready(steps).steps) < len(steps.steps):  # some are made from what was just sealed
        again = _chain(spec, store, stage)[0]
        _hold_to_lock(again.plan(stage), again, spec, lock_file)
        execute(again.plan(stage), place)
    _promote(stage, spec, store)


def _ready(plan: Plan) -> Plan:
    """The steps whose inputs are sealed."""
    return plan.model_copy(update={"steps": tuple(step for step in plan.steps if step.identity)})


def _promote(stage: Stage, spec: Path, store: Path) -> None:
    if stage == "evaluate":
        chain = _chain(spec, store, stage)[0]
        finish(chain.spec, Store(store), chain.plan(stage).steps[0].id)
    if stage == "export" and (said := promote_newest(*_chain(spec, store, "export"))):
        click.echo(said)


def _chain(spec: Path, store: Path, until: Stage | None = None) -> tuple[Chain, Store]:
    """All that an overview shows where no stage is named."""
    wanted, place = read_spec(spec), Store(store)
    return follow(wanted, machine(wanted, place), place, until or last_stage(wanted)), place


def _stage_command(stage: Stage, text: str) -> Callable[..., None]:
    @cli.command(stage, help=text)
    @spec_argument
    @store_option
    @lock_option
    def command(spec: Path, store: Path, lock_file: Path | None) -> None:
        _run_stage(stage, spec, store, lock_file)

    return command


_stage_command("fetch", "Bring the model and the rows of SPEC into the store.")


@cli.command()
@spec_argument
@store_option
@lock_option
@click.option(
    "--show", "shown", type=click.IntRange(1, 100), help="Print this many prepared rows, learned tokens marked, as the trainer's collator gives them."
)
def prepare(spec: Path, store: Path, lock_file: Path | None, shown: int | None) -> None:
    """Turn the rows into token shards, through the data gate."""
    _run_stage("prepare", spec, store, lock_file)
    if shown:
        chain, place = _chain(spec, store, "prepare")
        replace_process("entrypoint.run.show_rows", *(str(place.root / chain.folder(role)) for role in ("prepared", "model")), str(shown))


_stage_command("train", "Train; go on from the last checkpoint where there is one.")
_stage_command("export", "Write what was trained into folders that engines load: merged, as an adapter, or in fewer bits.")


@cli.command()
@spec_argument
@store_option
@lock_option
def serve(spec: Path, store: Path, lock_file: Path | None) -> None:
    """Serve the exported model over the OpenAI API until stopped."""
    chain, place = _chain(spec, store, "serve")
    steps = chain.plan("serve")
    _hold_to_lock(steps, chain, spec, lock_file)
    for _, error in foresee(chain, place).refusals:
        raise error
    render.show_plan(steps, chain.facts)
    render.show_line()
    attend(steps.steps[0], steps.name, place)


@cli.command()
@spec_argument
@store_option
@lock_option
def evaluate(spec: Path, store: Path, lock_file: Path | None) -> None:
    """Ask base and tuned model the same questions, report the difference, and let the gate decide about promotion."""
    try:
        _run_stage("evaluate", spec, store, lock_file)
    finally:
        dismiss(CONTROL)


@cli.command()
@spec_argument
@store_option
@json_option
@click.option("--verify", is_flag=True, help="Read every byte; exit 1 where something is damaged.")
def status(spec: Path, store: Path, as_json: bool, verify: bool) -> None:
    """Say what is sealed, what is stale, and why."""
    chain, place = _chain(spec, store)
    found = states(chain, place, hashes=verify)
    if as_json:
        click.echo(json.dumps([vars(s) for s in found], indent=2))
    else:
        _show_states(found)
    if verify and any(s.state == "damaged" for s in found):
        sys.exit(StepFailed.exit_code)


def _show_states(found: list[State]) -> None:
    render.show_table(("stage", "state", "artifact", "why"), [(f"{s.stage} {s.part}".strip(), s.state, s.folder, s.why) for s in found])


@cli.command()
def schema() -> None:
    """Print the JSON Schema of the spec."""
    click.echo(json.dumps(make_json_schema(), indent=2))


for command in (sides, *EXPORT_COMMANDS, *REPORT_COMMANDS, *PROCESS_COMMANDS, *BUNDLE_COMMANDS, *SITE_COMMANDS, show_facts):
    cli.add_command(command)


def _stop(number: int, _: object) -> None:
    raise Interrupted(f"stopped by {signal.Signals(number).name}", "run the same command again: it goes on from what is sealed")


def _complain(text: str) -> None:
    """Where nobody can read it the exit code still says it."""
    try:
        click.echo(text, err=True)
    except OSError:
        discard_output(sys.stderr)


def main() -> None:
    """Run the command line; the author's mistakes end as text, ours as tracebacks."""
    for number in (signal.SIGTERM, signal.SIGINT):  # while a stage's process runs, the executor's own handlers stand in
        signal.signal(number, _stop)
    try:
        cli(prog_name="caisson")
    except SpecError as error:
        _complain(str(error))
        sys.exit(error.exit_code)
    except CaissonError as error:
        _complain(f"caisson: {error}")
        sys.exit(error.exit_code)
    except Told as told:
        sys.exit(told.exit_code)


__all__ = ["STAGES", "cli", "main"]

if __name__ == "__main__":
    main()
