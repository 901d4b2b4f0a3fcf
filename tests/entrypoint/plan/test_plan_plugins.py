"""Plug-ins in a plan: what fits, what is refused in which words, what their identity is made of."""

from dataclasses import replace
from typing import Any

import pytest
from known import LLAMA_8B, card, facts, sealed, spec

from entrypoint.plan import Inputs, plan_fetch, plan_prepare, plan_train
from entrypoint.plan.fetch import fetched_roles, refuse_absent
from entrypoint.plan.plugins import check_code
from schemas.code import read_code
from schemas.errors import MachineError, UsageError
from schemas.facts import Facts, SourceFacts
from schemas.spec import Spec

LOSS = "def focal(outputs, labels, num_items_in_batch, gamma: float = 2.0): ..."


def with_code(text: str, source: str = "/d/p.py") -> Facts:
    return facts().model_copy(update={"code": {source: read_code(text.encode())}})


def named(kind: str, name: str, options: str = "") -> Spec:
    return spec(f"plugins: {{{kind}: '/d/p.py:{name}'" + (f", options: {{{kind}: {options}}}" if options else "") + "}")


FITS = {
    "preprocessor": ("def f(row, n: int = 1): ...", "{n: 2}"),
    "loss": (LOSS.replace("focal", "f"), "{gamma: 1}"),
    "metric": ("def f(outputs, labels, *, k: int): ...", "{k: 5}"),
    "callback": ("class f:\n    def __init__(self, every: int): ...\n    def on_log(self, args, state, control, logs=None, **kwargs): ...", "{every: 2}"),
    "optimizer": ("class f(B):\n    def __init__(self, params, lr, beta: float = 0.9): ...", "{beta: 0.8}"),
    "trainer": ("class f:\n    strength: float = 1.0\n    def log(self, logs, start_time=None): ...\n    def _own(self): ...", "{strength: 2}"),
}


@pytest.mark.parametrize("kind", FITS)
def test_the_plan_lists_what_will_be_executed(kind: str) -> None:
    text, options = FITS[kind]
    (line,) = check_code(named(kind, "f", options), with_code(text))
    assert (line.field, line.value) == ("code", f"{kind} /d/p.py:f")
    assert line.why.startswith(f"sha256 {read_code(text.encode()).sha256[:12]}; a plug-in is a program: it runs in ")


BAD = {
    "no such name": ("loss", "def other(): ...", "", "plugins.loss: /d/p.py defines no f\n    it defines other"),
    "syntax": ("loss", "\ndef f(:", "", "plugins.loss: /d/p.py: line 2: invalid syntax\n    a plug-in is a file of Python that can be parsed"),
    "swapped": (
        "metric", "\ndef f(labels, outputs): ...", "",
        "plugins.metric: /d/p.py:2: f takes (labels, outputs), it must take (outputs, labels)\n    write def f(outputs, labels) -> dict[str, torch.Tensor]",
    ),
    "imported": ("loss", "from x import f", "", "/d/p.py:1: f is not defined here by def or class, so its signature cannot be read without running it"),
    "async": ("preprocessor", "async def f(row): ...", "", "f is an async function, a preprocessor is a function"),
    "a class for a function": ("loss", "class f: ...", "", "f is a class, a loss is a function"),
    "a function for a class": ("callback", "def f(): ...", "", "f is a function, a callback is a class"),
    "unknown option": ("loss", LOSS.replace("focal", "f"), "{gama: 1.0}", "f has no option gama\n    did you mean gamma?"),
    "option of another type": ("loss", LOSS.replace("focal", "f"), "{gamma: high}", "option gamma of f is float, not 'high'"),
    "true for a number": ("loss", LOSS.replace("focal", "f"), "{gamma: true}", "option gamma of f is float, not True"),
    "missing option": ("metric", "def f(outputs, labels, k): ...", "", "f needs the option k"),
    "no event": ("callback", "class f:\n    def on_stepend(self): ...", "", "/d/p.py:2: f.on_stepend is no event\n    did you mean on_step_end?"),
    "no kwargs": ("callback", "class f:\n    def on_log(self, args, state, control): ...", "", "f.on_log has no **kwargs"),
    "no events": ("callback", "class f: ...", "", "class f has no method for an event"),
    "half a state": (
        "callback", "class f:\n    def on_log(self, args, state, control, **k): ...\n    def state_dict(self): ...", "",
        "class f has one of state_dict and load_state_dict",
    ),
    "optimizer without init": ("optimizer", "class f(Adam): ...", "", "class f has no __init__ of its own"),
    "trainer with a base": ("trainer", "class f(SFTTrainer): ...", "", "class f has a base"),
    "trainer with another method": ("trainer", "class f:\n    def train(self): ...", "", "f.train is none of compute_loss, training_step, prediction_step, log"),
    "trainer with nothing": ("trainer", "class f: ...", "", "class f has none of the methods"),
    "hook with another signature": ("trainer", "class f:\n    def log(self, x): ...", "", "f.log takes (self, x), it must take (self, logs, start_time)"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "options", "said"), BAD.values(), ids=BAD)
