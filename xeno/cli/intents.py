"""`xeno intents`: examples of what the user means, the classifier, and the replies to them."""

from __future__ import annotations

import csv
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from xeno.cli.commands import Commands
from xeno.cli.output import Output, first_line
from xeno.cli.session import unlocked
from xeno.errors import InvalidValueError
from xeno.store.profile import Profile
from xeno.words import count

if TYPE_CHECKING:  # brings numpy, which other commands need not wait for
    from xeno.personalization.intents import CustomModelTrainer, Example


def add(commands: Commands) -> None:
    group = commands.group("intents", "teach what you mean, and ask what a text means", show)
    group.add("show", "show the intents and the last training", show)
    listing = group.add("examples", "list the examples, newest first", examples)
    listing.add_argument("--intent")
    listing.add_argument("--search", metavar="TEXT")
    listing.add_argument("--limit", type=int, default=20, metavar="N")
    listing.add_argument("--offset", type=int, default=0, metavar="N")

    adding = group.add("add", "add an example", add_example)
    adding.add_argument("text")
    adding.add_argument("intent", help='"unknown" for what is like nothing that has an intent')
    adding.add_argument("--reply", default="", help="what it is answered with")
    adding.add_argument("--rating", type=float, metavar="1..5", help="how good the reply is")
    loading = group.add("load", "add the examples of a CSV file", load)
    loading.add_argument("file", type=Path)
    loading.add_argument("--text", default="text", metavar="COLUMN", help="the text's column")
    loading.add_argument("--intent", default="intent", metavar="COLUMN", help="the intent's column")
    naming = group.add("name", "say what an example means", set_intent)
    naming.add_argument("id", type=int)
    naming.add_argument("intent")
    group.add("delete", "delete an example", delete).add_argument("id", type=int)

    group.add("train", "learn the intents of all examples", train)
    group.add("predict", "say what a text means", predict).add_argument("text")
    template = group.add("template", "add a reply for an intent; {slots} are filled", add_template)
    template.add_argument("intent")
    template.add_argument("template")
    answering = group.add("reply", "answer a text with the best template", reply)
    answering.add_argument("text")
    answering.add_argument("--slot", action="append", default=[], metavar="NAME=VALUE")
    encoder = group.add("encoder", "learn with a sentence encoder, or with n-grams", encode)
    encoder.add_argument("folder", help='a local folder, or "none"')
    for name, text, on in (
        ("auto", "learn again by itself when enough examples came", True),
        ("manual", "learn again only when told to", False),
    ):
        group.add(name, text, switch).set_defaults(on=on)


