"""The merge tensor by tensor beside peft's own of the whole model, for each kind of adapter and of weight."""

import json

import pytest

pytest.importorskip("peft")

from tiny import write_model

from entrypoint.run.merge import NotByTensor, build, merge
from entrypoint.run.tensor_files import places
from schemas.errors import GateRefused

pytestmark = [pytest.mark.image, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore::UserWarning")]  # peft's, of tied models


def gpt2(folder):
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(vocab_size=100, n_embd=32, n_layer=2, n_head=4, n_positions=64)).save_pretrained(folder)


def bare_gpt2(folder):
    """As published: without the name of the part that holds the layers."""
    from transformers import GPT2Config, GPT2Model

    GPT2Model(GPT2Config(vocab_size=100, n_embd=32, n_layer=2, n_head=4, n_positions=64)).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["GPT2LMHeadModel"]}))


def experts(folder):
    """Fused on the disk as in memory."""
    from transformers import GptOssConfig, GptOssForCausalLM

    GptOssForCausalLM(
        GptOssConfig(
            vocab_size=100, hidden_size=32, intermediate_size=32, num_local_experts=4, num_experts_per_tok=2, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        )
    ).save_pretrained(folder)  # fmt: skip


def single_experts(folder):
    """One tensor an expert on the disk, all in one in memory."""
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    Qwen3MoeForCausalLM(
        Qwen3MoeConfig(
            vocab_size=100, hidden_size=32, intermediate_size=64, moe_intermediate_size=16, num_experts=4, num_experts_per_tok=2, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        )
    ).save_pretrained(folder)  # fmt: skip


