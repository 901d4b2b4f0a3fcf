"""How rates are taken from repetitions; in the image, which has torch."""

import pytest

torch = pytest.importorskip("torch")

from entrypoint.run import rates  # noqa: E402

pytestmark = pytest.mark.image


def test_a_launch_is_the_least_of_its_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([at for took in (9.0, 9.0, 3.0, 1.0, 8.0) for at in (0.0, took)])
    monkeypatch.setattr(rates.time, "perf_counter", lambda: next(moments))
    assert rates.timed(lambda: None, torch.device("cpu"), 3, min) == 1.0, "the first two warm up"


def test_a_cpu_is_not_woken() -> None:
    began = rates.time.perf_counter()
    rates.wake(torch.device("cpu"))
    assert rates.time.perf_counter() - began < 0.5
