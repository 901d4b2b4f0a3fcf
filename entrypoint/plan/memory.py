"""Bytes of one rank in training, term by term, at the moment that takes most. Formulas and their check against measurements: docs/plan.md."""

from entrypoint.plan.activations import layer_bytes, mask_bytes, moving_bytes, moving_scores, scores_bytes, stream_bytes
from entrypoint.plan.host_memory import host_bytes
from entrypoint.plan.load import (
    BYTES,
    GIB,
    OWN_WEIGHTS,
    SHARD_WEIGHTS,
    Load,
    base_bytes,
    optimizer_bytes,
    recomputed_layers,
    trained_layers,
    trained_weights,
    trained_width,
)
from entrypoint.plan.logits import final_bytes, head_gradient, logits_bytes
from entrypoint.plan.model_shape import ModelShape
from entrypoint.plan.shards import share

BUCKET = 200_000_000
"""Elements of one communication bucket: large enough to fill NVLink, 0.4 GiB in bf16."""

PROCESS_GIB = 0.6
"""Python, torch and the trainer's libraries before there is a model, with what a first step adds; measured: bench/processes."""

WORKSPACES = 2 * 32 * 2**20
"""cuBLAS keeps 32 MiB for each thread that multiplies (torch, CUDABlas.cpp, on Hopper; less on older cards): the forward and the backward one."""

CONTEXT_GIB = 0.9
"""CUDA context with its kernels, workspaces of cuBLAS, buffers of NCCL: outside of torch's allocator. Not measured for each card."""

FRAGMENTS = 0.03
"""Of what the allocator hands out: blocks that are rounded up and holes. The program asks for expandable segments, which leave few."""

DEQUANTISED = 2
"""Copies of the widest 4-bit map in 16 bits: one is multiplied, and one made, transposed or freed late."""


def training_bytes(shape: ModelShape, load: Load) -> dict[str, float]:
    """Bytes by term for one rank, where it computes, at the peak; some always, the others of the moment that takes most."""
    found, moment = standing_bytes(shape, load), max(moments(shape, load).values(), key=lambda terms: sum(terms.values()))
    for name, size in moment.items():
        if size:
            found[name] = found.get(name, 0.0) + size
    if load.on_gpu:
        found["fragments"] = FRAGMENTS * sum(found.values())
        found["context"] = CONTEXT_GIB * GIB
    else:  # one memory for both, and for the program
        found["program"] = PROCESS_GIB * GIB
        for name, size in host_bytes(shape, load).items():
            found[name] = found.get(name, 0.0) + size / load.ranks
    return found


def peak_moment(shape: ModelShape, load: Load) -> str:
    """Its name."""
    found = moments(shape, load)
    return max(found, key=lambda name: sum(found[name].values()))


def standing_bytes(shape: ModelShape, load: Load) -> dict[str, float]:
    """What lies there all the time between two steps."""
    trained, part = trained_weights(shape, load), share(shape, load)
    weights = part if load.shards("weights") > 1 else 1.0
    offloaded = load.offload != "none"
    terms = {} if offloaded and load.strategy == "zero3" else {"weights": base_bytes(shape, load) * weights}
    if load.adapter not in OWN_WEIGHTS and not (offloaded and load.strategy == "zero3"):
        terms["adapter"] = float(trained_width(load) * trained) * weights
    if not offloaded:
        terms["optimizer"] = optimizer_bytes(shape, load) * (part if load.shards("optimizer") > 1 else 1.0)
        if load.by_deepspeed:
            terms["fp32 weights"] = 4.0 * trained * part
    if load.on_gpu:
        terms["cuBLAS workspaces"] = float(WORKSPACES)
    if load.copy:
        terms["frozen copy"] = base_bytes(shape, load) * weights
    if load.teacher:
        terms["teacher"] = float(load.width * load.teacher) / (load.ranks if load.strategy == "zero3" else 1)
    if load.adapter == "dora":  # each forward pass forms one layer's whole weight with its update, and its norm
        terms["norms of weights"] = 2.0 * BYTES["fp32"] * shape.hidden * shape.intermediate
    if load.adapter == "qlora":
        terms["dequantised layer"] = float(DEQUANTISED * load.width * shape.hidden * shape.intermediate)
    if load.strategy in SHARD_WEIGHTS:
        terms["gathered layers"] = float(load.width * (live_weights(shape) if load.by_deepspeed else 2 * shape.linear_per_layer + shape.embedding))
    if load.strategy == "fsdp" and load.adapter in OWN_WEIGHTS:  # gradients of a group, and their sum in fp32
        terms["buckets"] = float((load.width + 4) * max(shape.linear_per_layer, shape.embedding))
    if load.strategy == "ddp":  # its reducer keeps gradients a second time, in buckets
        terms["buckets"] = float(trained_width(load) * trained)
    if load.by_deepspeed and not offloaded:  # one fills while the other is reduced
        terms["buckets"] = 2.0 * load.width * min(trained, BUCKET)
    return terms


