"""Plans from outside: YAML files in and out, KEY=VALUE assignments, and what is wrong with them.

A file names settings and nothing else, so it means the same on every machine. The base model is
left out unless asked for: its folder is a path of one machine, and where a file does not name
it, the profile's own base is used. Pairs are never part of a plan.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from xeno.errors import InvalidValueError
from xeno.store.files import write_atomic
from xeno.training.plan import SECTIONS, TrainingPlan
from xeno.training.settings.values import values_of

_LARGEST = 2**20
_AUTOMATIC = {"auto", "automatic", "none", "null", ""}
_SEE = "See 'xeno settings list' for all of them."


def checked(values: Mapping[str, Any]) -> TrainingPlan:
    """The plan with these `values`; all others have their defaults.

    Raises:
        InvalidValueError: naming the setting, what is wrong with it and which values it takes, or
            the nearest setting where there is none of that name.
    """
    known_only(values)
    try:
        return TrainingPlan.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        declared = TrainingPlan.model_fields.get(name)
        if declared is None:
            raise InvalidValueError("The plan cannot be used.", f"{first['msg']}.", _SEE) from error
        raise InvalidValueError(
            f"The setting {name!r} cannot be {_brief(values.get(name))}.",
            f"{first['msg']}.",
            f"{declared.title!r} takes {values_of(declared).words()}.",
        ) from error


def known_only(names: Iterable[str]) -> None:
    """Raise InvalidValueError for the first of `names` that is no setting."""
    for name in names:
        if name not in TrainingPlan.model_fields:
            near = nearest(str(name))
            raise InvalidValueError(
                f"There is no setting {str(name)[:80]!r}.",
                f"The nearest is {near!r}." if near else "",
                _SEE,
            )


def nearest(name: str) -> str | None:
    """The setting whose name or title is most like `name`."""
    settings = TrainingPlan.model_fields
    known = {(declared.title or "").lower(): key for key, declared in settings.items()}
    known |= {key.replace("_", " "): key for key in settings}
    wanted = name.strip().lower().replace("_", " ").replace("-", " ")
    found = difflib.get_close_matches(wanted, known, 1, 0.5)
    return known[found[0]] if found else None


def assignments(texts: Iterable[str]) -> dict[str, Any]:
    """The values of KEY=VALUE `texts`; "auto" and "none" are None where a setting may be that.

    Raises:
        InvalidValueError: a text without "=", or an unknown key.
    """
    values: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise InvalidValueError(
                f"{text!r} is not KEY=VALUE.", "", "Write for example --set epochs=3."
            )
        name = key.strip().replace("-", "_")
        known_only([name])
        values[name] = _typed(value.strip(), TrainingPlan.model_fields[name])
    return values


def read(path: Path) -> dict[str, Any]:
    """The values in the YAML file at `path`, names checked.

    Raises:
        InvalidValueError: if it cannot be read, is no list of settings, or names one twice.
    """
    import yaml

    try:
        if path.stat().st_size > _LARGEST:
            raise _unreadable(path, "It is larger than 1 MB.")
        found = yaml.load(path.read_text("utf-8"), Loader=_loader())
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(path, f"{error}.") from error
    except yaml.YAMLError as error:
        raise _unreadable(path, f"It is not valid YAML: {str(error).splitlines()[0]}.") from error
    if not isinstance(found, dict):
        raise _unreadable(path, "It does not hold settings in the form 'name: value'.")
    known_only(found)
    for name, value in found.items():
        if not isinstance(value, str | int | float | bool | None):
            raise _unreadable(path, f"The setting {name!r} is not a single value.")
    return found


def text(plan: TrainingPlan, *, with_base: bool = False, changed_only: bool = False) -> str:
    """`plan` as YAML, one section after the other.

    Args:
        with_base: name the folder of the base as well.
        changed_only: only the settings that differ from their defaults.
    """
    import yaml

    parts = ["# A XENO training plan. Use it: xeno train --plan FILE"]
    for title, family in SECTIONS.items():
        values = {
            name: getattr(plan, name)
            for name, declared in family.model_fields.items()
            if (with_base if name == "base" else True)
            and not (changed_only and getattr(plan, name) == declared.default)
        }
        if values:
            lines = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)
            parts.append(f"# {title}\n{lines.rstrip()}")
    return "\n\n".join(parts) + "\n"


def write(plan: TrainingPlan, path: Path, *, with_base: bool = False) -> None:
    """Write `plan` to `path`.

    Raises:
        StorageFullError, InvalidValueError: if it cannot be written there.
    """
    try:
        write_atomic(path, text(plan, with_base=with_base).encode())
    except OSError as error:
        raise InvalidValueError(
            f"{path} cannot be written.", f"{error}.", "Choose another place."
        ) from error


def _typed(value: str, declared: FieldInfo) -> Any:
    """`value` as pydantic takes it: words for "automatic", or the text itself."""
    takes = values_of(declared)
    if takes.kind is tuple:
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if value.lower() in _AUTOMATIC and takes.optional:
        return None
    if value.lower() in _AUTOMATIC and "auto" in takes.choices:
        return "auto"
    return value


def _loader() -> Any:
    """PyYAML's safe loader, which makes plain values only; a name that stands twice is an error
    rather than the last one winning."""
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            names = [self.construct_object(key, deep=True) for key, _ in node.value]
            for name in names:
                if names.count(name) > 1:
                    raise yaml.YAMLError(f"{name!r} stands in it twice")
            return super().construct_mapping(node, deep)

    return Loader


def _unreadable(path: Path, why: str) -> InvalidValueError:
    return InvalidValueError(
        f"{path} is not a plan.", why, "Make one with 'xeno settings export FILE'."
    )


def _brief(value: object) -> str:
    return repr(value if isinstance(value, int | float | bool | None) else str(value)[:60])
