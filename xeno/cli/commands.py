"""Adds subcommands to the parser, each with the options that all of them share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from xeno.cli.output import Output
from xeno.errors import InvalidValueError

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


class UsageError(InvalidValueError):
    """What was typed cannot be meant: the exit status is 2, as for argparse's own errors."""


Run = Callable[[argparse.Namespace, Output], int | None]


def global_options() -> argparse.ArgumentParser:
    """The options every command has. Unset ones leave what was given before the command."""
    shared = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = shared.add_argument_group("options of every command")
    group.add_argument("--home", metavar="DIR", help="folder that holds all profiles")
    group.add_argument("--profile", metavar="NAME", help="profile to use (default: default)")
    group.add_argument("--json", action="store_true", help="print one JSON object as last line")
    group.add_argument(
        "--passphrase-stdin",
        action="store_true",
        help="read the profile's passphrase from the first line of stdin",
    )
    return shared


class Commands:
    """Wraps argparse's subparsers so that a topic adds a command in one call."""

    def __init__(self, subparsers: Subparsers) -> None:
        self._subparsers = subparsers

    def add(self, name: str, text: str, run: Run | None = None) -> argparse.ArgumentParser:
        """Add the command `name`, explained by `text`, carried out by `run`."""
        parser = self._subparsers.add_parser(
            name, help=text, description=text, parents=[global_options()]
        )
        if run is not None:
            parser.set_defaults(run=run)
        return parser

    def group(self, name: str, text: str, run: Run) -> Commands:
        """Add the command `name` that has subcommands; without one it does `run`."""
        parser = self.add(name, text, run)
        return Commands(parser.add_subparsers(metavar="ACTION"))
