"""What a process and its children hold."""

import os
import subprocess
import sys

from entrypoint.run.held_memory import HeldMemory, below, proportional_bytes

HOLD = "import sys; held = bytearray(b'x') * int(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
MANY = 64 * 2**20


def test_children_count_and_those_that_are_gone_do_not() -> None:
    memory = HeldMemory(os.getpid())
    memory.look()
    before = memory.children
    with subprocess.Popen([sys.executable, "-c", HOLD, str(MANY)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline() == b"held\n"
        assert child.pid in set(below(os.getpid()))
        assert MANY <= proportional_bytes(child.pid) < 2 * MANY
        memory.look()
        child.communicate()
    assert memory.children >= before + MANY
    held = memory.children
    memory.look()
    assert memory.children == held, "the most that was seen"
    assert proportional_bytes(child.pid) == 0
    assert list(below(child.pid)) == []
