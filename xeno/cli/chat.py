"""`xeno chat`: one question; without one, a conversation at the terminal (`talk`)."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path

from xeno.assistant import Assistant
from xeno.cli.commands import Commands, UsageError
from xeno.cli.output import Output
from xeno.cli.session import interactive, text_from, unlocked
from xeno.cli.talk import Talk, say_news, say_notes
from xeno.errors import InvalidValueError
from xeno.events import Sampling
from xeno.inference.settings import drawn, read_settings
from xeno.store.profile import Profile
from xeno.workers.host_client import HostClient


def add(commands: Commands) -> None:
    parser = commands.add("chat", "ask the assistant, or talk with it at a terminal", run)
    parser.add_argument("message", nargs="?", help="what to ask; '-' reads it from stdin")
    parser.add_argument("--conversation", metavar="ID", help="go on with this conversation")
    parser.add_argument(
        "--version",
        default="active",
        metavar="REF",
        help="who answers: active (default), base, or a version such as v3",
    )
    parser.add_argument("--base", metavar="DIR", type=Path, help="another base model for this chat")
    sampling_options(parser)


def sampling_options(parser: ArgumentParser) -> None:
    """The options that say how a reply is drawn; `sampling_of` reads them."""
    group = parser.add_argument_group("how the reply is drawn", "by default as 'xeno replies' says")
    group.add_argument("--max-tokens", type=int, metavar="N", help="longest reply")
    group.add_argument("--temperature", type=float, metavar="T", help="0 is greedy")
    group.add_argument("--top-p", type=float, metavar="P", help="likeliest share to draw from")
    group.add_argument("--top-k", type=int, metavar="N", help="likeliest tokens to draw from")
    group.add_argument(
        "--repetition-penalty", type=float, metavar="R", help="above 1 avoids saying things again"
    )
    group.add_argument("--seed", type=int, metavar="N", help="makes a drawn reply repeatable")
    group.add_argument(
        "--stop", action="append", metavar="TEXT", help="end the reply before this; repeatable"
    )


def run(arguments: Namespace, output: Output) -> int | None:
    if arguments.message is None and (arguments.json or not interactive()):
        print("xeno chat: give a message, or '-' to read it from stdin.", file=sys.stderr)
        return 2
    with unlocked(arguments) as profile, HostClient(profile, arguments.base) as host:
        sampling = sampling_of(arguments, profile)
        if arguments.message is None:
            talk = Talk(profile, host, output, sampling, arguments.version, arguments.conversation)
            talk.go()
            return 0
        text = text_from(arguments.message)
        reply = Assistant(profile, host, on_news=partial(say_news, output)).ask(
            arguments.conversation,
            text,
            output.piece,
            sampling=sampling,
            version=arguments.version,
        )
        output.say()
        say_notes(reply, output)
        output.result(
            {
                **reply.finished.model_dump(exclude={"type", "request"}),
                "conversation": reply.message.conversation_id,
                "message": reply.message.id,
            }
        )
    return 0


def sampling_of(arguments: Namespace, profile: Profile) -> Sampling:
    """How a reply is drawn: as the options say, else as the user set it.

    Raises:
        UsageError: a number is out of range.
    """
    given = {name: getattr(arguments, name, None) for name in Sampling.model_fields}
    changes = {name: value for name, value in given.items() if value is not None}
    try:
        return drawn(read_settings(profile).sampling, changes)
    except InvalidValueError as error:
        raise UsageError(error.what, error.why, error.todo) from error
