"""The leaf of export over adapters that are made here: NF4, a model that is merged whole, another base, a stale attempt, an adapter alone."""

import json
import shutil

import pytest

pytest.importorskip("bitsandbytes")
pytest.importorskip("peft")

from exported import task, write_prepared, write_trained
from tiny import write_model

from entrypoint.run import merged_folder
from entrypoint.run.export import export
from entrypoint.run.golden_answers import FILE_NAME, read_answers
from entrypoint.run.merge import NotByTensor
from entrypoint.run.nf4 import through_nf4
from entrypoint.run.seal import seal
from schemas.errors import GateRefused, UsageError
from schemas.export_job import ExportJob
from schemas.manifest import Manifest

pytestmark = [pytest.mark.image, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore::UserWarning")]
QLORA = {"trained_on": "nf4", "precision": "fp32", "merge_into": "measured"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    model = write_model(folder / "model")
    write_prepared(folder / "prepared")
    write_trained(folder / "lora", model)
    write_trained(folder / "qlora", model, nf4=True)
    return folder


def run(made, output, trained="lora", model="model", **job):
    given = ExportJob(**{"kind": "safetensors", "dtype": "bf16", "golden_tokens": 8} | job)
    return export(*task(output, given, model=made / model, prepared=made / "prepared", trained=made / trained))


def weight(folder, name="model.layers.0.self_attn.q_proj.weight"):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")[name].float()


def test_what_is_written_of_a_merge(made, tmp_path):
    found = run(made, tmp_path / "out")
    assert found["merged"] == "by tensor" and found["merged_into"] == "full" and found["equal"] + found["near_ties"] == found["golden"] == 9
    assert 0 < found["merge_peak_bytes"] <= found["peak_bytes"] and found["bytes"] > 100_000
    golden, answers = read_answers(tmp_path / "out")
    assert {g["kind"] for g in golden} >= {"plain", "system", "turns", "unicode", "row"}
    assert all(1 <= len(a.ids) <= 8 and len(a.ids) == len(a.logprobs) == len(a.margins) for a in answers)
    assert all(a.ended == (a.ids[-1] == 2) for a in answers)
    assert {p.name for p in (tmp_path / "out").iterdir()} >= {"config.json", "generation_config.json", "tokenizer.json", "model.safetensors", "parity.json"}


def test_an_update_too_small_for_bf16_is_said(made, tmp_path):
    """After a few steps of a training: the weights of the base are multiples of more than the update."""
    assert run(made, tmp_path / "large")["lost_by_rounding"] < 0.1
    write_trained(made / "small", made / "model", scale=0.00003)
    assert run(made, tmp_path / "small", "small")["lost_by_rounding"] > 0.5


class TestQlora:
    """Into which of two bases."""

    def test_both_are_measured_and_the_nearer_is_kept(self, made, tmp_path):
        found = run(made, tmp_path / "out", "qlora", **QLORA)
        assert found["distance"]["nf4"] < found["distance"]["full"], "it was trained on the NF4 weights"
        assert found["merged_into"] == "nf4" and not (tmp_path / "out" / merged_folder.OTHER).exists()
        forced = run(made, tmp_path / "nf4", "qlora", **{**QLORA, "merge_into": "nf4"})
        assert forced["distance"] == {"nf4": found["distance"]["nf4"]}
        assert weight(tmp_path / "out").equal(weight(tmp_path / "nf4"))

    def test_the_full_base_can_be_forced(self, made, tmp_path):
        found = run(made, tmp_path / "full", "qlora", **{**QLORA, "merge_into": "full"})
        plain = run(made, tmp_path / "plain", "qlora")
        assert found["merged_into"] == "full" and plain["merged_into"] == "full"
        assert weight(tmp_path / "full").equal(weight(tmp_path / "plain"))

    def test_the_weights_put_back_are_those_that_transformers_trained_on(self, made):
        import torch
        from bitsandbytes.functional import dequantize_4bit
        from safetensors.torch import load_file

        from entrypoint.run.tuned import load_tuned

        job = ExportJob(kind="safetensors", dtype="bf16", golden_tokens=8, trained_on="nf4", precision="bf16")
        tuned = load_tuned(made / "model", made / "qlora" / "weights", job)
        name = "model.layers.1.mlp.down_proj.weight"
        held = tuned.base_model.model.model.layers[1].mlp.down_proj.base_layer.weight
        base = load_file(made / "model" / "model.safetensors")[name]
        back = through_nf4(base, torch.bfloat16)
        assert torch.equal(back, dequantize_4bit(held.data, held.quant_state).float()) and not torch.equal(back, base.float())

    def test_a_model_that_is_merged_whole_is_merged_into_the_full_base(self, made, tmp_path, monkeypatch):
        def refuse(*_):
            raise NotByTensor("an adapter of kind OFT")

        monkeypatch.setattr(merged_folder, "build", refuse)
        found = run(made, tmp_path / "out", "qlora", **QLORA)
        assert found["merged"] == "whole: an adapter of kind OFT" and found["merged_into"] == "full"
        with pytest.raises(UsageError, match="merge_into: nf4, but an adapter of kind OFT"):
            run(made, tmp_path / "forced", "qlora", **{**QLORA, "merge_into": "nf4"})


def test_the_merge_of_the_whole_model_is_the_same(made, tmp_path, monkeypatch):
    run(made, tmp_path / "tensors")

    def refuse(*_):
        raise NotByTensor("a test")

    monkeypatch.setattr(merged_folder, "build", refuse)
    run(made, tmp_path / "whole")
    assert weight(tmp_path / "tensors").equal(weight(tmp_path / "whole"))
    configs = [json.loads((tmp_path / name / "config.json").read_text()) for name in ("tensors", "whole")]
    assert configs[0] == configs[1] and configs[0]["dtype"] == "bfloat16" and configs[0]["use_cache"] is True


def test_nothing_of_an_earlier_attempt_is_used(made, tmp_path):
    given = ExportJob(kind="safetensors", dtype="bf16", golden_tokens=8)
    done, events = task(tmp_path / "out", given, model=made / "model", prepared=made / "prepared", trained=made / "lora")
    for name in ("model-00001-of-00002.safetensors", "shard-0.draft", FILE_NAME, "model.safetensors.index.json"):
        (tmp_path / "out" / name).write_text("stale")
    (tmp_path / "out" / merged_folder.OTHER).mkdir()
    export(done, events)
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert "model.safetensors" in names and not names & {"model-00001-of-00002.safetensors", "shard-0.draft", "model.safetensors.index.json", ".other"}
    assert json.loads((tmp_path / "out" / FILE_NAME).read_text())


class TestAnotherBase:
    """Refused, though every shape fits."""

    @staticmethod
    def sealed(folder, seed):
        draft = write_model(folder.with_name(f".{folder.name}"), seed=seed)
        manifest = Manifest(stage="fetch", name="n", identity="1" * 64, request="2" * 64, job={}, program="0", files=())
        seal(draft, folder, manifest)
        return json.loads((folder / "manifest.json").read_text())

    def test_by_what_was_sealed(self, made, tmp_path):
        right, wrong = (self.sealed(made / f"{tmp_path.name}-{seed}", seed) for seed in (1, 5))
        content = Manifest.model_validate(right).content
        assert content != Manifest.model_validate(wrong).content
        assert run(made, tmp_path / "right", model=f"{tmp_path.name}-1", base=content)["equal"]
        with pytest.raises(GateRefused, match="is not the one that was trained on"):
            run(made, tmp_path / "wrong", model=f"{tmp_path.name}-5", base=content)
        with pytest.raises(GateRefused, match="its content is not sealed"):
            run(made, tmp_path / "bare", base=content)

    def test_by_what_it_answers(self, made, tmp_path, monkeypatch):
        """Where only the merge is given another base: the answers before and after are not the same."""
        write_model(made / "other", seed=9)
        usual = merged_folder._merge
        monkeypatch.setattr(merged_folder, "_merge", lambda base, *rest: usual(made / "other", *rest))
        with pytest.raises(GateRefused, match=r"answers .* differently"):
            run(made, tmp_path / "out")


class TestAdapter:
    """By itself."""

    def test_bit_for_bit_with_its_golden_answers(self, made, tmp_path):
        found = run(made, tmp_path / "out", kind="adapter")
        for name in ("adapter_model.safetensors", "adapter_config.json"):
            assert (tmp_path / "out" / name).read_bytes() == (made / "lora" / "weights" / name).read_bytes()
        assert found["rank"] == 4 and found["plain_lora"] is True and found["golden"] == 9
        merged = run(made, tmp_path / "merged")
        assert merged["golden"] == 9 and read_answers(tmp_path / "merged") == read_answers(tmp_path / "out")

    def test_the_answers_of_an_earlier_export_are_not_computed_again(self, made, tmp_path, monkeypatch):
        run(made, tmp_path / "merged")
        given = ExportJob(kind="adapter", dtype="bf16", golden_tokens=8)
        done = task(tmp_path / "out", given, model=made / "model", prepared=made / "prepared", trained=made / "lora", merged=tmp_path / "merged")
        monkeypatch.setattr("entrypoint.run.export.load_tuned", None)
        assert export(*done)["golden"] == 9
        assert (tmp_path / "out" / FILE_NAME).read_bytes() == (tmp_path / "merged" / FILE_NAME).read_bytes()

    def test_what_an_engine_cannot_load_beside_others_is_said(self, made, tmp_path):
        write_trained(made / "dora", made / "model", use_dora=True)
        assert run(made, tmp_path / "out", "dora", kind="adapter")["plain_lora"] is False


@pytest.mark.parametrize("adapted", [True, False], ids=["adapter", "full weights"])
def test_a_reward_model_goes_with_its_head(made, tmp_path, adapted):
    import torch
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file
    from tiny import tokenizer
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(4)
    model = AutoModelForSequenceClassification.from_pretrained(made / "model", num_labels=1, dtype=torch.float32, pad_token_id=2)
    if adapted:
        model = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, task_type="SEQ_CLS", target_modules=["q_proj", "v_proj"], modules_to_save=["score"]))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += torch.randn_like(parameter) * 0.05
    name = f"judge-{adapted}"
    model.save_pretrained(made / name / "weights")
    tokenizer().save_pretrained(made / name / "weights")
    shutil.copytree(made / "model", tmp_path / "base")
    said = json.loads((tmp_path / "base" / "config.json").read_text())
    (tmp_path / "base" / "config.json").write_text(json.dumps({k: v for k, v in said.items() if k != "pad_token_id"}))  # as of many bases
    given = ExportJob(kind="safetensors", dtype="bf16", golden_tokens=8)
    found = export(*task(tmp_path / "out", given, model=tmp_path / "base", prepared=made / "prepared", trained=made / name))
    assert found["merged"] == "by tensor" and found["golden"] == 9 and found["largest_reward_difference"] < 0.05
    written = load_file(tmp_path / "out" / "model.safetensors")
    head = model.base_model.model.score.modules_to_save["default"].weight if adapted else model.score.weight
    assert written["score.weight"].equal(head.to(torch.bfloat16)) and "lm_head.weight" not in written
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"] == ["LlamaForSequenceClassification"] and config["pad_token_id"] == tokenizer().pad_token_id
