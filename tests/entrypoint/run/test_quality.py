"""KL and agreement of two models, beside the same by hand."""

import pytest

pytest.importorskip("torch")

from exported import write_prepared
from tiny import write_model

from entrypoint.run.calibration import draw, loader
from entrypoint.run.quality import Quality, distance, measure, references
from entrypoint.run.tuned import load_exported

pytestmark = [pytest.mark.image, pytest.mark.timeout(300)]
ASKED = [([1, 5, 9, 30], [40, 41, 42]), ([1, 7], [50])]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return [load_exported(write_model(folder / str(seed), seed=seed)) for seed in (1, 2)]


def test_a_model_is_nowhere_from_itself(models):
    assert measure(references(models[0], ASKED), models[0], ASKED) == Quality(4, pytest.approx(0, abs=1e-6), 1.0)


def test_by_hand(models):
    import torch

    found = measure(references(models[0], ASKED), models[1], ASKED)
    total, agreed = 0.0, 0
    for prompt, answer in ASKED:
        for at in range(len(answer)):
            ids = torch.tensor([prompt + answer[:at]])
            with torch.inference_mode():
                first, second = (torch.softmax(model(ids).logits[0, -1].double(), -1) for model in models)
            total += float((first * (first / second).log()).sum())
            agreed += int(first.argmax() == second.argmax())
    assert found.kl_per_token == pytest.approx(total / 4, rel=1e-3) and total > 0.01
    assert found.agreement == agreed / 4 and found.tokens == 4


def test_what_is_no_number_is_infinitely_far(models):
    expected = references(models[0], ASKED)
    expected[0][0, 0] = float("nan")
    assert measure(expected, models[0], ASKED).kl_per_token == float("inf")


def test_distance_of_recorded_probabilities(models):
    recorded = [[float(row[t]) for row, t in zip(rows, ids, strict=True)] for rows, (_, ids) in zip(references(models[0], ASKED), ASKED, strict=True)]
    assert distance(models[0], ASKED, recorded) == pytest.approx(0, abs=1e-5)
    assert distance(models[0], ASKED, [[p - 0.5 for p in one] for one in recorded]) == pytest.approx(0.5, abs=1e-5)


def test_calibration_rows_are_training_rows(tmp_path):
    from entrypoint.run.shards import read_shards

    prepared = write_prepared(tmp_path / "prepared")
    (shard,) = read_shards(prepared, "train")
    whole = {tuple(shard["ids"][a:b].tolist()) for a, b in zip(shard["starts"], shard["starts"][1:], strict=False)}
    rows = draw(prepared, 10, 1000, seed=1)
    assert len(rows) == 10 and len({tuple(row) for row in rows}) == 10 and all(tuple(row.tolist()) in whole for row in rows)
    assert [row.tolist() for row in rows] == [row.tolist() for row in draw(prepared, 10, 1000, seed=1)]
    assert [row.tolist() for row in rows] != [row.tolist() for row in draw(prepared, 10, 1000, seed=2)]
    assert max(len(row) for row in draw(prepared, 10, 12, seed=1)) == 12
    assert len(draw(prepared, 1000, 1000, seed=1)) == 48
    batch = next(iter(loader(rows)))
    assert batch["input_ids"].shape == (1, len(rows[0])) and bool(batch["attention_mask"].all())