def untied(folder):
    from transformers import LlamaConfig, LlamaForCausalLM

    LlamaForCausalLM(
        LlamaConfig(vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
    ).save_pretrained(folder, max_shard_size="20KB")


MODELS = {"tied": write_model, "untied": untied, "gpt2": gpt2, "bare gpt2": bare_gpt2, "experts": experts, "single experts": single_experts}
CASES = {
    "lora": ("tied", {"target_modules": "all-linear"}),
    "lora, ranks of its own": ("tied", {"target_modules": "all-linear", "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 3}}),
    "dora": ("tied", {"target_modules": "all-linear", "use_dora": True}),
    "rslora": ("tied", {"target_modules": "all-linear", "use_rslora": True}),
    "embeddings saved": ("tied", {"target_modules": "all-linear", "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}),
    "head saved, not tied": ("untied", {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}),
    "lora of embeddings and head, not tied": ("untied", {"target_modules": ["embed_tokens", "lm_head"]}),
    "dora of embeddings, not tied": ("untied", {"target_modules": ["embed_tokens"], "use_dora": True}),
    "tokens": ("tied", {"target_modules": ["q_proj"], "trainable_token_indices": {"embed_tokens": [3, 5]}}),
    "transposed": ("gpt2", {"target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True}),
    "transposed dora": ("gpt2", {"target_modules": ["c_attn"], "fan_in_fan_out": True, "use_dora": True}),
    "names without the prefix": ("bare gpt2", {"target_modules": ["c_attn"], "fan_in_fan_out": True}),
    "beside experts that lie singly": ("single experts", {"target_modules": ["q_proj", "o_proj"]}),
    "experts": ("experts", {"target_modules": ["q_proj"], "target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]}),
}
ALONE = {
    "head of a tied model": {"target_modules": ["q_proj", "lm_head"]},
    "embeddings of a tied model": {"target_modules": ["embed_tokens"]},
    "head saved of a tied model": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
}
"""Where peft's merge changes both of two tensors that are one, though the adapter moved one of them."""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    import torch

    folder = tmp_path_factory.mktemp("models")
    for name, write in MODELS.items():
        torch.manual_seed(1)
        write(folder / name)
    return folder


def adapter(folder, model, **config):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    tuned = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", **config))
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            parameter.data += torch.randn_like(parameter) * 0.1
    tuned.save_pretrained(folder)
    return folder


def tuned(model, folder):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), str(folder)).eval()


def merged(model, folder, output):
    import torch
    from transformers import AutoModelForCausalLM

    output.mkdir()
    merge(model, build(model, False, folder), output)
    return AutoModelForCausalLM.from_pretrained(output, dtype=torch.bfloat16)


@pytest.mark.parametrize("case", CASES)
def test_equal_to_the_merge_of_the_whole_model(models, tmp_path, case):
    import torch

    name, config = CASES[case]
    folder = adapter(tmp_path / "adapter", models / name, **config)
    expected = tuned(models / name, folder).merge_and_unload(safe_merge=True).to(torch.bfloat16).state_dict()
    found = merged(models / name, folder, tmp_path / "merged").state_dict()
    assert set(found) == set(expected)
    assert [n for n in expected if not torch.equal(found[n], expected[n])] == [], "bit for bit, as both are merged in fp32 and rounded once"


@pytest.mark.parametrize("case", ALONE)
def test_two_tensors_that_were_one_part(models, tmp_path, case):
    """What was trained is what the adapter over its base answers, not what a merge into both would."""
    import torch

    folder = adapter(tmp_path / "adapter", models / "tied", **ALONE[case])
    model = merged(models / "tied", folder, tmp_path / "merged")
    assert model.config.tie_word_embeddings is False
    assert not torch.equal(model.get_input_embeddings().weight, model.get_output_embeddings().weight)
    ids = torch.arange(3, 40)[None]
    with torch.inference_mode():
        expected, found = tuned(models / "tied", folder)(ids).logits, model.float()(ids).logits
    assert (expected - found).abs().max() < 0.03


def test_an_adapter_of_experts_that_lie_singly_is_left_to_peft(models, tmp_path):
    folder = adapter(tmp_path / "adapter", models / "single experts", target_modules=["q_proj"], target_parameters=["mlp.experts.down_proj"])
    with pytest.raises(NotByTensor, match=r"do not hold model\.layers\.0\.mlp\.experts\.down_proj under that name"):
        merged(models / "single experts", folder, tmp_path / "merged")


@pytest.mark.parametrize(("config", "reason"), [({"bias": "all"}, "biases of its own"), ({"layer_replication": [(0, 2), (1, 2)]}, "repeats layers")])
def test_what_is_more_than_a_change_of_single_weights_is_left_to_peft(models, tmp_path, config, reason):
    folder = adapter(tmp_path / "adapter", models / "tied", target_modules=["q_proj"])
    said = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(said | config))
    with pytest.raises(NotByTensor, match=reason):
        build(models / "tied", False, folder)


def test_full_weights_are_rounded_once(models, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    (tmp_path / "out").mkdir()
    merge(models / "untied", build(models / "untied", False, None), tmp_path / "out")
    before = AutoModelForCausalLM.from_pretrained(models / "untied", dtype=torch.float32).to(torch.bfloat16).state_dict()
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto").state_dict()
    assert all(torch.equal(before[name], after[name]) and after[name].dtype == torch.bfloat16 for name in before)


def test_an_adapter_of_a_larger_model_is_refused_by_name(models, tmp_path):
    folder = adapter(tmp_path / "adapter", models / "untied", target_modules=["q_proj"])
    with pytest.raises(GateRefused, match=r"does not fit the base: .*size mismatch"):
        build(models / "tied", False, folder)


def test_an_adapter_of_other_modules_is_refused_by_name(models, tmp_path):
    folder = adapter(tmp_path / "adapter", models / "gpt2", target_modules=["c_attn"], fan_in_fan_out=True)
    said = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(said | {"target_modules": ["q_proj"]}))
    with pytest.raises(GateRefused, match="weights that the base has no place for"):
        build(models / "tied", False, folder)


@pytest.mark.parametrize("how", ["cut", "gone", "another's"])
def test_a_damaged_shard_is_refused_by_name(models, tmp_path, how):
    import shutil

    model = tmp_path / "model"
    shutil.copytree(models / "untied", model)
    shards = sorted(set(places(model).values()))
    assert len(shards) > 2
    if how == "cut":
        (model / shards[1]).write_bytes((model / shards[1]).read_bytes()[:-100])
    elif how == "gone":
        (model / shards[1]).unlink()
    else:
        shutil.copyfile(model / shards[0], model / shards[1])
    with pytest.raises(GateRefused, match=shards[1] if how != "another's" else "which the index says it has"):
        (tmp_path / "out").mkdir()
        merge(model, build(model, False, None), tmp_path / "out")
