"""`caisson plan`: what it shows, for which machine, and what it refuses before anything runs."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from small_run import Caisson, SmallRun, write_checkpoint

from schemas.plan import Plan

ROOT = Path(__file__).resolve().parents[2]
H100 = ROOT / "tests" / "facts" / "h100x1.json"
CPU2 = ROOT / "tests" / "facts" / "cpu2.json"
T4 = ROOT / "tests" / "facts" / "t4.json"


def test_plan(caisson: Caisson, run: SmallRun) -> None:
    code, out, err = caisson("plan", run.spec_file, "--store", run.store.root)
    assert (code, err) == (0, "")
    assert out.startswith("n on CPU, ")
    assert not run.store.root.exists(), "planning changes nothing"


def test_plan_as_json(caisson: Caisson, run: SmallRun) -> None:
    code, out, _ = caisson("plan", run.spec_file, "--store", run.store.root, "--json")
    assert code == 0
    assert [s.stage for s in Plan.model_validate_json(out).steps] == ["fetch", "fetch", "prepare", "train", "export", "serve", "evaluate"]


def test_without_rows_held_back_an_overview_ends_with_serve(caisson: Caisson, run: SmallRun) -> None:
    """Nobody has asked for an evaluation; who does is told what it wants."""
    run.spec_file.write_text(run.spec_file.read_text().replace("}]}", "}], validation: 0%}", 1))
    code, out, _ = caisson("plan", run.spec_file, "--store", run.store.root, "--json")
    assert (code, json.loads(out)["steps"][-1]["stage"]) == (0, "serve")
    code, out, _ = caisson("status", run.spec_file, "--store", run.store.root)
    assert (code, "evaluate" in out) == (0, False)
    code, _, err = caisson("evaluate", run.spec_file, "--store", run.store.root)
    assert code == 2 and "there is nothing to ask" in err


def test_plan_for_another_machine(caisson: Caisson, run: SmallRun) -> None:
    code, out, _ = caisson("plan", ROOT / "specs" / "demo.yaml", "--facts", T4, "--store", run.store.root)
    assert code == 0
    assert out.splitlines()[0].startswith("port-ossley on 1 x Tesla T4")


def test_plan_that_cannot_is_shown_and_ends_with_3(caisson: Caisson, run: SmallRun) -> None:
    code, out, err = caisson("plan", ROOT / "specs" / "full-1.7b.yaml", "--facts", T4, "--store", run.store.root)
    assert code == 3
    assert "cannot: train: " in out
    assert "export" in out, "the other stages are shown"
    assert err.startswith("caisson: hf://Qwen/Qwen3-1.7B does not fit: ")


def test_plan_that_contradicts_itself_ends_with_2(caisson: Caisson, run: SmallRun) -> None:
    run.write("adapter: {kind: qlora}\nhardware: {strategy: zero3}\n")
    code, _, err = caisson("plan", run.spec_file, "--store", run.store.root)
    assert code == 2
    assert err.startswith("caisson: hardware.strategy: zero3 cannot shard 4-bit weights")


OFFLOAD = "adapter: {kind: lora}\nhardware: {strategy: zero3, offload: cpu}\n"


def test_engine_with_a_reason_above_each_value(caisson: Caisson, run: SmallRun) -> None:
    run.write(OFFLOAD)
    code, out, err = caisson("plan", run.spec_file, "--store", run.store.root, "--show", "engine")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    told = json.loads("\n".join(line for line in lines if not line.lstrip().startswith("//")))
    assert told["zero_optimization"]["offload_param"] == {"device": "cpu", "pin_memory": False}
    for above, line in pairwise(lines):
        if '"' in line and not line.lstrip().startswith("//") and not line.endswith("{"):
            assert above.lstrip().startswith("// "), line


def test_engine_as_json(caisson: Caisson, run: SmallRun) -> None:
    run.write(OFFLOAD)
    shown = json.loads(caisson("plan", run.spec_file, "--store", run.store.root, "--show", "engine", "--json")[1])
    whole = Plan.model_validate_json(caisson("plan", run.spec_file, "--store", run.store.root, "--json")[1])
    (train,) = [step.job for step in whole.steps if step.job.stage == "train"]
    assert shown["settings"] == train.engine
    assert shown["why"] == {setting.path: setting.why for setting in whole.engine}
    assert shown["why"]["zero_optimization.stage"] == "each process keeps only its share of weights, gradients and optimizer"


def test_engine_of_plain_torch(caisson: Caisson, run: SmallRun) -> None:
    assert caisson("plan", run.spec_file, "--store", run.store.root, "--show", "engine")[1] == "{}  // no engine: plain torch, in one process or in DDP\n"
    assert json.loads(caisson("plan", run.spec_file, "--store", run.store.root, "--show", "engine", "--json")[1]) == {"settings": {}, "why": {}}


def test_env_for_compose(caisson: Caisson, run: SmallRun) -> None:
    code, out, err = caisson("plan", ROOT / "specs" / "full-1.7b.yaml", "--facts", H100, "--store", run.store.root, "--show", "env")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    lines = [line for line in out.splitlines() if not line.startswith("# ")]
    assert lines == ["ACCELERATOR=cuda", "TRAIN_GRACE=420s"]
    assert "put TRAIN_GRACE=420s into .env" in out.replace("\n# ", " ")
    shown = caisson("plan", run.spec_file, "--store", run.store.root, "--show", "env", "--json")[1]
    assert json.loads(shown) == {"ACCELERATOR": "cpu", "TRAIN_GRACE": "300s"}


def test_env_of_what_cannot_be_trained(caisson: Caisson, run: SmallRun) -> None:
    code, out, _ = caisson("plan", ROOT / "specs" / "full-1.7b.yaml", "--facts", T4, "--store", run.store.root, "--show", "env")
    assert (code, out) == (3, "ACCELERATOR=cuda\n")


REFUSED = {
    "no model": (lambda run: shutil.rmtree(run.model), 2, "model.source: {model} is not there"),
    "no rows": (lambda run: run.rows.unlink(), 2, "data: {rows} is not there"),
    "pickles": (lambda run: (run.model / "model.safetensors").rename(run.model / "pytorch_model.bin"), 4, "{model}/pytorch_model.bin: the weights are pickled"),
    "code": (lambda run: (run.model / "config.json").write_text('{"auto_map": {"AutoModel": "m.M"}}'), 4, "{model}/config.json names Python code"),
    "cut": (lambda run: (run.model / "model.safetensors").write_bytes(b"short"), 4, "{model}/model.safetensors: only 5 bytes"),
    "an architecture that nobody has": (
        lambda run: (run.model / "config.json").write_text('{"model_type": "llama9", "transformers_version": "9.1.0"}'),
        2,
        "model.source: {model}: transformers 5.17.0 in the images does not know the architecture 'llama9'; the config was written by transformers 9.1.0",
    ),
    "a link out": (lambda run: (run.rows.unlink(), run.rows.symlink_to("/etc/passwd")), 4, "data: {rows} is a link that leaves its folder"),
}
"""What fetch refuses; a function that makes it so, the exit code and the start of the text."""


@pytest.mark.parametrize(("make", "code", "said"), REFUSED.values(), ids=REFUSED)
def test_plan_and_fetch_say_alike_what_fetch_refuses(caisson: Caisson, run: SmallRun, make, code: int, said: str) -> None:
    make(run)
    said = said.format(model=run.model, rows=run.rows)
    planned, out, err = caisson("plan", run.spec_file, "--store", run.store.root)
    assert planned == code
    assert err.startswith(f"caisson: {said}")
    assert "cannot: fetch: " in out and "export" in out, "the other stages are shown"
    assert any(line.startswith(f"fetch: {said}") for line in json.loads(caisson("plan", run.spec_file, "--json")[1])["waiting"])
    fetched, out, again = caisson("fetch", run.spec_file, "--store", run.store.root)
    assert (fetched, out, again) == (code, "", err)
    assert not run.store.root.exists(), "refused before anything is written"


def test_plan_takes_what_was_fetched_from_a_source_that_is_out_of_sight_now(caisson: Caisson, run: SmallRun) -> None:
    run.seal("fetch")
    shutil.rmtree(run.model)
    run.rows.unlink()
    assert caisson("plan", run.spec_file, "--store", run.store.root)[0] == 0
    assert caisson("fetch", run.spec_file, "--store", run.store.root)[0] == 2


def test_plan_for_another_machine_looks_at_no_source_of_this_one(caisson: Caisson, run: SmallRun) -> None:
    shutil.rmtree(run.model)
    assert caisson("plan", run.spec_file, "--facts", CPU2, "--store", run.store.root)[0] == 0


@pytest.mark.parametrize(
    ("content", "said"), [("", "holds no key"), (" \n# none yet\n", "holds no key"), ("short", "1: a key has at least 16 visible ASCII letters")]
)
def test_keys_that_the_gateway_will_refuse(caisson: Caisson, run: SmallRun, monkeypatch: pytest.MonkeyPatch, content: str, said: str) -> None:
    """Said by plan and doctor, and by serve before it reads an artifact."""
    keys = run.folder / "keys"
    keys.write_text(content)
    monkeypatch.setenv("GATEWAY_SECRETS", str(run.folder))
    monkeypatch.delenv("CAISSON_IMAGE", raising=False)
    code, out, err = caisson("plan", run.spec_file, "--store", run.store.root)
    assert (code, err.startswith(f"caisson: {keys}")) == (3, True) and said in err
    assert "cannot: serve:" in out and said in " ".join(out.split())
    _, out, _ = caisson("doctor", "--store", run.store.root, "--json")
    assert [(f["state"], said in f["found"]) for f in json.loads(out) if f["check"] == "API keys"] == [("fail", True)]
    run.seal("fetch", "prepare", "train", "export")
    code, out, err = caisson("serve", run.spec_file, "--store", run.store.root)
    assert (code, out) == (3, "")
    assert said in err
    keys.write_text("a-good-key-0123456789\n")
    assert caisson("plan", run.spec_file, "--store", run.store.root)[0] == 0


def test_engine_of_what_cannot_be_trained(caisson: Caisson, run: SmallRun) -> None:
    code, out, _ = caisson("plan", ROOT / "specs" / "full-1.7b.yaml", "--facts", T4, "--store", run.store.root, "--show", "engine")
    assert code == 3
    assert out.startswith("{}  // cannot: train: hf://Qwen/Qwen3-1.7B does not fit")


def test_env_before_fetch_says_that_nothing_was_estimated(caisson: Caisson, run: SmallRun) -> None:
    (run.model / "config.json").unlink()
    _, out, _ = caisson("plan", run.spec_file, "--store", run.store.root, "--show", "env")
    assert "nothing was estimated" in out.replace("\n# ", " ")
    assert max(map(len, out.splitlines())) <= 80
    assert out.splitlines()[-1] == "TRAIN_GRACE=300s"


@pytest.mark.parametrize("content", ["{", '{"gib_per_second": 5e-324, "measured_at": 1}', '{"gib_per_second": 1e300, "measured_at": 1}', "[]"])
def test_a_disk_speed_that_no_disk_has_is_not_believed(caisson: Caisson, run: SmallRun, content: str) -> None:
    run.store.root.mkdir()
    (run.store.root / ".disk-speed.json").write_text(content)
    code, out, err = caisson("plan", run.spec_file, "--store", run.store.root)
    assert (code, err) == (0, "")
    assert "assumed until it is measured" in " ".join(out.split())


@pytest.mark.parametrize("validation", [[], 3, {"rows": -1}, {"rows": "x"}])
def test_counts_of_validation_that_cannot_be_make_the_rows_damaged_too(caisson: Caisson, run: SmallRun, validation: object) -> None:
    run.seal("fetch", "prepare")
    path = run.store.final(run.chain().plan("prepare").steps[0]) / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["summary"]["validation"] = validation
    path.write_text(json.dumps(manifest))
    assert caisson("plan", run.spec_file, "--store", run.store.root)[0] == 0
    assert caisson("status", run.spec_file, "--store", run.store.root)[1].count("damaged") == 1


@pytest.mark.parametrize("train", [None, {}, [], {"rows": 0}, {"tokens": "x"}, {"tokens": 0}, {"longest": -1}, {"rows": 1e400}, {"sizes": [[1]]}, {"sizes": 3}])
def test_counts_that_cannot_be_make_the_rows_damaged(caisson: Caisson, run: SmallRun, train: object) -> None:
    """As every other damage: prepare makes them again."""
    run.seal("fetch", "prepare")
    step = run.chain().plan("prepare").steps[0]
    path = run.store.final(step) / "manifest.json"
    manifest = json.loads(path.read_text())
    whole = manifest["summary"]["train"]
    manifest["summary"]["train"] = {**whole, **train} if isinstance(train, dict) and train else train
    path.write_text(json.dumps(manifest).replace("Infinity", "1e400"))
    code, out, err = caisson("plan", run.spec_file, "--store", run.store.root)
    assert (code, err) == (0, "")
    assert "until prepare has counted them" in " ".join(out.split())
    code, _, err = caisson("train", run.spec_file, "--store", run.store.root)
    assert code == 2
    assert err.startswith("caisson: train: prepare has not finished for this spec")
    assert caisson("status", run.spec_file, "--store", run.store.root)[1].count("damaged") == 1


def test_what_training_cannot_look_at_is_said_by_plan_and_train(caisson: Caisson, run: SmallRun) -> None:
    run.seal("fetch", "prepare")
    partial = run.store.partial(run.chain().plan("train").steps[0])
    partial.parent.mkdir(parents=True)
    partial.touch()
    for command in ("plan", "train"):
        code, out, err = caisson(command, run.spec_file, "--store", run.store.root)
        assert (code, err) == (3, f"caisson: {partial} is no folder, which is in the way of what belongs there\n    remove it, or move it out of the store\n")
        assert (f"cannot: train: {partial}" in out.replace("\n", "")) is (command == "plan")


def test_checkpoint_of_another_training_is_no_part_of_the_plan(caisson: Caisson, run: SmallRun) -> None:
    run.seal("fetch", "prepare")
    step = run.chain().plan("train").steps[0]
    for work, said in (("f" * 16, False), (step.work_id, True)):
        write_checkpoint(run.store.partial(step) / "checkpoints", 10, work, step.job.model_dump(mode="json"))
        out = caisson("plan", run.spec_file, "--store", run.store.root)[1]
        assert ("after step 10" in out) is said


def test_config_of_a_model_that_is_not_fetched(caisson: Caisson, run: SmallRun, tmp_path: Path) -> None:
    spec, config = ROOT / "specs" / "qlora-7b-24gb.yaml", ROOT / "tests" / "configs" / "qwen2.5-7b.json"
    common = ("plan", spec, "--facts", "rtx-4090", "--store", run.store.root)
    assert "memory  not estimated" in caisson(*common)[1]
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    shutil.copy(config, folder / "config.json")
    outs = [caisson(*common, "--config", path)[1] for path in (config, folder)]
    assert outs[0] == outs[1] and "weights" in outs[0] and "not estimated" not in outs[0].split("serve")[0]
    (folder / "config.json").write_text("[")
    for path in (folder, tmp_path / "nowhere.json"):
        code, _, err = caisson(*common, "--config", path)
        assert code == 2 and f"--config: {path} is no config.json that can be read" in err


UNKNOWN = {
    "a later transformers has it": ({"transformers_version": "9.1.0"}, "build the images with transformers 9.1.0 or later"),
    "a slip": (
        {"model_type": "qwenn3", "transformers_version": "5.0.0"},
        "the nearest that it has is qwen3: correct model_type in config.json if that was meant",
    ),
    "code of its own": ({"auto_map": {"AutoModel": "m.M"}}, "it brings code of its own, which only engines that run such code can load"),
    "nobody": ({}, "use a model of another architecture"),
}
"""What a config.json has beside a name that transformers does not know; what is said to do."""


@pytest.mark.parametrize(("beside", "fix"), UNKNOWN.values(), ids=UNKNOWN)
def test_config_of_an_architecture_that_the_images_do_not_know(caisson: Caisson, run: SmallRun, tmp_path: Path, beside: dict, fix: str) -> None:
    config = {"model_type": "zzz"} | beside
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    code, out, err = caisson("plan", run.spec_file, "--facts", "rtx-4090", "--store", run.store.root, "--config", path)
    assert (code, out) == (2, "")
    written = f"; the config was written by transformers {config['transformers_version']}" if "transformers_version" in config else ""
    assert err == f"caisson: --config: {path}: transformers 5.17.0 in the images does not know the architecture '{config['model_type']}'{written}\n    {fix}\n"


def test_facts_without_a_name_are_not_this_machine_s(caisson: Caisson, run: SmallRun) -> None:
    """As a shell hands over "$MACHINE" that is not set."""
    code, out, err = caisson("plan", run.spec_file, "--facts", "", "--store", run.store.root)
    assert (code, out) == (2, "")
    assert "is a folder\n    name the facts file" in err


def test_the_grace_that_compose_gives_anyway_is_explained(caisson: Caisson, run: SmallRun) -> None:
    """A stop of two minutes, beside a line that says 300 s."""
    spec, config = ROOT / "specs" / "zero3-70b-8gpu.yaml", ROOT / "tests" / "configs" / "llama-3-70b.json"
    _, out, _ = caisson("plan", spec, "--facts", "h100-x8", "--config", config, "--store", run.store.root, "--show", "env")
    said = out.replace("\n# ", " ")
    assert "# TRAIN_GRACE: 130 s: a checkpoint of " in said and "Compose waits longer by itself\n" in said and said.endswith("TRAIN_GRACE=300s\n")
