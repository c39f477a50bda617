"""`xeno feedback`: what is said of a reply, the latest by default: a correction, a thumb, stars, or
which of two replies is better."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from xeno.cli.commands import Commands
from xeno.cli.output import Output, first_line
from xeno.cli.session import last_reply, text_from, unlocked
from xeno.feedback.recorder import FeedbackRecorder
from xeno.store.pairs import Pairs
from xeno.words import count


def add(commands: Commands) -> None:
    group = commands.group("feedback", "say how a reply was, or how it should have been", show)
    correct = group.add("correct", "write the reply as it should have been", correct_reply)
    correct.add_argument("text", help="the better reply; '-' reads it from stdin")
    thumb = group.add("thumb", "thumb up or down", thumb_reply)
    thumb.add_argument("direction", choices=("up", "down"))
    rate = group.add("rate", "rate from 1 (bad) to 5 (very good)", rate_reply)
    rate.add_argument("stars", type=int, choices=range(1, 6))
    choose = group.add(
        "choose", "which is better, a regenerated reply or the one before it", choose_reply
    )
    choose.add_argument(
        "better", nargs="?", choices=("earlier", "this"), help="without it both are shown"
    )
    for parser in (correct, thumb, rate, choose):
        _message_option(parser)


def _message_option(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--message", metavar="ID", help="the reply (default: the latest); see xeno chat --json"
    )


def show(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        message = last_reply(profile, None)
        pairs = Pairs(profile.db).count(active=True)
    output.say(f"The latest reply ({message.id}): {first_line(message.content)}")
    output.say(f"{_ready(pairs)}.")
    output.result({"message": message.id, "reply": message.content, "pairs_ready": pairs})
    return 0


def correct_reply(arguments: Namespace, output: Output) -> int | None:
    text = text_from(arguments.text)
    with unlocked(arguments) as profile:
        message = last_reply(profile, arguments.message)
        pair = FeedbackRecorder(profile).correct(message.id, text)
        ready = Pairs(profile.db).count(active=True)
    output.say(f"Kept as a preference pair; {_ready(ready)}.")
    for note in pair.quality_notes:
        output.say(f"  {note}")
    output.result(
        {
            "pair": pair.id,
            "message": message.id,
            "quality": pair.quality,
            "quality_notes": list(pair.quality_notes),
            "pairs_ready": ready,
        }
    )
    return 0


def thumb_reply(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        message = last_reply(profile, arguments.message)
        FeedbackRecorder(profile).thumb(message.id, arguments.direction == "up")
    output.say(f"Thumb {arguments.direction} kept.")
    output.result({"message": message.id, "thumb": arguments.direction})
    return 0


def rate_reply(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        message = last_reply(profile, arguments.message)
        FeedbackRecorder(profile).rate(message.id, arguments.stars)
    output.say(f"Rating {arguments.stars} kept.")
    output.result({"message": message.id, "stars": arguments.stars})
    return 0


def choose_reply(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        recorder = FeedbackRecorder(profile)
        earlier, this = recorder.last_two(last_reply(profile, arguments.message).id)
        shown = {"earlier": earlier.id, "this": this.id}
        if arguments.better is None:
            output.say(f"Earlier ({earlier.id}):\n{earlier.content}\n")
            output.say(f"This ({this.id}):\n{this.content}\n")
            output.say("'xeno feedback choose earlier' or 'this' keeps your choice as a pair.")
            texts = {"earlier_text": earlier.content, "this_text": this.content}
            output.result({**shown, **texts})
            return 0
        chosen, rejected = (earlier, this) if arguments.better == "earlier" else (this, earlier)
        pair = recorder.choose(chosen.id, rejected.id)
        ready = Pairs(profile.db).count(active=True)
    output.say(f"Kept as a preference pair; {_ready(ready)}.")
    output.say(f"The conversation goes on with: {first_line(chosen.content)}")
    output.result({**shown, "pair": pair.id, "chosen": chosen.id, "pairs_ready": ready})
    return 0


def _ready(pairs: int) -> str:
    return f"{count(pairs, 'pair is', 'pairs are')} ready to learn from"
