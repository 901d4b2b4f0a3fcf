"""Linear layers, experts and layers of many architectures, and names that none of them has."""

import pytest

pytest.importorskip("peft")

from types import SimpleNamespace

from entrypoint.run.load_model import lora_config
from entrypoint.run.targets import as_suffixes, decoder_layers, expert_parameters, linear_layers, thaw
from schemas.errors import UsageError
from schemas.job import AdapterJob

pytestmark = pytest.mark.image

SMALL = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "head_dim": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
ROUTED = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
GATED = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ATTENTION = GATED[:4]
ARCHITECTURES = {
    "llama": ({}, GATED),
    "qwen2": ({}, GATED),
    "qwen3": ({}, GATED),
    "gemma2": ({}, GATED),
    "gemma3_text": ({}, GATED),
    "phi3": ({}, ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]),
    "mistral": ({}, GATED),
    "gpt2": (
        {"vocab_size": 96, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "bos_token_id": 1, "eos_token_id": 2},
        ["c_attn", "c_proj", "c_fc"],
    ),
    "gpt_neox": ({}, ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"]),
    "mixtral": ({"num_local_experts": 4}, ATTENTION),
    "qwen3_moe": (ROUTED, ATTENTION),
    "qwen2_moe": ({**ROUTED, "shared_expert_intermediate_size": 16}, GATED),
}
TIED = ("gemma2", "gemma3_text", "gpt2")
MIXTURES = ("mixtral", "qwen3_moe", "qwen2_moe")


def model_of(kind):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    other, _ = ARCHITECTURES[kind]
    torch.manual_seed(1)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **(other if kind == "gpt2" else {**SMALL, **other}))).eval()


def job(**changes):
    return AdapterJob(**{"kind": "lora", "rank": 4, "alpha": 8.0, "dropout": 0.0, "targets": "all-linear", **changes})


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_linear_layer_gets_an_adapter_that_merges_right(kind):
    """Not the head, tied or not, and no router; merged weights answer as base and adapter did."""
    import torch
    from peft import get_peft_model
    from peft.tuners.lora import LoraLayer

    model = model_of(kind)
    assert bool(model.config.tie_word_embeddings) is (kind in TIED)
    adapted = get_peft_model(model, lora_config(job(), model, None))
    found = [name for name, module in adapted.named_modules() if isinstance(module, LoraLayer)]
    assert {name.rpartition(".")[2] for name in found} == set(ARCHITECTURES[kind][1])
    assert not any("lm_head" in name or "embed_out" in name or "router" in name or name.endswith("gate") for name in found)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
        ids = torch.arange(3, 19).view(1, -1)
        before, plain = adapted(ids).logits, None
        with adapted.disable_adapter():
            plain = adapted(ids).logits
        after = adapted.merge_and_unload(safe_merge=True)(ids).logits
    assert (before - plain).abs().max() > 1e-3, "the adapter does something"
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", MIXTURES)
def test_experts_on_request(kind):
    import torch
    from peft import get_peft_model

    model = model_of(kind)
    assert len(expert_parameters(model)) == 4 and not any("experts" in name for name in linear_layers(model) if "shared" not in name)
    adapted = get_peft_model(model, lora_config(job(experts=True), model, None))
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert any("experts" in name for name in trained) and not any("router" in name for name in trained)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
        ids = torch.arange(3, 19).view(1, -1)
        before = adapted(ids).logits
        after = adapted.merge_and_unload(safe_merge=True)(ids).logits
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


def test_names_that_would_find_too_much_are_kept_apart():
    import torch

    model = torch.nn.ModuleDict({"gate": torch.nn.Linear(2, 2), "body": torch.nn.ModuleDict({"out": torch.nn.Linear(2, 2)}), "out": torch.nn.Linear(2, 2)})
    model.get_output_embeddings = lambda: model["out"]
    assert linear_layers(model) == ["body.out"]
    assert as_suffixes(["body.out"], model) == (["out"], ["out"])


@pytest.mark.parametrize(
    ("changes", "said", "fix"),
    [
        ({"targets": ("q_prj",)}, "the model has no linear layer named q_prj", "the nearest that it has: q_proj"),
        ({"targets": ("q_proj", "query")}, "the model has no linear layer named query", "it has: "),
        ({"targets": ("c_attn",)}, "the model has no linear layer named c_attn", "it has: down_proj, gate_proj"),
        ({"targets": ("lm_head",)}, "lm_head is the output head", "modules_to_save: [lm_head]"),
        ({"targets": ("embed_tokens",)}, "no linear layer named embed_tokens", "it has"),
        ({"modules_to_save": ("embed_token",)}, "the model has no module named embed_token", "the nearest that it has: embed_tokens"),
        ({"trainable_tokens": ("<|tool|>",)}, "<|tool|> is no token", "<|tool_call|>"),
    ],
)
def test_a_wrong_name_is_refused_with_those_that_exist(changes, said, fix):
    tokenizer = SimpleNamespace(get_vocab=lambda: {"<|tool_call|>": 5}, all_special_tokens=["<|tool_call|>"], get_added_vocab=dict)
    with pytest.raises(UsageError) as caught:
        lora_config(job(**changes), model_of("llama"), tokenizer)
    assert said in caught.value.what and fix in caught.value.fix


def test_full_and_freeze_have_no_adapter():
    for kind in ("full", "freeze"):
        assert lora_config(AdapterJob(kind=kind), None, None) is None


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen3_moe", "gemma2"])
def test_freeze_leaves_the_last_layers(kind):
    model = model_of(kind)
    first, last = decoder_layers(model)
    thaw(model, 1, ())
    assert all(parameter.requires_grad for parameter in last.parameters()) and not any(parameter.requires_grad for parameter in first.parameters())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert trained == sum(parameter.numel() for parameter in last.parameters())


def test_freeze_by_pattern():
    model = model_of("llama")
    thaw(model, 0, ("*.0.mlp.*", "model.norm.*"))
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {f"model.layers.0.mlp.{name}_proj.weight" for name in ("gate", "up", "down")} | {"model.norm.weight"}
    with pytest.raises(UsageError, match=r"\*.atention.\* matches no weight"):
        thaw(model, 0, ("*.atention.*",))
