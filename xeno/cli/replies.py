"""`xeno replies`: how replies are drawn and computed, and what the probe chose on this machine."""

from __future__ import annotations

from argparse import Namespace

from xeno.cli.commands import Commands
from xeno.cli.output import Output
from xeno.cli.session import home_of, unlocked
from xeno.inference.probe import fitting_threads, threads_known, usable_cores
from xeno.inference.settings import ReplySettings, from_text, read_settings, write_settings
from xeno.models.loading import bfloat16_is_faster, bfloat16_known
from xeno.paths import Home
from xeno.training.settings.values import shown, values_of


def add(commands: Commands) -> None:
    group = commands.group("replies", "show or change how replies are drawn and computed", show)
    group.add("show", "show the settings, and what the probe chose", show)
    change = group.add("set", "change a setting; without a value back to its default", set_one)
    change.add_argument("name", choices=ReplySettings.model_fields, metavar="NAME")
    change.add_argument(
        "value", nargs="?", default="", help="for stop: a text, or a JSON list of texts"
    )
    group.add("probe", "measure again what is faster on this machine", probe)


def show(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        _shown(read_settings(profile), output)
        _probed(profile.home, output)
        output.result(_result(read_settings(profile), profile.home))
    return 0


def set_one(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        value = from_text(arguments.name, arguments.value)
        settings = write_settings(profile, {arguments.name: value})
        _shown(settings, output)
        output.result(_result(settings, profile.home))
    return 0


def probe(arguments: Namespace, output: Output) -> int | None:
    home = home_of(arguments)
    bfloat16_is_faster(home, again=True)
    fitting_threads(home, again=True)
    _probed(home, output)
    output.result({"probe": _probe(home)})
    return 0


def _shown(settings: ReplySettings, output: Output) -> None:
    output.table(
        ("setting", "value", "title", "takes"),
        [
            (name, shown(getattr(settings, name)), declared.title, values_of(declared).words())
            for name, declared in ReplySettings.model_fields.items()
        ],
    )


def _probed(home: Home, output: Output) -> None:
    found = _probe(home)
    dtype, threads = found["dtype"], found["threads"]
    output.say()
    if dtype is None and threads is None:
        output.say("The probe has not been run: the model host does at its first start.")
        return
    output.say(
        f"The probe chose {dtype or 'no number format yet'} for models of 64 million parameters "
        f"or more (float32 below), and {threads or 'no number yet'} of {usable_cores()} threads."
    )


def _probe(home: Home) -> dict[str, str | int | None]:
    faster = bfloat16_known(home)
    dtype = None if faster is None else "bfloat16" if faster else "float32"
    return {"dtype": dtype, "threads": threads_known(home)}


def _result(settings: ReplySettings, home: Home) -> dict[str, object]:
    return {"settings": settings.model_dump(mode="json"), "probe": _probe(home)}
