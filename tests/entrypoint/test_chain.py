"""What each stage would do now, over what is sealed so far."""

import json
import shutil
from pathlib import Path

import pytest
from small_run import CONFIG, HEADER, SmallRun

from entrypoint.chain import STAGES, machine, read_spec, with_models
from entrypoint.plan.tables import LOCKS
from schemas.errors import MachineError, SpecError, UsageError
from schemas.facts import Accelerator, Facts, ModelFacts
from schemas.job import TrainJob
from schemas.rates import RATES, Rates, RatesFile

H100 = Accelerator(name="H100", memory_gib=79.6, compute_capability="9.0")


def cuda(run: SmallRun, *accelerators: Accelerator) -> Facts:
    """In a CUDA image with these GPUs."""
    return run.facts().model_copy(update={"device": "cuda", "accelerators": accelerators})


def test_empty_store(run: SmallRun) -> None:
    chain = run.chain("evaluate")
    assert list(chain.plans) == list(STAGES)
    assert chain.errors == {}
    assert all(s.identity for s in chain.plan("fetch").steps)
    assert not any(s.identity for stage in STAGES[1:] for s in chain.plans[stage].steps)


@pytest.mark.parametrize(("stage", "missing"), [("prepare", "fetch"), ("train", "fetch"), ("export", "fetch"), ("serve", "fetch")])
def test_what_has_to_run_first_is_named(run: SmallRun, stage: str, missing: str) -> None:
    with pytest.raises(UsageError) as caught:
        run.chain().plan(stage)  # type: ignore[arg-type]
    assert str(caught.value) == (
        f"{stage}: {missing} has not finished for this spec\n    run `docker compose run --rm {stage}`, which runs what comes before it, or `caisson {missing}`"
    )


def test_the_first_of_several_is_named(run: SmallRun) -> None:
    run.seal("fetch", "prepare")
    with pytest.raises(UsageError, match=r"^serve: train has not finished"):
        run.chain().plan("serve")
    run.chain().plan("train")


def test_stage_after_stage(run: SmallRun) -> None:
    run.seal("fetch", "prepare", "train", "export")
    chain = run.chain("evaluate")
    assert all(s.identity for stage in STAGES for s in chain.plan(stage).steps)
    assert all(run.store.find(s) for stage in STAGES[:-2] for s in chain.plan(stage).steps)
    assert chain.folder("exported") == f"n/exports/{chain.plan('export').steps[0].id}"
    assert chain.folder("model").startswith("models/")


def test_only_as_far_as_asked(run: SmallRun) -> None:
    assert list(run.chain("prepare").plans) == ["fetch", "prepare"]


def test_folder_of_what_is_not_there(run: SmallRun) -> None:
    for role, stage in (("exported", "export"), ("model", "fetch"), ("trained", "train")):
        with pytest.raises(UsageError, match=f"^{stage} has not finished for this spec"):
            run.chain("export").folder(role)


def test_counted_rows_reach_the_plan_of_training(run: SmallRun) -> None:
    run.seal("fetch")
    assert "assumed" in str(run.chain().plans["train"].decisions) or "until the rows are counted" in str(run.chain().plans["train"].decisions)
    run.seal("prepare")
    assert "counted mean pack of 125 tokens" in str(run.chain().plans["train"].decisions)


def test_touched_file_with_the_same_content_retrains_nothing(run: SmallRun) -> None:
    run.seal("fetch", "prepare", "train")
    before = run.chain().plan("train").steps[0].identity
    run.rows.touch()
    chain = run.chain()
    assert run.store.find(chain.plan("fetch").steps[1]) is None, "time of change is all that is looked at before fetching"
    run.seal("fetch")
    assert run.chain().plan("train").steps[0].identity == before


def test_changed_content_retrains(run: SmallRun) -> None:
    run.seal("fetch", "prepare", "train")
    before = run.chain().plan("train").steps[0].identity
    run.rows.write_text(json.dumps({"messages": []}) + "\n" * 3)
    run.seal("fetch", content="y")
    run.seal("prepare", content="y")
    assert run.chain().plan("train").steps[0].identity != before


def test_export_without_a_gpu_finds_what_train_with_one_has_made(run: SmallRun) -> None:
    """compose/accelerator.cuda.yaml gives train a GPU, and export and ask none."""
    run.seal("fetch", "prepare", facts=cuda(run))
    run.seal("train", facts=cuda(run, H100))
    chain = run.chain(facts=cuda(run))
    assert isinstance(chain.errors["train"], MachineError), "nothing can be trained here"
    assert chain.inputs.trained
    run.seal("export", facts=cuda(run))
    assert run.chain("export", cuda(run)).folder("exported")
    assert run.store.find(run.chain(facts=cuda(run, H100)).plan("export").steps[0]), "and with a GPU it is the same"


def test_export_without_a_gpu_before_train(run: SmallRun) -> None:
    run.seal("fetch", "prepare", facts=cuda(run))
    with pytest.raises(UsageError, match=r"^export: train has not finished for this spec"):
        run.chain(facts=cuda(run)).plan("export")


def test_exactly_this_machine_s_artifact_comes_before_a_newer_one(run: SmallRun) -> None:
    run.seal("fetch", "prepare", facts=cuda(run))
    two = cuda(run, H100, H100)
    run.seal("train", facts=cuda(run, H100), finished_at="2026-01-01T00:00:00+00:00")
    run.seal("train", facts=two, content="y", finished_at="2026-02-01T00:00:00+00:00")
    for facts, ranks in ((cuda(run, H100), 1), (two, 2), (cuda(run), 2)):
        trained = run.chain(facts=facts).inputs.trained
        assert trained
        assert trained.manifest.job["ranks"] == ranks


