"""How a setting is declared: what it means, in which range, and what it changes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from pydantic.fields import FieldInfo

Only = Literal["", "private", "plain"]


def setting(
    default: Any,
    title: str,
    description: str,
    *,
    unit: str = "",
    memory: str = "",
    quality: str = "",
    privacy: str = "",
    only: Only = "",
    **bounds: float,
) -> Any:
    """A field of the plan.

    Args:
        description: its meaning in a sentence or two.
        unit: of its value; empty where it has none.
        memory, quality, privacy: what a larger value (or a choice) does to each, in a sentence;
            empty where it does nothing.
        only: "private" or "plain" where it matters only with or without differential privacy.
        bounds: `ge`, `gt`, `le`, `lt`.
    """
    effects = {"memory": memory, "quality": quality, "privacy": privacy}
    extra: dict[str, Any] = {"unit": unit, "effects": effects, "only": only}
    return Field(  # type: ignore[call-overload]
        default=default, title=title, description=description, json_schema_extra=extra, **bounds
    )


def unit(declared: FieldInfo) -> str:
    """The unit of a setting's value; empty where it has none."""
    return str(_extra(declared).get("unit", ""))


def effects(declared: FieldInfo) -> dict[str, str]:
    """What a setting does to "memory", "quality" and "privacy"; only what it does change."""
    found: dict[str, str] = _extra(declared).get("effects", {})
    return {name: text for name, text in found.items() if text}


def only(declared: FieldInfo) -> Only:
    """With which kind of run a setting matters; empty where with both."""
    found: Only = _extra(declared).get("only", "")
    return found


def _extra(declared: FieldInfo) -> dict[str, Any]:
    extra = declared.json_schema_extra
    return dict(extra) if isinstance(extra, dict) else {}