def show(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile, _of(profile) as trainer:
        found, fit, new = trainer.intents(), trainer.last_fit, trainer.new_examples
        encoder = trainer.encoder
    output.table(("intent", "examples"), found, "No examples yet.")
    if fit is None:
        output.say(
            f"Nothing is learned yet; {count(new, 'example has', 'examples have')} an intent."
        )
    else:
        output.say(
            f"Learned from {count(fit.examples_used, 'example')}: {fit.accuracy:.1%} of "
            f"{fit.validation_examples} held out are right. {count(new, 'example')} came since."
        )
    output.result(
        {
            "intents": dict(found),
            "last_fit": None if fit is None else asdict(fit),
            "new_examples": new,
            "encoder": None if encoder is None else str(encoder),
        }
    )
    return 0


def examples(arguments: Namespace, output: Output) -> int | None:
    wanted = {"intent": arguments.intent, "search": arguments.search}
    with unlocked(arguments) as profile, _of(profile) as trainer:
        found = trainer.examples(**wanted, limit=arguments.limit, offset=arguments.offset)
        total = trainer.count(**wanted)
    output.table(
        ("id", "intent", "rating", "text", "reply"),
        [
            (e.id, e.intent or None, e.rating, first_line(e.input, 50), first_line(e.output, 30))
            for e in found
        ],
    )
    output.say(f"{len(found)} of {count(total, 'example')} shown.")
    output.result({"total": total, "examples": [_values(example) for example in found]})
    return 0


def add_example(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile, _of(profile) as trainer:
        context = {"intent": arguments.intent}
        kept = trainer.add_training_example(
            arguments.text, arguments.reply, context, arguments.rating
        )
    output.say(f"Example {kept.id} means {kept.intent}.")
    output.result(_values(kept))
    return 0


def load(arguments: Namespace, output: Output) -> int | None:
    try:
        with arguments.file.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = {arguments.text, arguments.intent} - set(reader.fieldnames or ())
            rows = [] if missing else list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise InvalidValueError(f"{arguments.file} cannot be read.", f"{error}.", "") from error
    if missing:
        raise InvalidValueError(
            f"{arguments.file} has no column {min(missing)!r}.",
            f"Its columns are: {', '.join(reader.fieldnames or ()) or 'none'}.",
            "Name the columns with --text and --intent.",
        )
    with unlocked(arguments) as profile, _of(profile) as trainer:
        kept = trainer.add_training_examples(
            (row[arguments.text], "", {"intent": row[arguments.intent]}, None)
            for row in rows
            if (row[arguments.text] or "").strip()
        )
    without = count(len(rows) - len(kept), "row has", "rows have")
    output.say(f"{count(len(kept), 'example')} added; {without} no text.")
    output.result({"added": len(kept), "without_text": len(rows) - len(kept)})
    return 0


def set_intent(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile, _of(profile) as trainer:
        before = trainer.set_intent(arguments.id, arguments.intent)
    output.say(f"Example {before.id} means {arguments.intent} now.")
    output.result({"id": before.id, "intent": arguments.intent, "before": before.intent})
    return 0


def delete(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile, _of(profile) as trainer:
        gone = trainer.delete(arguments.id)
    output.say(f"Example {gone.id} is deleted.")
    output.result({"deleted": _values(gone)})
    return 0


def train(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile, _of(profile) as trainer:
        found = trainer.train_intent_classifier()
    if not found["success"]:
        output.say(found["error"])
        output.result(found)
        return 1
    output.say(
        f"Learned {found['intents']} intents from {count(found['examples_used'], 'example')}: "
        f"{found['accuracy']:.1%} of {found['validation_examples']} held out are right. Below "
        f"{found['threshold']:.0%} confidence a text is unknown."
    )
    output.result(found)
    return 0


def predict(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile, _of(profile) as trainer:
        found = trainer.predict(arguments.text)
    output.say(f"{found.intent} ({found.confidence:.0%} sure of the best guess)")
    output.table(("guess", "confidence"), found.ranked)
    output.result(
        {"intent": found.intent, "confidence": found.confidence, "ranked": dict(found.ranked)}
    )
    return 0


def add_template(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile, _of(profile) as trainer:
        trainer.add_response_template(arguments.intent, arguments.template)
        templates = trainer.response_templates(arguments.intent)
    output.say(f"{arguments.intent} has {count(len(templates), 'reply', 'replies')}.")
    output.result({"intent": arguments.intent, "templates": templates})
    return 0


def reply(arguments: Namespace, output: Output) -> int | None:
    slots = dict(slot.partition("=")[::2] for slot in arguments.slot)
    with unlocked(arguments) as profile, _of(profile) as trainer:
        intent = trainer.predict_intent(arguments.text)
        text = trainer.response_for(arguments.text, slots)
    output.say(text if text is not None else f"There is no reply for {intent}.")
    output.result({"intent": intent, "reply": text})
    return 0 if text is not None else 1


def encode(arguments: Namespace, output: Output) -> int | None:
    folder = None if arguments.folder == "none" else Path(arguments.folder)
    with unlocked(arguments) as profile, _of(profile) as trainer:
        trainer.use_encoder(folder)
        kept = trainer.encoder
    output.say(f"The next training learns with {'n-grams' if kept is None else kept}.")
    output.result({"encoder": None if kept is None else str(kept)})
    return 0


def switch(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile, _of(profile) as trainer:
        trainer.set_automatic(arguments.on)
    output.say(f"Learning again by itself is {'on' if arguments.on else 'off'} now.")
    output.result({"automatic": arguments.on})
    return 0


def _of(profile: Profile) -> CustomModelTrainer:
    from xeno.personalization.intents import CustomModelTrainer

    return CustomModelTrainer(profile.name, profile=profile)


def _values(example: Example) -> dict[str, object]:
    return asdict(example) | {"context": dict(example.context)}