def test_other_wishes_are_not_answered_by_an_older_artifact(run: SmallRun) -> None:
    run.seal("fetch", "prepare", "train")
    run.write("train: {seed: 3}\n")
    run.seal("prepare", content="x")
    assert run.chain().inputs.trained is None


def test_source_out_of_sight_is_found_in_the_store(run: SmallRun) -> None:
    """On the serving machine neither model nor rows need to be mounted."""
    run.seal("fetch", "prepare", "train", "export")
    before = run.chain().plan("serve").steps[0].identity
    run.rows.unlink()
    shutil.rmtree(run.model)
    assert run.chain().plan("serve").steps[0].identity == before


def test_machine_that_cannot_train_can_serve_what_another_trained(run: SmallRun) -> None:
    run.write("train: {precision: bf16}\n")
    run.seal("fetch", "prepare", "train", "export", facts=cuda(run, H100))
    chain = run.chain(facts=cuda(run, H100.model_copy(update={"compute_capability": "7.5"})))
    with pytest.raises(MachineError, match="has no bf16"):
        chain.plan("train")
    assert chain.plan("serve").steps[0].identity


def test_weights_for_one_accelerator_are_exported_on_another(run: SmallRun) -> None:
    """The cheap stages run again in the other image; what they make is the same, so the weights stay."""
    run.seal("fetch", "prepare", facts=cuda(run))
    run.seal("train", facts=cuda(run, H100))
    assert run.chain().inputs.trained is None
    run.seal("fetch", "prepare")
    trained = run.chain().inputs.trained
    assert trained
    assert trained.manifest.job["device"] == "cuda"
    run.chain().plan("export")


def test_merged_plan_says_what_cannot(run: SmallRun) -> None:
    run.write("train: {precision: fp16}\n")
    chain = run.chain()
    merged = chain.merged()
    assert merged.waiting == ("train: train.precision: a CPU does not train in fp16",)
    assert [s.stage for s in merged.steps] == ["fetch", "fetch", "prepare", "export", "serve"]


def test_config_of_the_fetched_model_is_read(run: SmallRun) -> None:
    run.seal("fetch")
    (run.model / "config.json").unlink()
    (run.model / "other").write_text("")
    assert run.facts().models == {}, "another version of the source has not been fetched"
    run.model.joinpath("config.json").write_text(json.dumps(CONFIG))
    assert list(run.facts().models) == [str(run.model)]


def test_recorded_facts_know_the_model_that_is_at_hand(run: SmallRun) -> None:
    other = Facts(device="cuda", accelerators=(H100,), cpu_cores=8, ram_gib=64, disk_free_gib=100, shm_gib=8)
    spec = read_spec(run.spec_file)
    assert with_models(other, spec, run.store).models == {str(run.model): ModelFacts(config=CONFIG, stored_bytes=len(HEADER) + 24)}
    run.seal("fetch")
    shutil.rmtree(run.model)
    assert with_models(other, spec, run.store).models == {str(run.model): ModelFacts(config=CONFIG)}, "the fetched one"
    own = {str(run.model): ModelFacts(config={})}
    assert with_models(other.model_copy(update={"models": own}), spec, run.store).models == own
    shutil.rmtree(run.store.root)
    assert with_models(other, spec, run.store).models == {}


def test_train_job_in_the_chain(run: SmallRun) -> None:
    run.seal("fetch", "prepare")
    job = run.chain().plan("train").steps[0].job
    assert isinstance(job, TrainJob)
    assert job.device == "cpu"


# -- reading the spec


def test_bom_is_no_letter(tmp_path: Path, run: SmallRun) -> None:
    run.spec_file.write_bytes(b"\xef\xbb\xbf" + run.spec_file.read_bytes())
    assert read_spec(run.spec_file).name == "n"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: None, "{p} is not there\n    name a spec file; examples are in specs/"),
        (lambda p: p.mkdir(), "{p} is a folder\n    name the spec file"),
        (lambda p: p.write_bytes(b"spec: 1\n\xe4"), "{p} is not UTF-8: byte 8 is 0xe4\n    save the file as UTF-8"),
        (lambda p: p.symlink_to(p), "{p} is a link that leads back to itself\n    name the spec file"),
    ],
    ids=["missing", "folder", "latin-1", "loop"],
)
def test_unreadable_spec(tmp_path: Path, make, said: str) -> None:
    path = tmp_path / "s.yaml"
    make(path)
    with pytest.raises(UsageError) as caught:
        read_spec(path)
    assert str(caught.value) == said.format(p=path)


def test_messages_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("spec: 2")
    with pytest.raises(SpecError, match=r"^mine\.yaml:1:"):
        read_spec(tmp_path / "mine.yaml")


def test_rates_of_other_packages_are_not_of_this_machine(run: SmallRun) -> None:
    rates = Rates(device="cpu", matmul_tflops={"fp32": 0.1}, memory_gib=10.0, launch_us=5.0, measured_at=1.0, source="test")
    run.store.root.mkdir()
    for lock, known in (("0" * 64, False), (LOCKS["train"]["cpu"], True), ("", True)):
        (run.store.root / RATES).write_text(RatesFile(measured=(rates.model_copy(update={"image_lock": lock}),)).model_dump_json())
        assert (run.facts().rates is not None) == known


def test_rows_of_suites_are_looked_at_with_the_others(run: SmallRun, tmp_path: Path) -> None:
    rows = tmp_path / "faq.jsonl"
    run.write(f"evaluate: {{suites: [{{kind: questions, name: faq, source: {rows}}}]}}\n")
    assert machine(read_spec(run.spec_file), run.store).sources[str(rows)].kind == "missing"
    rows.write_text('{"question": "q", "answer": "a"}')
    assert machine(read_spec(run.spec_file), run.store).sources[str(rows)].files
