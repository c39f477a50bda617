"""`xeno settings`: what can be set for a training run, and plans as files."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from xeno.cli.commands import Commands
from xeno.cli.output import Output
from xeno.cli.plans import add_options, plan_from
from xeno.cli.session import unlocked
from xeno.errors import InvalidValueError
from xeno.training.choice import choose
from xeno.training.plan import SECTIONS, TrainingPlan
from xeno.training.plan_files import checked, known_only, read, text, write
from xeno.training.presets import PRESETS, STRENGTHS, detect
from xeno.training.settings.declaration import effects, only, unit
from xeno.training.settings.values import shown, values_of

_ONLY = {
    "private": "Matters only with differential privacy.",
    "plain": "Matters only without differential privacy.",
}


def add(commands: Commands) -> None:
    group = commands.group("settings", "what can be set for a training run", show_list)
    listing = group.add("list", "list all settings", show_list)
    listing.add_argument("search", nargs="?", default="", help="only those that mention this")
    shown_one = group.add("show", "explain one setting", show_one)
    shown_one.add_argument("name")
    group.add("presets", "list the presets and strengths", show_presets)
    chosen = group.add("choose", "say what the pairs speak for", show_choices)
    add_options(chosen)
    export = group.add("export", "write a plan as YAML", export_plan)
    export.add_argument("file", help="where to write it, or '-' for the screen")
    export.add_argument("--with-base", action="store_true", help="name the base's folder as well")
    add_options(export)
    check = group.add("check", "check a YAML plan", check_plan)
    check.add_argument("file")


def show_list(arguments: Namespace, output: Output) -> int | None:
    wanted = getattr(arguments, "search", "").lower()
    found = []
    for section, family in SECTIONS.items():
        rows = []
        for name, declared in family.model_fields.items():
            if wanted in f"{name} {section} {declared.title} {declared.description}".lower():
                found.append(_described(section, name))
                default = "-" if declared.is_required() else _first(shown(declared.default))
                rows.append((name, default, unit(declared), declared.title))
        if rows:
            output.say(section)
            output.table(
                ("  setting", "default", "unit", "title"), [("  " + r[0], *r[1:]) for r in rows]
            )
            output.say()
    output.say(f"{len(found)} settings. Explain one: xeno settings show NAME")
    output.result({"settings": found})
    return 0


def show_one(arguments: Namespace, output: Output) -> int | None:
    known_only([arguments.name])
    section = next(s for s, family in SECTIONS.items() if arguments.name in family.model_fields)
    found = _described(section, arguments.name)
    output.say(f"{arguments.name} ({found['title']}, in {section})")
    output.say(f"  {found['description']}")
    output.say(f"  Takes {found['takes']}{', in ' + found['unit'] if found['unit'] else ''}.")
    if found["default"] is not None:
        output.say(f"  Default: {found['default']}.")
    for name, words in found["effects"].items():
        output.say(f"  {name.capitalize()}: {words}")
    if found["only"]:
        output.say(f"  {_ONLY[found['only']]}")
    output.result(found)
    return 0


def show_presets(arguments: Namespace, output: Output) -> int | None:
    machine = detect()
    for heading, known in (("Presets", PRESETS), ("Strengths", STRENGTHS)):
        output.say(heading)
        for preset in known.values():
            output.say(f"  {preset.name:8}{preset.sentence}")
            said = ", ".join(f"{name} {shown(value)}" for name, value in preset.values.items())
            output.say(f"          {said}")
    output.say(f"This machine: {machine}")
    output.result(
        {
            "presets": {each.name: dict(each.values) for each in PRESETS.values()},
            "strengths": {each.name: dict(each.values) for each in STRENGTHS.values()},
            "machine": machine,
        }
    )
    return 0


def show_choices(arguments: Namespace, output: Output) -> int | None:
    arguments.choose = False
    with unlocked(arguments) as profile:
        choices = choose(profile, plan_from(arguments, profile, output))
    for choice in choices:
        output.say(f"{choice.setting} = {shown(choice.value)}: {choice.reason}")
    if not choices:
        output.say("There are no pairs yet that could speak for anything.")
    output.result(
        {
            "choices": [
                {"setting": each.setting, "value": each.value, "reason": each.reason}
                for each in choices
            ]
        }
    )
    return 0


def export_plan(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        plan = plan_from(arguments, profile, output)
    if arguments.file == "-":
        output.say(text(plan, with_base=arguments.with_base).rstrip())
    else:
        path = Path(arguments.file).expanduser()
        write(plan, path, with_base=arguments.with_base)
        output.say(f"The plan is in {path}.")
    values = plan.model_dump()
    if not arguments.with_base:
        del values["base"]
    output.result({"file": arguments.file, "plan": values})
    return 0


def check_plan(arguments: Namespace, output: Output) -> int | None:
    values = read(Path(arguments.file).expanduser())
    plan = checked({"base": "."} | values)
    if reasons := plan.contradictions():
        raise InvalidValueError(
            "These settings do not go together.", " ".join(reasons), "Change one of them."
        )
    changed = {
        name: value
        for name, value in plan.model_dump().items()
        if name != "base" and value != TrainingPlan.model_fields[name].default
    }
    output.say(f"The plan can be used. It sets {len(values)} settings,")
    output.say(f"of which {len(changed)} differ from their defaults.")
    for name, value in changed.items():
        output.say(f"  {name}: {shown(value)}")
    output.result({"settings": len(values), "changed": changed})
    return 0


def _described(section: str, name: str) -> dict[str, Any]:
    declared = TrainingPlan.model_fields[name]
    return {
        "name": name,
        "section": section,
        "title": declared.title,
        "description": declared.description,
        "takes": values_of(declared).words(),
        "unit": unit(declared),
        "default": None if declared.is_required() else shown(declared.default),
        "effects": effects(declared),
        "only": only(declared),
    }


def _first(words: str) -> str:
    line = words.splitlines()[0] if words else ""
    return line if len(line) <= 24 else line[:23] + "…"
