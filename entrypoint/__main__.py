"""`python -m entrypoint` is `caisson`."""

import os
import signal
import sys


def _stop(number: int, _: object) -> None:
    os.write(2, f"caisson: stopped by {signal.Signals(number).name}\n    run the same command again\n".encode())
    os._exit(75)


def _open_closed() -> None:
    """Streams that the caller has closed, as `>&-` does, lead to nowhere. Else the next file that is opened would be given the number, and words written into it."""
    while (free := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(free, True)
    os.close(free)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8")  # noqa: SIM115  # as long as the process
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8")  # noqa: SIM115  # as long as the process


_open_closed()
for number in (signal.SIGTERM, signal.SIGINT):  # the imports below take a good part of a second, in which a signal would end this as a failure
    signal.signal(number, _stop)

from entrypoint.cli import main  # noqa: E402

main()
