"""`xeno chat`: one question, or a conversation at the terminal."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from xeno.assistant import Assistant, Reply
from xeno.cli.commands import Commands
from xeno.cli.output import Output
from xeno.cli.session import interactive, text_from, unlocked
from xeno.errors import ChildError, InvalidValueError, XenoError
from xeno.events import Sampling
from xeno.store.profile import Profile
from xeno.workers.host_client import HostClient

if TYPE_CHECKING:
    from xeno.feedback.asking import Answer, Asking

HELP = """\
/again   another reply to the last message
/compare choose between two replies: the choice that teaches most
/new     begin another conversation
/quit    leave (or Ctrl-D)"""


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
    _sampling_options(parser)


def _sampling_options(parser: ArgumentParser) -> None:
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
    sampling = _sampling(arguments)
    with unlocked(arguments) as profile, HostClient(profile, arguments.base) as host:
        assistant = Assistant(profile, host)
        if arguments.message is None:
            _talk(profile, assistant, host, arguments, sampling, output)
            return 0
        text = text_from(arguments.message)
        reply = assistant.ask(
            arguments.conversation,
            text,
            output.piece,
            sampling=sampling,
            version=arguments.version,
        )
        output.say()
        _notes(reply, output)
        output.result(
            {
                **reply.finished.model_dump(exclude={"type", "request"}),
                "conversation": reply.message.conversation_id,
                "message": reply.message.id,
            }
        )
    return 0


def _sampling(arguments: Namespace) -> Sampling:
    try:
        return Sampling(
            max_tokens=arguments.max_tokens,
            temperature=arguments.temperature,
            top_p=arguments.top_p,
            seed=arguments.seed,
        )
    except ValueError as error:
        raise InvalidValueError(
            "These sampling options cannot be used.",
            "max-tokens is 1 to 4096, temperature 0 to 2, top-p above 0 up to 1.",
            "Correct the option.",
        ) from error


def _talk(
    profile: Profile,
    assistant: Assistant,
    host: HostClient,
    arguments: Namespace,
    sampling: Sampling,
    output: Output,
) -> None:
    """Question and answer until the user leaves; Ctrl-C ends the reply, not the talk."""
    from xeno.feedback.asking import Asking  # brings numpy

    asking = Asking(profile, host)
    ready = host.ready()
    output.say(f"{ready.name}: {ready.parameters / 1e6:.1f} million parameters. /help for more.")
    for note in ready.notes:
        output.say(note)
    conversation: str | None = arguments.conversation
    last: Reply | None = None
    unanswered = False
    while True:
        try:
            text = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            output.say()
            return
        if text in {"/quit", "/exit"}:
            return
        if text == "/help":
            output.say(HELP)
        elif text == "/compare":
            try:
                compare(asking, output)
            except XenoError as error:
                output.error(error)
        elif text == "/new":
            conversation, last, unanswered = None, None, False
        elif text:
            try:
                if text != "/again":
                    pending = assistant.begin(
                        conversation,
                        text,
                        output.piece,
                        sampling=sampling,
                        version=arguments.version,
                    )
                elif unanswered and conversation:
                    pending = assistant.begin_retry(conversation, output.piece, sampling=sampling)
                elif last is not None:
                    pending = assistant.begin_regenerate(
                        last.message.id,
                        output.piece,
                        sampling=sampling if sampling.temperature else None,
                        version=arguments.version,
                    )
                else:
                    output.say("There is no reply yet.")
                    continue
                conversation, unanswered = pending.conversation_id, True
                try:
                    last = assistant.complete(pending)
                except KeyboardInterrupt:
                    pending.handle.stop()
                    last = assistant.complete(pending, timeout=10.0)
                unanswered = False
                output.say()
                _notes(last, output)
                if asking.due():
                    output.say("(/compare: two replies to choose from would teach me something.)")
            except ChildError as error:
                output.error(error)
                output.say("/again asks once more.")
            except XenoError as error:
                output.error(error)


def compare(asking: Asking, output: Output) -> None:
    """Ask for the comparison that teaches most, and keep the answer; Ctrl-C ends it."""
    try:
        question = asking.ask_next()
    except KeyboardInterrupt:
        asking.stop()
        return
    if question is None:
        output.say("There is nothing to compare yet; ask something first.")
        return
    output.say(f"You asked: {question.asked}")
    output.say(f"\n1)\n{question.first}\n\n2)\n{question.second}\n")
    answers: dict[str, Answer] = {"1": "first", "2": "second", "=": "equal"}
    try:
        said = input("Better is 1, 2 or = (Enter: rather not): ").strip()
    except (EOFError, KeyboardInterrupt):
        said = ""
    pair = asking.answer(question.id, answers.get(said, "dismissed"))
    output.say("Kept as a preference pair." if pair else "")


def _notes(reply: Reply, output: Output) -> None:
    finished = reply.finished
    if finished.fallback:
        output.say(f"({finished.fallback})")
    if finished.dropped_turns:
        output.say(f"(The {finished.dropped_turns} oldest turns no longer fit and were left out.)")
    if finished.reason == "length":
        output.say("(Cut off at the most tokens allowed; --max-tokens allows more.)")
