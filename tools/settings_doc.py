"""Writes docs/settings.md from the declarations of the settings.

    python tools/settings_doc.py [--check]

With --check nothing is written; the exit status is 1 if the file is not what it would be.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic.fields import FieldInfo

from xeno.inference.settings import ReplySettings
from xeno.training.plan import SECTIONS, TrainingPlan
from xeno.training.presets import PRESETS, STRENGTHS, Preset
from xeno.training.settings.declaration import effects, only, unit
from xeno.training.settings.values import shown, values_of

FILE = Path(__file__).parents[1] / "docs" / "settings.md"
_ONLY = {"private": "with differential privacy", "plain": "without differential privacy"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    wanted = document()
    if parser.parse_args().check:
        same = FILE.exists() and FILE.read_text("utf-8") == wanted
        if not same:
            print("docs/settings.md is out of date: run python tools/settings_doc.py")
        return 0 if same else 1
    FILE.write_text(wanted, "utf-8")
    return 0


def document() -> str:
    """The text of docs/settings.md."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Settings of a training run"
    yield ""
    yield f"All {len(TrainingPlan.model_fields)} settings, made from their declarations in"
    yield "`xeno/training/settings/` by `tools/settings_doc.py`. Change one with"
    yield "`xeno train --set NAME=VALUE`, in a YAML file for `xeno train --plan FILE`, or in the"
    yield "Training tab. `xeno settings show NAME` explains one."
    yield ""
    for title, family in SECTIONS.items():
        yield f"## {title}\n"
        for name, declared in family.model_fields.items():
            yield from _setting(name, declared)
    yield "## Presets\n"
    yield "`xeno train --preset NAME`. In private runs epochs and learning rate stay automatic."
    yield from _table(PRESETS)
    yield "\n## Strengths\n"
    yield "`xeno train --strength NAME`."
    yield from _table(STRENGTHS)
    yield "\n# Settings of replies\n"
    yield "Declared in `xeno/inference/settings.py`. Change one with `xeno replies set NAME VALUE`,"
    yield "for one reply with an option of `xeno chat`, or in the window: View, Reply settings."
    yield ""
    for name, declared in ReplySettings.model_fields.items():
        yield from _setting(name, declared)


def _setting(name: str, declared: FieldInfo) -> Iterator[str]:
    yield f"**{declared.title}** (`{name}`): {declared.description}"
    measured = f" in {unit(declared)}" if unit(declared) else ""
    facts = [f"Takes {values_of(declared).words()}{measured}."]
    if not declared.is_required():
        default = shown(declared.default)
        facts.append(f"Default: {default}." if "\n" not in default else "Has a default.")
    if only(declared):
        facts.append(f"Matters only {_ONLY[only(declared)]}.")
    facts += [f"{what.capitalize()}: {words}" for what, words in effects(declared).items()]
    yield from (f"- {fact}" for fact in facts)
    yield ""


def _table(presets: dict[str, Preset]) -> Iterator[str]:
    names = list(next(iter(presets.values())).values)
    yield ""
    yield f"| name | {' | '.join(f'`{name}`' for name in names)} | |"
    yield f"|---|{'---|' * len(names)}---|"
    for preset in presets.values():
        cells = " | ".join(shown(preset.values[name]) for name in names)
        yield f"| {preset.name} | {cells} | {preset.sentence} |"


if __name__ == "__main__":
    sys.exit(main())
