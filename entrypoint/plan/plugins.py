"""A user's own code: whether it fits, what goes with it, and a line of the plan for each piece that will run."""

from collections.abc import Iterator
from typing import Any

from schemas.contract import misfit
from schemas.errors import UsageError
from schemas.facts import Facts
from schemas.job import PluginJob
from schemas.plan import Decision
from schemas.plugins import KINDS, PluginKind, split_code
from schemas.spec import Spec

OF_PREPARE: tuple[PluginKind, ...] = ("preprocessor",)
OF_TRAIN: tuple[PluginKind, ...] = tuple(kind for kind in KINDS if kind not in OF_PREPARE)

WHEN = {
    "preprocessor": "in prepare, for each row as it is read",
    "loss": "in train on every rank, for each batch",
    "metric": "in train on every rank, for each batch of a validation",
    "callback": "in train on every rank, at transformers' events",
    "optimizer": "in train on every rank, once; it keeps what AdamW keeps as far as memory is estimated",
    "trainer": "in train on every rank, before the method's own trainer",
}


def code_sources(spec: Spec, kinds: tuple[PluginKind, ...]) -> tuple[str, ...]:
    """Files and modules of these plug-ins, each once."""
    return tuple(dict.fromkeys(source for _, source, _ in _named(spec, kinds)))


def plugin_jobs(spec: Spec, kinds: tuple[PluginKind, ...]) -> dict[PluginKind, PluginJob]:
    """What a leaf is told of these plug-ins."""
    places = {source: f"{at:02d}.py" for at, source in enumerate(code_sources(spec, kinds))}
    options: dict[str, dict[str, Any]] = spec.plugins.options
    return {kind: PluginJob(source=source, name=name, file=places[source], options=options.get(kind, {})) for kind, source, name in _named(spec, kinds)}


def check_code(spec: Spec, facts: Facts, kinds: tuple[PluginKind, ...] = KINDS) -> list[Decision]:
    """The code that will be executed, a line each. Raises UsageError where what was found is not the plug-in that it is named as."""
    found = []
    for kind, source, name in _named(spec, kinds):
        _check(kind, source, name, spec, facts)
        known = facts.code.get(source)
        told = f"sha256 {known.sha256[:12]}" if known else "not looked at before it is fetched"
        found.append(Decision(field="code", value=f"{kind} {source}:{name}", why=f"{told}; a plug-in is a program: it runs {WHEN[kind]}"))
    return found


def check_plugins(spec: Spec) -> None:
    """Raise UsageError where a plug-in of train does not go with the rest of the spec."""
    plugins, train = spec.plugins, spec.train
    for kind in ("loss", "metric"):
        if getattr(plugins, kind) and spec.method.kind not in ("sft", "pretrain"):
            raise UsageError(
                f"plugins.{kind}: {spec.method.kind} has more than one output to judge; a {kind} goes with sft and pretrain",
                "use plugins.trainer, whose compute_loss has all of them" if kind == "loss" else "take it out: rewards and margins are logged anyway",
            )
    if plugins.loss and train.label_smoothing:
        raise UsageError("plugins.loss: train.label_smoothing is a loss of its own", "take one of the two out")
    if plugins.metric and not spec.data.validation:
        raise UsageError("plugins.metric: there are no rows to validate with", "set data.validation, such as 5% or a list of files")
    if plugins.optimizer and "optimizer" in train.model_fields_set:
        raise UsageError("plugins.optimizer: train.optimizer names another", "take one of the two out")


def _named(spec: Spec, kinds: tuple[PluginKind, ...]) -> Iterator[tuple[PluginKind, str, str]]:
    for kind in kinds:
        if place := getattr(spec.plugins, kind):
            yield kind, *split_code(place)


def _check(kind: PluginKind, source: str, name: str, spec: Spec, facts: Facts) -> None:
    known = facts.code.get(source)
    if known is None:  # another machine's, or not there: fetch says so
        return
    where = f"plugins.{kind}: {source}"
    if known.fault:
        raise UsageError(f"{where}: {known.fault}", "a plug-in is a file of Python that can be parsed")
    found = known.definitions.get(name)
    if found is None:
        listed = ", ".join(n for n, d in known.definitions.items() if d.kind != "name")
        raise UsageError(f"{where} defines no {name}", f"it defines {listed}" if listed else "it defines no function and no class")
    if wrong := misfit(kind, name, found, spec.plugins.options.get(kind, {})):
        raise UsageError(f"{where}:{wrong.line}: {wrong.what}", wrong.fix)
