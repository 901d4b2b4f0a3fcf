"""Out of memory: what is noted for the next attempt, and what is said."""

import pytest

pytest.importorskip("torch")

import torch

from entrypoint.run.lowered import NOTE, compares_rows, end_lowered, fewer, is_out_of_memory, lower
from entrypoint.run.randomness import now, put_back
from schemas.job import AdapterJob, TrainJob

pytestmark = pytest.mark.image


def job(**changes):
    fields = {
        "method": {"kind": "sft"}, "adapter": AdapterJob(kind="lora"), "device": "cpu", "strategy": "ddp", "ranks": 2, "precision": "fp32", "epochs": 1.0,
        "max_steps": None, "learning_rate": 1e-3, "weight_decay": 0.0, "max_grad_norm": 1.0, "micro_batch": 6, "accumulation": 2, "gradient_checkpointing": False,
        "checkpoint_every": 5, "keep": 2, "seed": 1, "track": (),
    }  # fmt: skip
    return TrainJob.model_validate(fields | changes)


@pytest.mark.parametrize(("micro", "accumulation", "rows"), [(8, 1, 4), (6, 2, 3), (3, 1, 1), (5, 2, 2), (2, 7, 1), (64, 3, 32)])
def test_the_next_attempt_has_the_same_step(tmp_path, micro, accumulation, rows):
    planned = job(micro_batch=micro, accumulation=accumulation)
    error = end_lowered(planned, tmp_path, 7, micro)
    assert error.exit_code == 75
    assert f"ran out at step 7 with {micro} rows" in error.what
    again = lower(planned, tmp_path)
    assert again.micro_batch == rows
    assert again.micro_batch * again.accumulation == micro * accumulation


def test_lowered_twice_and_then_no_more(tmp_path):
    planned = job(micro_batch=4, accumulation=1)
    for rows in (2, 1):
        end_lowered(lower(planned, tmp_path), tmp_path, 1, planned.micro_batch)
        assert lower(planned, tmp_path).micro_batch == rows
    error = end_lowered(lower(planned, tmp_path), tmp_path, 1, planned.micro_batch)
    assert (error.exit_code, error.what) == (3, "the memory ran out at step 1 with one row at once on each process")


def test_another_plan_begins_anew(tmp_path):
    end_lowered(job(), tmp_path, 1, 6)
    for other in (job(micro_batch=12), job(ranks=4), job(strategy="fsdp")):
        assert lower(other, tmp_path) == other
    (tmp_path / NOTE).write_text("{")
    assert lower(job(), tmp_path) == job()


def test_deepspeed_is_told(tmp_path):
    planned = job(strategy="zero2", engine={"train_micro_batch_size_per_gpu": 6, "gradient_accumulation_steps": 2, "x": 1})
    end_lowered(planned, tmp_path, 1, 6)
    assert lower(planned, tmp_path).engine == {"train_micro_batch_size_per_gpu": 3, "gradient_accumulation_steps": 4, "x": 1}


def test_what_counts_as_out_of_memory():
    with pytest.raises(RuntimeError) as real:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(real.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    assert not is_out_of_memory(MemoryError())


def test_losses_over_a_batch():
    assert compares_rows(job(method={"kind": "kto"}))
    assert not compares_rows(job(method={"kind": "kto", "loss": "apo_zero_unpaired"}))
    assert compares_rows(job(method={"kind": "dpo", "loss": ["sigmoid", "aot"]}))
    assert not compares_rows(job(method={"kind": "dpo"}))
    assert not compares_rows(job())


def test_halves():
    assert [fewer(rows, 64) for rows in (64, 5, 3, 2)] == [32, 3, 2, 1]
    assert [fewer(rows, 3) for rows in (12, 9, 6, 3)] == [6, 3, 3, 2], "whole micro-batches as long as there are several"


def test_random_numbers_are_put_back():
    import random

    import numpy as np

    state = now()
    drawn = torch.rand(3).tolist(), random.random(), float(np.random.rand())
    put_back(state)
    assert (torch.rand(3).tolist(), random.random(), float(np.random.rand())) == drawn
