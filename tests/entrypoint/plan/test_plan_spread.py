"""How a served model is spread: what is decided, what the spec may say, and the words of refusals."""

import pytest
from known import H100, LLAMA_8B, TINY, card, facts, inputs, spec, why

from entrypoint.plan import plan_serve
from schemas.errors import CaissonError, MachineError, UsageError
from schemas.facts import Facts
from schemas.plan import Plan
from schemas.serve_job import ServeJob

LLAMA = {**LLAMA_8B, "architectures": ["LlamaForCausalLM"]}
EIGHT = facts(*(H100,) * 8, config=LLAMA)
LLAMA_70B = {**LLAMA, "hidden_size": 8192, "intermediate_size": 28672, "num_attention_heads": 64, "num_hidden_layers": 80}


def plan_of(text: str, machine: Facts = EIGHT) -> Plan:
    return plan_serve(spec(f"serve: {{max_length: 512, {text}}}"), machine, inputs())


def flags(plan: Plan) -> dict[str, str]:
    job = plan.steps[0].job
    assert isinstance(job, ServeJob)
    return {flag: (*job.arguments, "")[at + 1] for at, flag in enumerate(job.arguments) if flag.startswith("--")}


@pytest.mark.parametrize(
    ("text", "tensor", "pipeline"),
    [("", "1", None), ("tensor_parallel: 4", "4", None), ("tensor_parallel: 2, pipeline_parallel: 4", "2", "4"), ("pipeline_parallel: 8", "1", "8")],
)
def test_vllm(text: str, tensor: str, pipeline: str | None) -> None:
    found = flags(plan_of(text))
    assert (found["--tensor-parallel-size"], found.get("--pipeline-parallel-size")) == (tensor, pipeline)
    assert "--nnodes" not in found


def test_lmdeploy() -> None:
    assert flags(plan_of("engine: lmdeploy, tensor_parallel: 4"))["--tp"] == "4"
    assert flags(plan_of("engine: lmdeploy"))["--tp"] == "1"


@pytest.mark.parametrize(("node", "headless"), [(0, False), (1, True)])
def test_two_nodes_of_vllm(node: int, headless: bool) -> None:
    plan = plan_of("nodes: 2, master: head", EIGHT.model_copy(update={"node": node}))
    found = flags(plan)
    assert (found["--tensor-parallel-size"], found["--pipeline-parallel-size"]) == ("8", "2")
    assert [found[name] for name in ("--nnodes", "--node-rank", "--master-addr", "--master-port")] == ["2", str(node), "head", "29501"]
    job = plan.steps[0].job
    assert isinstance(job, ServeJob) and job.headless is headless
    assert why(plan, "serve.nodes") == ("2", f"set in the spec; this is node {node}, they meet at head:29501")


def test_two_nodes_of_lmdeploy() -> None:
    found = flags(plan_of("engine: lmdeploy, nodes: 2, master: head:2950", EIGHT.model_copy(update={"node": 1})))
    assert [found[name] for name in ("--tp", "--nnodes", "--node-rank", "--dist-init-addr")] == ["16", "2", "1", "head:2950"]


def test_a_model_that_one_machine_does_not_hold() -> None:
    large = facts(*(card(24),) * 4, config=LLAMA_70B)
    assert "leave no room" in refusal("", large, MachineError)
    found = flags(plan_of("nodes: 2, master: head", large))
    assert (found["--tensor-parallel-size"], found["--pipeline-parallel-size"]) == ("4", "2")


def test_more_gpus_than_heads_of_keys() -> None:
    """vLLM copies heads; LMDeploy is not asked to."""
    few = facts(*(H100,) * 8, config={**LLAMA_70B, "num_key_value_heads": 2})
    assert flags(plan_of("", few))["--tensor-parallel-size"] == "4"
    assert flags(plan_of("engine: lmdeploy", few))["--tp"] == "2"
    three = facts(*(H100,) * 8, config={**LLAMA_70B, "num_key_value_heads": 3, "head_dim": 128, "num_attention_heads": 48})
    assert "over 1 GPU(s) of 80 GiB leave no room" in refusal("", three, MachineError), "two GPUs share no three heads"


def refusal(text: str, machine: Facts, kind: type[CaissonError]) -> str:
    with pytest.raises(kind) as caught:
        plan_of(text, machine)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "machine", "kind", "said"),
    [
        (
            "tensor_parallel: 16", EIGHT, MachineError,
            "serve: tensor_parallel 16 x pipeline_parallel 1 are 16 GPUs, and there are 8 GPU(s)\n    write less, or auto",
        ),
        (
            "nodes: 2, master: a, pipeline_parallel: 4, tensor_parallel: 8", EIGHT, MachineError,
            "serve: tensor_parallel 8 x pipeline_parallel 4 are 32 GPUs, and there are 2 nodes of 8 GPU(s)\n    write less, or auto",
        ),
        (
            "nodes: 2, master: a, pipeline_parallel: 3, tensor_parallel: 1", EIGHT, UsageError,
            "serve.nodes: 3 GPUs cannot be dealt evenly to 2 nodes\n    make tensor_parallel x pipeline_parallel a multiple of 2",
        ),
        (
            "tensor_parallel: 3", EIGHT, UsageError,
            "serve.tensor_parallel: the model's 32 attention heads cannot be dealt to 3 GPUs\n    write one of 1, 2, 4, 8, 16, 32",
        ),
        (
            "engine: lmdeploy, tensor_parallel: 6", EIGHT, UsageError,
            "serve.tensor_parallel: LMDeploy 0.18.0 takes powers of two, not 6\n    write 1, 2, 4, 8, ..., or engine: vllm",
        ),
        (
            "engine: lmdeploy, pipeline_parallel: 2", EIGHT, UsageError,
            "serve.pipeline_parallel: LMDeploy 0.18.0 has none\n    write tensor_parallel instead, or engine: vllm",
        ),
        (
            "engine: lmdeploy, backend: pytorch, nodes: 2, master: a", EIGHT, UsageError,
            "serve.nodes: LMDeploy 0.18.0's back end pytorch spreads copies over nodes, not one model\n    write backend: turbomind, or engine: vllm",
        ),
        ("pipeline_parallel: 4", facts(*(H100,) * 8, config=TINY), UsageError, "serve.pipeline_parallel: 4 parts, but the model has 2 layers\n    write 2 or less"),
        (
            "nodes: 2, master: a", EIGHT.model_copy(update={"node": 2}), MachineError,
            "serve.nodes: this is node 2 of 2, counted from 0\n    set NODE_RANK to 0 on the first node, 1 on the second, and so on",
        ),
        (
            "tensor_parallel: 2", facts(), MachineError,
            "serve.tensor_parallel: 2 is for GPUs, and this is a CPU\n    write tensor_parallel: 1, or set ACCELERATOR=cuda on a machine with GPUs",
        ),
    ],
)  # fmt: skip
def test_refused(text: str, machine: Facts, kind: type[CaissonError], said: str) -> None:
    assert refusal(text, machine, kind) == said


def test_one_gpu_is_no_wish_on_a_cpu() -> None:
    assert "--tensor-parallel-size" not in flags(plan_of("tensor_parallel: 1, pipeline_parallel: 1", facts()))
