"""`python -m entrypoint` is `caisson`."""

import os
import signal


def _stop(number: int, _: object) -> None:
    os.write(2, f"caisson: stopped by {signal.Signals(number).name}\n    run the same command again\n".encode())
    os._exit(75)


for number in (signal.SIGTERM, signal.SIGINT):  # the imports below take a good part of a second, in which a signal would end this as a failure
    signal.signal(number, _stop)

from entrypoint.cli import main  # noqa: E402

main()
