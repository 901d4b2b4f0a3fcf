"""Plug-ins through the command line: what is found of their code, where, and what that stops."""

from pathlib import Path

from small_run import Caisson, SmallRun

from schemas.code import read_code

GOOD = "def f(outputs, labels, num_items_in_batch): ...\n"


def name_a_loss(run: SmallRun, text: str = GOOD) -> Path:
    path = run.folder / "own.py"
    path.write_text(text)
    run.write(f"plugins: {{loss: '{path}:f'}}\n")
    return path


def test_the_plan_says_what_will_be_executed(run: SmallRun, caisson: Caisson) -> None:
    path = name_a_loss(run)
    code, out, err = caisson("plan", run.spec_file, "--store", run.store.root)
    assert (code, err) == (0, "")
    assert f"code  loss {path}:f" in " ".join(out.split("\n")).replace("code\n", "code") or f"loss {path}:f" in out.replace("\n", "")
    assert read_code(GOOD.encode()).sha256[:12] in out


def test_a_wrong_signature_is_refused_by_plan_and_by_fetch_before_it_writes(run: SmallRun, caisson: Caisson) -> None:
    path = name_a_loss(run, "\ndef f(labels): ...\n")
    for command in ("plan", "fetch"):
        code, _, err = caisson(command, run.spec_file, "--store", run.store.root)
        assert code == 2
        assert f"plugins.loss: {path}:2: f takes (labels), it must take (outputs, labels, num_items_in_batch)" in err
        assert "write def f(outputs, labels, num_items_in_batch) -> torch.Tensor" in err and "Traceback" not in err
    assert not run.store.root.exists()


def test_what_is_not_there_is_said_with_what_is(run: SmallRun, caisson: Caisson) -> None:
    path = name_a_loss(run)
    path.rename(path.with_name("mine.py"))
    code, _, err = caisson("plan", run.spec_file, "--store", run.store.root)
    assert code == 2 and f"plugins: {path} is not there" in err
    run.write("plugins: {metric: 'no_such_package.part:f'}\n")
    code, _, err = caisson("plan", run.spec_file, "--store", run.store.root)
    assert code == 3 and "plugins: the module no_such_package.part is not installed here" in err


def test_out_of_sight_what_was_fetched_counts(run: SmallRun) -> None:
    """As in an air gap: the file is not there, its copy in the store is."""
    path = name_a_loss(run)
    run.seal("fetch")
    artifact = run.store.root / run.chain("fetch").folder("plugins")
    first = run.chain("train").inputs.plugins
    path.unlink()
    chain = run.chain("train")
    assert chain.inputs.plugins == first
    assert "train" in chain.plans and str(path) not in chain.facts.code
    (artifact / "00.py").write_text("def g(): ...\n")
    assert run.facts().code[str(path)] == read_code(b"def g(): ...\n")


def test_changed_code_is_fetched_and_trained_anew_and_nothing_else(run: SmallRun) -> None:
    path = name_a_loss(run)
    run.seal("fetch", "prepare", "train")
    before = run.chain("train")
    assert before.inputs.trained and before.inputs.preprocessor is None
    path.write_text(GOOD + "# another\n")
    chain = run.chain("train")
    assert chain.inputs.plugins is None and not chain.plans["train"].steps[0].identity
    assert chain.inputs.prepared == before.inputs.prepared and chain.inputs.model == before.inputs.model
    run.seal("fetch", content="y")
    assert run.chain("train").plans["train"].steps[0].identity != before.plans["train"].steps[0].identity
    assert run.chain("train").inputs.trained is None


def test_status_has_a_line_for_it(run: SmallRun, caisson: Caisson) -> None:
    name_a_loss(run)
    run.seal("fetch")
    code, out, _ = caisson("status", run.spec_file, "--store", run.store.root)
    assert code == 0 and "fetch plugins" in out
