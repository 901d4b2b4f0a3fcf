"""A plug-in is loaded from what was fetched, and what goes wrong in it is said with its own traceback."""

import sys
from pathlib import Path

import pytest

from entrypoint.run.plugin_code import PluginCode
from schemas.errors import MachineError, StepFailed, UsageError
from schemas.job import PluginJob


def code(tmp_path: Path, text: str, source: str = "/data/own.py", name: str = "f") -> PluginCode:
    """As fetched, with its source out of sight."""
    (tmp_path / "00.py").write_text(text)
    return PluginCode({"loss": PluginJob(source=source, name=name, file="00.py", options={"a": 1})}, tmp_path)


def test_only_what_is_named_is_loaded(tmp_path: Path) -> None:
    found = code(tmp_path, "def f(outputs=0, labels=0, num_items_in_batch=0, a=0): return __name__\n")
    assert found.get("metric") is None and not found.modules
    assert found.get("loss")() == "caisson_plugin_own"
    assert found.options("loss") == {"a": 1}
    assert PluginCode({}, None).get("loss") is None


def test_what_it_raises_is_said_with_its_place_and_no_line_of_ours(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = code(tmp_path, "def f(outputs=0, labels=0, num_items_in_batch=0, a=0):\n    return inner({})\n\ndef inner(d):\n    return d['x']\n")
    with pytest.raises(StepFailed) as error, found.words():
        found.get("loss")()
    assert str(error.value).startswith("plugins.loss: /data/own.py:5: KeyError: 'x'")
    said = capfd.readouterr().err
    assert 'File "/data/own.py", line 2, in f\n    return inner({})' in said and "return d['x']" in said
    assert "test_plugin_code" not in said and "entrypoint/run" not in said


@pytest.mark.parametrize(("text", "said"), [("1 / 0\n", "1: ZeroDivisionError: division by zero"), ("import sys\nsys.exit(0)\n", "2: SystemExit: 0")])
def test_what_it_raises_while_it_is_loaded(tmp_path: Path, text: str, said: str) -> None:
    found = code(tmp_path, text)
    with pytest.raises(StepFailed, match=f"plugins.loss: /data/own.py:{said}"), found.words():
        found.get("loss")


def test_errors_of_ours_stay_as_they_are(tmp_path: Path) -> None:
    found = code(tmp_path, "def f(call, labels=0, num_items_in_batch=0, a=0): call()\n")
    with pytest.raises(ValueError, match="ours"), found.words():
        raise ValueError("ours")

    def refuse() -> None:
        raise UsageError("told")

    with pytest.raises(UsageError, match="told"), found.words():
        found.get("loss")(refuse)


def test_an_installed_module_runs_where_it_is_what_was_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "own_rank_metrics"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "part.py").write_text("from own_rank_metrics import more\n\ndef f(outputs=0, labels=0, num_items_in_batch=0, a=0):\n    return more.two() / 0\n")
    (package / "more.py").write_text("def two(): return 2\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    text = (package / "part.py").read_text()
    found = code(tmp_path, text, "own_rank_metrics.part")
    with pytest.raises(StepFailed, match=r"plugins\.loss: own_rank_metrics\.part:4: ZeroDivisionError"), found.words():
        found.get("loss")()
    assert "own_rank_metrics.part" in sys.modules
    other = code(tmp_path, text + "\n", "own_rank_metrics.part")
    with pytest.raises(MachineError, match="is not the one that was fetched"), other.words():
        other.get("loss")
    gone = code(tmp_path, text, "own_rank_metrics.gone")
    with pytest.raises(MachineError, match="is not installed here"), gone.words():
        gone.get("loss")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(outputs, labels, num_items_in_batch, a):\n    return 1\n\ndel f\n", "is not there any more"),
        ("def lie(f): return lambda: 0\n\n@lie\ndef f(outputs, labels, num_items_in_batch, a):\n    return 1\n", "too many positional arguments"),
        ("def lie(f): return 3\n\n@lie\ndef f(outputs, labels, num_items_in_batch, a):\n    return 1\n", "3 is not a callable object"),
        ("def f(outputs, labels, num_items_in_batch, a):\n    return 1\n\nglobals()['f'] = lambda o, l, n: 0\n", "unexpected keyword argument 'a'"),
        (
            "import functools\n\ndef lie(f):\n    return functools.wraps(f)(lambda outputs: 0)\n\n@lie\ndef f(outputs, labels, num_items_in_batch, a):\n    return 1\n",
            "too many positional",
        ),
    ],
)
def test_what_is_another_thing_when_its_file_has_run(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(StepFailed, match=rf"^plugins.loss: /data/own.py:f .*{said}"):
        code(tmp_path, text).get("loss")


def test_a_class_that_is_none_when_its_file_has_run(tmp_path: Path) -> None:
    (tmp_path / "00.py").write_text("@lambda made: made()\nclass F:\n    def on_log(self, args, state, control, **kwargs): pass\n")
    with pytest.raises(StepFailed, match=r"^plugins.callback: /data/own.py:F is F when its file has run, a callback is a class"):
        PluginCode({"callback": PluginJob(source="/data/own.py", name="F", file="00.py", options={})}, tmp_path).get("callback")


def test_a_decorator_that_keeps_the_signature(tmp_path: Path) -> None:
    text = "import functools\n\ndef same(f):\n    return functools.wraps(f)(lambda *a, **k: f(*a, **k))\n\n@same\ndef f(outputs, labels, num_items_in_batch, a):\n    return a\n"
    assert code(tmp_path, text).get("loss")(0, 0, 0, a=5) == 5