def test_refused_without_running_it(kind: str, text: str, options: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        check_code(named(kind, "f", options), with_code(text))
    assert said in str(error.value)
    assert error.value.fix


def test_both_stages_refuse_it() -> None:
    known = with_code("x = 1")
    for kind, plan in (("preprocessor", plan_prepare), ("trainer", plan_train)):
        with pytest.raises(UsageError, match="defines no f"):
            plan(named(kind, "f"), known, Inputs())


PAIRS: dict[str, tuple[str, str]] = {
    "loss of pairs": ("method: {kind: dpo}\nplugins: {loss: 'a.py:f'}", "plugins.loss: dpo has more than one output"),
    "metric of pairs": ("method: {kind: dpo}\nplugins: {metric: 'a.py:f'}", "plugins.metric: dpo has more than one output"),
    "two losses": ("train: {label_smoothing: 0.1}\nplugins: {loss: 'a.py:f'}", "train.label_smoothing is a loss of its own"),
    "two optimizers": ("train: {optimizer: muon}\nplugins: {optimizer: 'a.py:f'}", "train.optimizer names another"),
    "shares": ("hardware: {strategy: zero2}\nplugins: {optimizer: 'a.py:f'}", "plugins.optimizer does not go with zero2"),
    "nothing to measure": ("data: {train: [{source: /d}], validation: 0%}\nplugins: {metric: 'a.py:f'}", "there are no rows to validate with"),
}


@pytest.mark.parametrize(("text", "said"), PAIRS.values(), ids=PAIRS)
def test_what_does_not_go_together(text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        plan_train(spec(text), facts(), Inputs())
    assert said in str(error.value)


def test_fetched_by_stage() -> None:
    given = spec("plugins: {preprocessor: 'a.py:f', loss: 'b.py:f', callback: 'b.py:C', metric: 'p.q:f'}")
    steps = plan_fetch(given, facts()).steps
    assert fetched_roles(given) == ("model", "data", "preprocessor", "plugins") and len(steps) == 4
    assert [getattr(step.job, "sources", ()) for step in steps[2:]] == [("a.py",), ("b.py", "p.q")]
    assert fetched_roles(spec()) == ("model", "data") and len(plan_fetch(spec(), facts()).steps) == 2


@pytest.mark.parametrize(("source", "error"), [("a.py", UsageError), ("p.q", MachineError)])
def test_what_is_not_there(source: str, error: type[Exception]) -> None:
    known = facts().model_copy(update={"sources": {source: SourceFacts(kind="missing")}})
    with pytest.raises(error, match=f"plugins: .*{source} is not"):
        refuse_absent(plan_fetch(spec(f"plugins: {{loss: '{source}:f'}}"), known).steps[2:], known)


def test_identity_of_the_stage_that_runs_it() -> None:
    """Its bytes, its name and its options count, in that stage alone."""

    def ids(text: str, digest: str = "0" * 64) -> tuple[str, str, str, str]:
        made: dict[str, Any] = {role: sealed(role) for role in ("model", "data")}
        made["prepared"] = sealed("prepared", "prepare", {"train": {"rows": 100, "tokens": 5000, "longest": 80}, "validation": {"rows": 5}})
        code = {role: sealed("plugins", digest=digest) for role in ("preprocessor", "plugins")}
        inputs = replace(Inputs(**made), **code)
        prepare, train = plan_prepare(spec(text), facts(), inputs).steps[0], plan_train(spec(text), facts(), inputs).steps[0]
        return prepare.identity, train.identity, train.work, train.request

    plain = ids("")
    loss = ids("plugins: {loss: 'a.py:f'}")
    assert loss[0] == plain[0] and all(a != b for a, b in zip(loss[1:], plain[1:], strict=True))
    changed = ids("plugins: {loss: 'a.py:f'}", digest="1" * 64)
    assert changed[0] == loss[0] and all(a != b for a, b in zip(changed[1:], loss[1:], strict=True))
    options = ids("plugins: {loss: 'a.py:f', options: {loss: {gamma: 1.0}}}")
    assert options[0] == loss[0] and all(a != b for a, b in zip(options[1:], loss[1:], strict=True))
    rows = ids("plugins: {preprocessor: 'a.py:f'}")
    assert rows[0] != plain[0] and rows[1:] == plain[1:]


@pytest.mark.parametrize("kind", ["loss", "metric"])
def test_logits_that_all_exist_are_counted(kind: str) -> None:
    plain, own = (plan_train(spec(text), facts(), Inputs()) for text in ("", f"plugins: {{{kind}: 'a.py:f'}}"))
    assert [d.value for d in own.decisions if d.field == "memory"] != [d.value for d in plain.decisions if d.field == "memory"]


def test_an_optimizer_wants_whole_parameters() -> None:
    """Too large for each GPU: the plan would take shares, and does not here."""
    large = facts(card(18), card(18), config=LLAMA_8B)
    full = "adapter: {kind: lora}\ntrain: {precision: bf16}\n"
    assert plan_train(spec(full), large, Inputs()).steps[0].job.strategy == "zero3"  # type: ignore[union-attr]
    with pytest.raises(MachineError):
        plan_train(spec(f"{full}plugins: {{optimizer: 'a.py:f'}}"), large, Inputs())
