"""`xeno versions export | import`: a version for other programs, and an adapter from them."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Callable

from xeno.cli.commands import Commands
from xeno.cli.output import Output, size
from xeno.cli.session import unlocked
from xeno.errors import InvalidValueError
from xeno.events import (
    AdapterImported,
    ExportVersion,
    ImportAdapter,
    VersionExported,
    WorkProgress,
)
from xeno.versions.export.forms import FORMS, WHAT
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
    output.table(("file", "size"), [(name, size(count)) for name, count in made.files.items()])
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
