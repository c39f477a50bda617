"""`xeno prefs`: how the user likes to be answered, and the system prompt that follows."""

from __future__ import annotations

from argparse import Namespace

from xeno.cli.commands import Commands
from xeno.cli.output import Output
from xeno.cli.session import unlocked
from xeno.personalization.engine import PersonalizationEngine
from xeno.personalization.preferences import ALLOWED, EXPERTISE_LEVELS


def add(commands: Commands) -> None:
    group = commands.group("prefs", "show or change how you like to be answered", show)
    group.add("show", "show the preferences and the system prompt they give", show)
    setting = group.add("set", "change a preference", change)
    choices = "; ".join(f"{key}: {', '.join(values)}" for key, values in ALLOWED.items())
    setting.add_argument(
        "key",
        type=preference,
        help=f"{choices}; expertise_level.<topic>: {', '.join(EXPERTISE_LEVELS)}",
    )
    setting.add_argument("value")
    forget = group.add("forget", "forget your level in a topic", forget_topic)
    forget.add_argument("topic")


def preference(name: str) -> str:
    """The whole name of a preference that may be given in short: style, detail, format."""
    short = {"style": "communication_style", "detail": "detail_level", "format": "response_format"}
    return short.get(name, name)


def show(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        _shown(PersonalizationEngine(profile.name, profile=profile), output)
    return 0


def change(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        engine = PersonalizationEngine(profile.name, profile=profile)
        engine.update_preference(arguments.key, arguments.value)
        _shown(engine, output)
    return 0


def forget_topic(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        engine = PersonalizationEngine(profile.name, profile=profile)
        engine.forget_expertise(arguments.topic)
        _shown(engine, output)
    return 0


def _shown(engine: PersonalizationEngine, output: Output) -> None:
    items, prompt = engine.preferences.items(), engine.get_personalized_prompt_prefix()
    output.table(("preference", "value"), items)
    output.say()
    output.say(f"System prompt: {prompt}")
    output.result({"preferences": dict(items), "system_prompt": prompt})