def moments(shape: ModelShape, load: Load) -> dict[str, dict[str, float]]:
    """Terms that come and go, by moment of a step."""
    tokens, layers, kept = load.tokens, trained_layers(shape, load), layer_bytes(shape, load)
    gradients = gradient_bytes(shape, load)
    casts, cast_layer = _casts(shape, load)
    scores = scores_bytes(shape, load)
    layer = float(tokens * kept + mask_bytes(load) + scores)
    stream = float(tokens * stream_bytes(shape, load))
    moving = float(max(tokens * moving_bytes(shape, load), moving_scores(shape, load)))
    final = float(tokens * final_bytes(shape, load))
    again = recomputed_layers(shape, load)
    whole = (shape.layers if again else layers) - again
    all_layers = again * stream + whole * layer
    # The last layer is recomputed where all are; of every second one the last or the one before it, with as much kept.
    recomputed = layer if again == shape.layers or (shape.layers % 2 and again) else 0.0
    copies = casts * min(whole, layers) / layers + cast_layer if again else casts
    held = gradients if load.accumulates else 0.0
    found = {
        "end of the forward pass": {
            "activations": all_layers + final, "logits": logits_bytes(shape, load, "forward"), "gradients": held, "16-bit copies": casts,
        },
        "loss": {
            "activations": all_layers + final, "logits": logits_bytes(shape, load, "backward"), "gradients": held + _head_gradient(shape, load),
            "16-bit copies": copies,
        },
        "last layer, backwards": {
            "activations": all_layers, "recomputed layer": recomputed, "gradients of activations": moving,
            "gradients": held + _head_gradient(shape, load), "16-bit copies": copies,
        },
        "first layer, backwards": {
            "activations": stream if again else layer, "recomputed layer": recomputed, "gradients of activations": moving,
            "gradients": gradients - _last_gradients(shape, load), "16-bit copies": cast_layer,
        },
        "input table, backwards": {"gradients": gradients + _table_gradients(shape, load)},
        "optimizer's step": {"gradients": _step_gradients(shape, load)},
    }  # fmt: skip
    if load.validation_rows:
        read = load.validation_rows * load.sequences * load.length
        found["validation"] = {"activations": read * kept + logits_bytes(shape, load, "forward") * read / tokens, "16-bit copies": casts}
    return found


def gradient_bytes(shape: ModelShape, load: Load) -> float:
    """Of all that is trained, at the end of a backward pass; in the type of the weight, on one rank."""
    trained = trained_weights(shape, load)
    if load.offload != "none" and load.strategy != "zero1":  # zero1 keeps them whole until the step
        return float(2 * load.width * min(trained, BUCKET))  # one bucket fills while the other is sent
    return float(trained_width(load) * trained) * (share(shape, load) if load.shards("gradients") > 1 else 1.0)


def _head_gradient(shape: ModelShape, load: Load) -> float:
    """There before any layer's; a loss that holds all logits makes it after them."""
    return head_gradient(shape, load) / load.shards("gradients") if load.logits == "chunks" else 0.0


def _last_gradients(shape: ModelShape, load: Load) -> float:
    """Not there yet when the first layer begins its backward pass: its own, and those of an input table that is not the head too."""
    if load.adapter != "full" or load.accumulates or load.by_deepspeed:
        return 0.0
    table = 0 if shape.tied else shape.vocabulary * shape.hidden
    return 4.0 * (shape.linear_per_layer + table) / load.shards("gradients")


def _table_gradients(shape: ModelShape, load: Load) -> float:
    """Beside those of the weights: autograd makes the input table's before it adds it to the head's where they are one, in place, or to what was accumulated."""
    if load.adapter != "full" and not load.tables:
        return 0.0
    tables = (1 if shape.tied else 0) + (1 if load.accumulates else 0)
    return float(tables * trained_width(load) * shape.vocabulary * shape.hidden)


def _step_gradients(shape: ModelShape, load: Load) -> float:
    """DeepSpeed casts its share to fp32 before it steps."""
    cast = 4.0 * trained_weights(shape, load) / load.ranks if load.by_deepspeed and load.width == 2 and load.offload == "none" else 0.0
    return gradient_bytes(shape, load) + cast


def _casts(shape: ModelShape, load: Load) -> tuple[float, float]:
    """16-bit copies that autocast keeps of trained fp32 weights: of all layers until the forward pass ends, and of one layer."""
    if not load.casts or load.strategy == "fsdp":  # what fsdp gathers is cast already
        return 0.0, 0.0
    if load.adapter in OWN_WEIGHTS:
        return 2.0 * trained_layers(shape, load) * shape.packed_per_layer, 2.0 * shape.packed_per_layer
    copies = 2.0 * shape.lora(load.rank)
    return copies, copies / shape.layers


def live_weights(shape: ModelShape) -> int:
    """Weights that ZeRO-3 may hold whole on a rank: a layer that computes, the next one, and the input table or the head, which lie in none."""
    return 2 * shape.largest_layer + shape.vocabulary * shape.hidden
