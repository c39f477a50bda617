"""The options that make a plan on the command line, and the plan they make."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any, get_args

from xeno.cli.commands import UsageError
from xeno.cli.output import Output
from xeno.errors import InvalidValueError
from xeno.store.profile import Profile
from xeno.training.choice import choose
from xeno.training.plan import TrainingPlan
from xeno.training.plan_files import assignments, checked, read
from xeno.training.presets import (
    PRESETS,
    STRENGTHS,
    detect,
    method_of,
    preset_values,
    strength_values,
)
from xeno.training.settings.objective import Method
from xeno.workers.host_client import base_folder


def add_options(parser: ArgumentParser) -> None:
    """The options from which `plan_from` makes a plan."""
    parser.add_argument("--base", metavar="DIR", help="folder of the base model")
    parser.add_argument(
        "--method",
        choices=get_args(Method),
        help="what is learned from: pairs (dpo), ratings (kto), replies to imitate (sft), or "
        "those and then pairs (sft_dpo)",
    )
    parser.add_argument(
        "--engine", choices=("xeno", "trl"), help="trl runs the plan on TRL's DPOTrainer"
    )
    parser.add_argument("--plan", metavar="FILE", help="a YAML file of settings to start from")
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help=f"settings for a machine: {', '.join(PRESETS)}, or 'machine' for what fits this one",
    )
    parser.add_argument(
        "--strength",
        metavar="NAME",
        help=f"how far a version may move from the base: {', '.join(STRENGTHS)}",
    )
    parser.add_argument(
        "--choose", action="store_true", help="choose settings from the pairs, and say why"
    )
    privacy = parser.add_mutually_exclusive_group()
    privacy.add_argument("--epsilon", type=float, metavar="E", help="privacy this run may spend")
    privacy.add_argument(
        "--no-privacy", action="store_true", help="train without differential privacy"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a setting of the plan, see 'xeno settings list'; may be given often",
    )
    parser.add_argument("--force", action="store_true", help="train although there are few pairs")


def plan_from(arguments: Namespace, profile: Profile, output: Output) -> TrainingPlan:
    """The plan that `arguments` describe.

    A later one wins over an earlier one: the file of --plan, --preset, --strength, --choose, and
    --set with the options that set one thing. --choose says what it chose on `output`.

    Raises:
        UsageError: an unknown setting, preset or strength, or a value out of range.
    """
    try:
        return _planned(arguments, profile, output)
    except InvalidValueError as error:
        raise UsageError(error.what, error.why, error.todo) from error


def _planned(arguments: Namespace, profile: Profile, output: Output) -> TrainingPlan:
    given = _given(arguments)
    values: dict[str, Any] = {"base": str(base_folder(profile))}
    if arguments.plan:
        values |= read(Path(arguments.plan).expanduser())
    if arguments.preset:
        draft = checked(values | given)
        name = detect() if arguments.preset == "machine" else arguments.preset
        values |= preset_values(name, private=draft.private, method=method_of(draft))
    if arguments.strength:
        values |= strength_values(arguments.strength)
    values |= given
    values["base"] = str(Path(str(values["base"])).expanduser().resolve())
    plan = checked(values)
    if not arguments.choose:
        return plan
    for choice in choose(profile, plan):
        if choice.setting not in given:
            values[choice.setting] = choice.value
            output.progress(f"{choice.setting} = {choice.value}: {choice.reason}")
    return checked(values)


def _given(arguments: Namespace) -> dict[str, Any]:
    values = assignments(arguments.set)
    if arguments.base:
        values["base"] = arguments.base
    if arguments.epsilon is not None:
        values["epsilon"] = arguments.epsilon
    for name in ("method", "engine"):
        if getattr(arguments, name) is not None:
            values[name] = getattr(arguments, name)
    if arguments.no_privacy:
        values["private"] = False
    if arguments.force:
        values["force"] = True
    return values
