"""Writes docs/cli.md from the commands themselves. `python -m entrypoint.manual [--check]`."""

import sys
from pathlib import Path
from typing import Any

import click

from entrypoint.cli import cli
from schemas.generate import write_or_compare

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
HEAD = """# The command line

Generated from the program; change the docstrings and run `make generate`. Inside the images `caisson` is the entrypoint, so that
`docker compose run --rm train` is `caisson train /spec.yaml --store /store`.
"""


def page() -> str:
    """The whole page."""
    width: dict[str, Any] = {"terminal_width": 80, "max_content_width": 80}
    root = click.Context(cli, info_name="caisson", **{**cli.context_settings, **width})
    parts = [HEAD, _help("caisson", cli, root)]
    for name in cli.list_commands(root):
        command = cli.get_command(root, name)
        assert command is not None
        parts.append(_help(f"caisson {name}", command, click.Context(command, info_name=name, parent=root, **width)))
    return "\n".join(parts)


def _help(title: str, command: click.Command, context: click.Context) -> str:
    return f"## {title}\n\n```\n{command.get_help(context)}\n```\n"


def main() -> int:
    """Write the page, or with --check say whether it is current."""
    return write_or_compare({PAGE: page()}, "make generate", check="--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
