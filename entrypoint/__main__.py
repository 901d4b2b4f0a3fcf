"""`python -m entrypoint` is `caisson`."""

from entrypoint.cli import main

main()
