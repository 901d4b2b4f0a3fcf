"""A training of packed rows learns what one of padded rows learns."""

import json

import pytest

pytest.importorskip("trl")

from tiny import rows, run, spec, write_rows

from schemas.manifest import Manifest

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

WHOLE = "{epochs: 4, learning_rate: 1.0e-2, batch_tokens: 100000, warmup: 0%}"
"""Every row in each step: which rows lie together in a pack changes nothing then."""


@pytest.mark.parametrize(("loss_on", "hardware"), [("assistant", "single"), pytest.param("all", "single", marks=pytest.mark.long), ("assistant", "ddp")])
def test_losses_are_those_of_padded_rows(few_sources, store, tmp_path, loss_on, hardware):
    """Each row's share within 1e-3, in training and in validation, over four updates."""
    train, validation = write_rows(tmp_path / "train.jsonl", rows(42)[:32]), write_rows(tmp_path / "validation.jsonl", rows(42)[32:])
    curves, artifacts = [], []
    for packing in ("false", "true"):
        path = spec(
            tmp_path, few_sources[0], train, train=WHOLE, method=f"{{kind: sft, loss_on: {loss_on}}}", hardware=f"{{strategy: {hardware}}}",
            data=f"{{train: [{{source: {train}}}], validation: [{{source: {validation}}}], packing: {packing}}}",
        )  # fmt: skip
        for stage in ("fetch", "prepare", "train"):
            run(stage, path, "--store", store, cwd=tmp_path)
        (artifact,) = [p for p in (store / "tiny" / "train").iterdir() if (p / "manifest.json").is_file() and p not in artifacts]
        artifacts.append(artifact)
        curves.append(json.loads((artifact / "curve.json").read_text()))
    padded, packed = curves
    assert len(padded) == len(packed) >= 8
    for name in ("loss", "eval_loss", "grad_norm"):
        assert [e[name] for e in packed if name in e] == pytest.approx([e[name] for e in padded if name in e], abs=1e-3), name
    assert padded[0]["loss"] - [e for e in padded if "loss" in e][-1]["loss"] > 0.1, "it learned"
    job = Manifest.model_validate_json((artifacts[1] / "manifest.json").read_text()).job
    assert job["pack_length"] and job["micro_batch"] * job["accumulation"] < 30, "packs, not rows"


def test_a_step_that_is_skipped_names_rows_not_packs():
    """What a bad step reports is read by people, who know rows."""
    np = pytest.importorskip("numpy")
    from entrypoint.run.packed_rows import DealtPacks, collate
    from entrypoint.run.packing import Packs

    lengths = np.array([5, 3, 2])
    rows = [{"input_ids": np.arange(n) + 10, "labels": np.arange(n) + 10} for n in lengths]
    dealt = DealtPacks(rows, Packs(lengths, 5))
    assert [sorted(dealt.packs.rows(i).tolist()) for i in range(len(dealt))] == [[0], [1, 2]]
    batch = collate([dealt[1], dealt[0]])
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1, 0, 1, 2, 3, 4]]
    assert batch["cu_seq_lens_q"].tolist() == [0, 3, 5, 10] and batch["max_length_q"] == 5
    assert batch["labels"].tolist() == [[-100, 11, 12, -100, 11, -100, 11, 12, 13, 14]]
    masked = collate([dealt[-2]])
    assert masked["input_ids"].shape == (1, 2) and set(masked["labels"].flatten().tolist()) == {-100}
