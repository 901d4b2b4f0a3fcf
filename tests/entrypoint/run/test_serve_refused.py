"""What the gate keeps from being served, by a real engine: another template, and a merge into another base. Damaged files meet no engine: test_followed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from served_model import Served, Store, learned

pytestmark = [pytest.mark.image, pytest.mark.serving, pytest.mark.timeout(900)]

WRONG_TEMPLATE = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
Serve = Callable[[Path], Served]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    made = Store(tmp_path_factory.mktemp("store"))
    yield made
    made.remove()


@pytest.fixture
def serve(store: Store, tmp_path: Path) -> Iterator[Serve]:
    """Starts serve over an export."""
    started: list[Served] = []

    def start(exported: Path) -> Served:
        started.append(Served(store.root, exported, tmp_path / "x"))
        return started[-1]

    yield start
    for one in started:
        one.remove()


def test_another_template(store: Store, serve: Serve) -> None:
    served = serve(store.export("bbbb", template=WRONG_TEMPLATE))
    assert served.wait() == 4
    said = served.said()
    assert "caisson: serve: parity: golden prompt 1 of 6 (row), token 1 of its prompt:" in said, said
    ours = said[said.index("caisson: serve: parity") :]  # vLLM prints a traceback of its own when it is told to stop before anybody asked it
    assert "'<|im_start|>'" in ours and "export again" in ours and "Traceback" not in ours
    assert served.active()["state"] == "failed"
    assert served.events("parity")[0]["verdict"] == "refused" and served.events("failed")[0]["exit_code"] == 4
    table = ours.splitlines()
    assert max(len(line) for line in table if line.startswith("  ") and not line.startswith("    the")) <= 80


def test_a_merge_into_another_base(store: Store, serve: Serve) -> None:
    """What was learned, as a difference, put onto weights that it was not learned over."""
    import torch

    base, _ = learned(0)
    other, _ = learned(0, seed=2)
    tuned, first = store.model.state_dict(), base.state_dict()
    merged = {name: (value.float() + tuned[name].float() - first[name].float()).to(torch.bfloat16) for name, value in other.state_dict().items()}
    other.to(torch.bfloat16).load_state_dict(merged)
    served = serve(store.export("cccc", model=other))
    assert served.wait() == 4
    said = served.said()
    ours = said[said.index("caisson: serve: parity: golden prompt 1 of 6 (row)") :]
    assert "of its prompt" not in ours.splitlines()[0] and "Traceback" not in ours, ours
    assert served.active()["state"] == "failed" and served.events("parity")[0]["verdict"] == "refused"
