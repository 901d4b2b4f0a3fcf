"""A process that makes no step ends with 1 and says where it hangs; one that does goes on."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HANGS = """
import time
from entrypoint.run.watchdog import Watchdog
dog = Watchdog(times=3, at_least={floor})
for _ in range(5):
    dog.step(); time.sleep(0.05)
def stuck_here():
    time.sleep({sleep})
stuck_here()
dog.cancel(); time.sleep(0.3); print("went on")
"""


def ran(floor: float, sleep: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", HANGS.format(floor=floor, sleep=sleep)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_a_hang_ends_with_1_and_its_stack() -> None:
    ended = ran(0.2, 30)
    assert ended.returncode == 1
    assert "Timeout" in ended.stderr and "stuck_here" in ended.stderr


def test_a_slow_step_within_the_patience_goes_on() -> None:
    ended = ran(20, 0.5)
    assert (ended.returncode, ended.stdout) == (0, "went on\n")
