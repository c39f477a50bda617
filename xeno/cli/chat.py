"""`xeno chat`: one question; without one, a conversation at the terminal (`talk`)."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from xeno.assistant import Assistant
from xeno.cli.commands import Commands, UsageError
from xeno.cli.output import Output
from xeno.cli.session import interactive, text_from, unlocked
from xeno.cli.talk import Talk, say_notes
from xeno.events import Sampling
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
    parser.add_argument(
        "--max-tokens", type=int, default=256, metavar="N", help="longest reply (default: 256)"
    )
    parser.add_argument(
        "--temperature", type=float, default=0.0, metavar="T", help="0 is greedy (default)"
    )
    parser.add_argument(
        "--top-p", type=float, default=1.0, metavar="P", help="likeliest share to draw from"
    )
    parser.add_argument(
        "--seed", type=int, default=None, metavar="N", help="makes a drawn reply repeatable"
    )


def run(arguments: Namespace, output: Output) -> int | None:
    if arguments.message is None and (arguments.json or not interactive()):
        print("xeno chat: give a message, or '-' to read it from stdin.", file=sys.stderr)
        return 2
    sampling = sampling_of(arguments)
    with unlocked(arguments) as profile, HostClient(profile, arguments.base) as host:
        if arguments.message is None:
            talk = Talk(profile, host, output, sampling, arguments.version, arguments.conversation)
            talk.go()
            return 0
        text = text_from(arguments.message)
        reply = Assistant(profile, host).ask(
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


def sampling_of(arguments: Namespace) -> Sampling:
    """How a reply is drawn. Raises InvalidValueError for a number out of range."""
    try:
        return Sampling(
            max_tokens=arguments.max_tokens,
            temperature=arguments.temperature,
            top_p=arguments.top_p,
            seed=arguments.seed,
        )
    except ValueError as error:
        raise UsageError(
            "These sampling options cannot be used.",
            "max-tokens is 1 to 4096, temperature 0 to 2, top-p above 0 up to 1.",
            "Correct the option.",
        ) from error
