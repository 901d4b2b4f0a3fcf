"""Whether rows are packed, and how large a pack is."""

import pytest
from known import H100, TINY, facts, inputs, job_of, plan_of, refusal, why

from entrypoint.plan import Inputs
from schemas.errors import SpecError, UsageError
from schemas.job import HOW, TrainJob


def with_data(text: str = "") -> str:
    return f"data: {{train: [{{source: /data/a.jsonl}}], {text}}}\n"


AUTO = with_data()


def test_a_step_holds_some_packs() -> None:
    job = job_of(facts(H100), AUTO + "train: {batch_tokens: 32768}", inputs(rows=10_000, tokens=1_000_000, longest=900))
    assert job.pack_length == 4096
    assert job.micro_batch * job.accumulation == 8


@pytest.mark.parametrize(("batch", "longest", "size"), [(32_768, 900, 4096), (8192, 900, 2048), (2048, 900, 900), (512, 100, 128), (65_536, 9000, 9000)])
def test_size(batch: int, longest: int, size: int) -> None:
    given = inputs(rows=10_000, tokens=1_000_000, longest=longest)
    assert job_of(facts(H100), AUTO + f"train: {{batch_tokens: {batch}}}", given).pack_length == size


def test_what_is_written_holds() -> None:
    assert job_of(facts(H100), with_data("packing: false")).pack_length is None
    assert job_of(facts(H100), with_data("pack_length: 2000")).pack_length == 2000
    assert job_of(facts(), with_data("packing: true")).pack_length
    assert "a row has 256 tokens, a pack only 200" in refusal(facts(H100), with_data("pack_length: 200"), kind=UsageError)
    for wrong in ("packing: false, pack_length: 100", "max_length: 200, pack_length: 100"):
        with pytest.raises(SpecError):
            plan_of(facts(), with_data(wrong))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"layer_types": ["linear_attention", "full_attention"]}, "linear_attention, which carry a state from row to row"),
        ({"attn_logit_softcapping": 50.0}, "caps or biases its attention"),
        ({"model_type": "gpt_oss"}, "caps or biases its attention"),
    ],
)
def test_a_model_that_cannot_keep_rows_apart(more: dict[str, object], words: str) -> None:
    """Alone it is padded and says why; asked for, it is refused."""
    machine = facts(H100, config={**TINY, **more})
    assert job_of(machine, AUTO).pack_length is None
    assert words in why(plan_of(machine, AUTO), "data.packing")[1]
    assert words in refusal(machine, with_data("packing: true"), kind=UsageError)
    assert job_of(facts(H100, config={**TINY, "layer_types": ["sliding_attention", "full_attention"]}), AUTO).pack_length


def test_before_prepare_packs_are_assumed() -> None:
    plan = plan_of(facts(H100), AUTO + "train: {batch_tokens: 4096}", Inputs())
    assert "packs of 1,024 tokens" in why(plan, "data.packing")[0] and "packs of 1,024 tokens assumed" in why(plan, "train.batch_tokens")[1]


def test_every_machine_packs_alike() -> None:
    """So that a run goes on from another's checkpoint: its length is none of the fields that a machine decides."""
    assert "pack_length" not in HOW
    given = inputs(rows=10_000, tokens=1_000_000, longest=900)
    found = {job_of(machine, AUTO + "train: {batch_tokens: 8192}", given).pack_length for machine in (facts(), facts(H100), facts(*(H100,) * 8))}
    assert found == {2048}


def test_packs_are_counted_from_the_lengths() -> None:
    """Rows of 100 and of 60 tokens go one and two into a pack of 128: as many steps as training will take."""
    given = inputs(rows=300, tokens=100 * 100 + 200 * 60, longest=100)
    given.prepared.manifest.summary["train"]["sizes"] = [[100, 100], [60, 200]]
    plan = plan_of(facts(), AUTO + "train: {batch_tokens: 512, epochs: 1}", given)
    assert "(5 packs)" in why(plan, "train.batch_tokens")[0], "100 rows alone, 200 in pairs: 200 packs of 110 tokens"
    assert "in 40 steps" in why(plan, "train.checkpoint.every")[1]


def test_epochs_are_counted_in_packs() -> None:
    plan = plan_of(facts(H100), AUTO + "train: {batch_tokens: 8192}", inputs(rows=10_000, tokens=1_000_000, longest=900))
    job = plan.steps[0].job
    assert isinstance(job, TrainJob)
    assert job.micro_batch * job.accumulation == 4
    assert "in 123 steps" in why(plan, "train.checkpoint.every")[1]


@pytest.mark.parametrize("config", [{"text_config": 3}, {"text_config": [None]}, {"layer_types": 7}, {"layer_types": "\x1b[2J"}], ids=str)
def test_a_config_of_another_shape_is_packed(config: dict[str, object]) -> None:
    assert job_of(facts(H100, config={**TINY, **config}), AUTO).pack_length


def test_a_kind_of_layer_is_printed_as_text() -> None:
    plan = plan_of(facts(H100, config={**TINY, "layer_types": ["\x1b[2J"]}), AUTO)
    assert why(plan, "data.packing")[1].startswith(r"the model has layers of '\x1b[2J'...")
