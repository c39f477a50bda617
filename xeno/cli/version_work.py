"""`xeno versions export | import | compare`: for other programs, from them, side by side."""

from __future__ import annotations

import argparse
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from xeno.cli.commands import Commands
from xeno.cli.output import Output, size
from xeno.cli.session import unlocked
from xeno.errors import InvalidValueError
from xeno.events import (
    AdapterImported,
    CompareVersions,
    ExportVersion,
    ImportAdapter,
    VersionExported,
    VersionsCompared,
    WorkProgress,
)
from xeno.gate.prompts import PROMPTS
from xeno.versions.comparing import Against, Comparison, Piece
from xeno.versions.export.forms import FORMS, WHAT
from xeno.words import count
from xeno.workers.version_work_client import Answer, VersionWork, prompt_to_export


def add(group: Commands) -> None:
    """Add the subcommands to `xeno versions`."""
    export = group.add("export", "write a version as other programs read it", export_one)
    export.formatter_class = argparse.RawDescriptionHelpFormatter
    export.epilog = "forms:\n" + "\n".join(f"  {form:13} {WHAT[form]}" for form in FORMS)
    export.add_argument("ref", help="a version such as v3, or 'base'")
    export.add_argument("folder", help="the folder to make")
    export.add_argument("--as", dest="form", choices=FORMS, default="peft", help="default: peft")
    export.add_argument(
        "--no-prompt", action="store_true", help="leave the personal prompt out of the Modelfile"
    )
    export.add_argument(
        "--yes", action="store_true", help="also where the prompt holds personal data"
    )
    take = group.add("import", "take a PEFT adapter as a candidate version", import_one)
    take.add_argument("source", help="a folder, or a name on the Hub such as someone/adapter")
    take.add_argument("--description", default="", help="what it is")
    take.add_argument(
        "--for-this-base",
        action="store_true",
        help="it belongs to the chosen base model, though it gives that another name",
    )
    compare = group.add("compare", "replies, metrics, win rate and data side by side", compare_all)
    compare.add_argument("refs", nargs="+", metavar="REF", help="two to six versions, or 'base'")
    compare.add_argument("--prompts", metavar="FILE", help="one prompt a line, '-' for stdin")
    compare.add_argument("--no-pairs", action="store_true", help="leave held-out pairs out")
    compare.add_argument("--max-tokens", type=int, default=128, metavar="N", help="of a reply")


def export_one(arguments: Namespace, output: Output) -> int | None:
    with_prompt = arguments.form.startswith("gguf") and not arguments.no_prompt
    with unlocked(arguments) as profile:
        if with_prompt:
            prompt = prompt_to_export(profile)
            output.say(f"The Modelfile carries this prompt: {prompt.text}")
            if prompt.found and not arguments.yes:
                raise InvalidValueError(
                    "The version was not exported.",
                    f"The personal prompt holds {', '.join(prompt.found)}.",
                    "Add --yes if it may leave with the export, or --no-prompt.",
                )
        order = ExportVersion(
            version=arguments.ref,
            form=arguments.form,
            folder=arguments.folder,
            with_prompt=with_prompt,
            consent=arguments.yes,
        )
        made = _done(VersionWork(profile, order, _told(output)))
    assert isinstance(made, VersionExported)
    output.table(("file", "size"), [(name, size(number)) for name, number in made.files.items()])
    output.say(
        f"It says what the version says: {made.positions} tokens of {made.prompts} replies, by "
        f"{made.method}; log-probabilities differ by at most {made.largest:.2g} "
        f"({made.allowed:g} is allowed)."
    )
    if made.ties:
        output.say(f"{made.ties} of these tokens were nearly undecided and may come out otherwise.")
    for note in made.notes:
        output.say(note)
    output.say(f"It is in {made.folder}.")
    output.result(made.model_dump(mode="json", exclude={"type"}))
    return 0


def import_one(arguments: Namespace, output: Output) -> int | None:
    order = ImportAdapter(
        source=arguments.source,
        description=arguments.description,
        for_this_base=arguments.for_this_base,
    )
    with unlocked(arguments) as profile:
        made = _done(VersionWork(profile, order, _told(output)))
    assert isinstance(made, AdapterImported)
    if made.known:
        output.say(f"It is {made.label}, which was here already.")
    else:
        output.say(f"It is {made.label}, a candidate: 'xeno deploy {made.label}' tests it first.")
    for note in made.notes:
        output.say(note)
    output.result(made.model_dump(mode="json", exclude={"type"}))
    return 0


def compare_all(arguments: Namespace, output: Output) -> int | None:
    order = CompareVersions(
        versions=tuple(arguments.refs),
        prompts=_prompts(arguments.prompts),
        held_out=not arguments.no_pairs,
        max_tokens=arguments.max_tokens,
    )
    with unlocked(arguments) as profile:
        made = _done(VersionWork(profile, order, _told(output)))
    assert isinstance(made, VersionsCompared)
    found = Comparison.model_validate(made.comparison)
    for prompt in found.prompts:
        output.say(f"\n> {prompt.prompt}")
        output.say(f"{found.labels[0]}: {prompt.replies[0]}")
        for label, pieces in zip(found.labels[1:], prompt.differences, strict=True):
            output.say(f"{label}: {''.join(_marked(piece) for piece in pieces)}")
    for other in found.others:
        _say_against(found.labels[0], other, output)
    for note in found.notes:
        output.say(note)
    output.result(made.comparison)
    return 0


def _say_against(first: str, other: Against, output: Output) -> None:
    output.say()
    if other.metrics:
        output.table(
            ("metric", first, other.label, "change", "percent"),
            [(m.metric, m.first, m.other, m.change, m.change_percent) for m in other.metrics],
        )
    if other.pairs is not None:
        rate, before, after = other.pairs.win_rate, *other.pairs.accuracy
        output.say(
            f"On {other.pairs.pairs} held-out pairs {other.label} prefers the chosen reply more "
            f"strongly than {first} in {rate.value:.0%} (95 % interval {rate.low:.0%} to "
            f"{rate.high:.0%}); accuracy {before:.0%} and {after:.0%}."
        )
    data = other.data
    output.say(
        f"{other.label} learned from {count(len(data.added), 'pair')} that {first} did not, and "
        f"not from {len(data.removed)} that it did; {data.both} are common."
    )


def _marked(piece: Piece) -> str:
    return {"same": "{}", "removed": "[-{}-]", "added": "{{+{}+}}"}[piece.kind].format(piece.text)


def _prompts(source: str | None) -> tuple[str, ...]:
    if source is None:
        return tuple(question for _, question in PROMPTS[:3])
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValueError(
            f"{source} cannot be read.", str(error), "Name a text file with one prompt a line."
        ) from error
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _done(work: VersionWork) -> Answer:
    try:
        return work.wait()
    except KeyboardInterrupt:
        work.stop()
        return work.wait()


def _told(output: Output) -> Callable[[WorkProgress], None]:
    """Says what is being done, each thing once."""
    last = ""

    def tell(event: WorkProgress) -> None:
        nonlocal last
        if event.text != last:
            last = event.text
            output.progress(f"{event.text} …")

    return tell
