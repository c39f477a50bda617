"""`xeno install-launcher`: an entry in the desktop's menu that opens the window."""

from __future__ import annotations

from argparse import Namespace

from xeno.cli.commands import Commands
from xeno.cli.output import Output
from xeno.launcher import install_launcher


def add(commands: Commands) -> None:
    commands.add("install-launcher", "write a menu entry that opens the window", run)


def run(arguments: Namespace, output: Output) -> int | None:
    path = install_launcher()
    output.say(f"The launcher is {path}.")
    output.result({"launcher": str(path)})
    return 0
