"""The command line: `xeno COMMAND`. Parses, dispatches, and turns errors into sentences.

Exit status: 0 it worked, 1 it failed (what, why and what next on stderr), 2 wrong usage.
--home, --profile, --json and --passphrase-stdin may stand before or after the command.
Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from xeno import __version__
from xeno.cli import (
    backup,
    beliefs,
    bench,
    chat,
    collect,
    conversations,
    data,
    demo,
    deploying,
    doctor,
    experiments,
    feedback,
    intents,
    launcher,
    memory,
    pairs,
    performance,
    prefs,
    privacy,
    queue,
    replies,
    runs,
    search,
    settings,
    status,
    train,
    versions,
)
from xeno.cli.commands import Commands, UsageError, global_options
from xeno.cli.output import Output
from xeno.errors import XenoError

_TOPICS = (
    status,
    bench,
    chat,
    replies,
    conversations,
    feedback,
    prefs,
    beliefs,
    memory,
    intents,
    pairs,
    data,
    collect,
    settings,
    search,
    train,
    queue,
    runs,
    versions,
    experiments,
    deploying,
    backup,
    performance,
    privacy,
    demo,
    doctor,
    launcher,
)


def parser() -> argparse.ArgumentParser:
    """The parser with all commands."""
    top = argparse.ArgumentParser(
        prog="xeno",
        description="Make a local language model your own: chat, correct, train, deploy.",
        parents=[global_options()],
    )
    top.add_argument("--version", action="version", version=f"xeno {__version__}")
    commands = Commands(top.add_subparsers(metavar="COMMAND", required=True))
    for topic in _TOPICS:
        topic.add(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a reply may hold what the console's encoding lacks
            stream.reconfigure(errors="replace")
    try:
        options = parser().parse_args(arguments, namespace=_defaults())
    except SystemExit as end:  # argparse has said what is wrong
        return int(end.code or 0)
    output = Output(options.json)
    run: Callable[[argparse.Namespace, Output], int | None] = options.run
    try:
        return run(options, output) or 0
    except UsageError as error:
        output.error(error)
        return 2
    except XenoError as error:
        output.error(error)
    except KeyboardInterrupt:
        output.error(XenoError("Interrupted."))
    except BrokenPipeError:  # the reader of our output has gone, as in `xeno runs | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:  # the process's edge: a bug of ours, shown as one
        traceback.print_exc()
        output.error(
            XenoError(
                "Something went wrong inside XENO.",
                f"{type(error).__name__}, see the lines above.",
                "Please report it with these lines; they may hold text of yours, look first.",
            )
        )
    return 1


def _defaults() -> argparse.Namespace:
    return argparse.Namespace(home=None, profile="default", json=False, passphrase_stdin=False)


if __name__ == "__main__":
    raise SystemExit(main())
