"""A child process in the foreground: its code, its signals. What the executor makes of them: test_execute_stops.py."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kept_store import ROOT

from entrypoint.run.child import describe_exit, run_process

DEAF_TO_TERM = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\ntime.sleep(0.5)"
RUN = """
import sys
from entrypoint.run.child import run_process
print(*run_process(("python", "-c", sys.argv[1]), {}))
"""


def test_code_and_words() -> None:
    assert run_process(("python", "-c", "raise SystemExit(9)"), {}) == (9, False)
    assert describe_exit(9) == "exit code 9"
    code, stopped = run_process(("python", "-c", "import os; os.kill(os.getpid(), 9)"), {})
    assert (describe_exit(code), stopped) == ("signal SIGKILL", False)


def test_environment_is_added(capfd: pytest.CaptureFixture[str]) -> None:
    run_process(("python", "-c", "import os; print(os.environ['X'], 'PATH' in os.environ)"), {"X": "1"})
    assert capfd.readouterr().out == "1 True\n"


def test_ctrl_c_on_a_terminal_prints_no_traceback() -> None:
    """It reaches parent and child at once, here while the child has no handler for it, as during its imports."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, DEAF_TO_TERM], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (out, err) == ("0 True\n", ""), "the child hears only what its parent passes on"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_stopped_while_it_starts_says_so(number: signal.Signals, tmp_path: Path) -> None:
    """At any moment of its own imports, which are most of its start."""
    slow = tmp_path / "click"
    slow.mkdir()
    (slow / "__init__.py").write_text("print('importing', flush=True)\nimport time\ntime.sleep(20)\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "entrypoint"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
    )
    assert process.stdout
    assert process.stdout.readline() == "importing\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=15)
    assert (process.returncode, err) == (75, f"caisson: stopped by {number.name}\n    run the same command again\n")


HEARD_ELSEWHERE = """
import signal, threading, time
threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
"""
ENDS_ON_TERM = "import signal, time\nsignal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})\nprint('ready', flush=True)\ntime.sleep(5)"


def test_signal_that_interrupts_no_system_call_goes_on_at_once() -> None:
    """As one that comes just before the wait for the child: here another thread takes it."""
    with subprocess.Popen([sys.executable, "-c", HEARD_ELSEWHERE + RUN, ENDS_ON_TERM], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "-15 True\n", "else the child has slept to its end: 0"
