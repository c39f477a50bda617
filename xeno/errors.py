"""Errors that a user can read: what happened, why, and what to do next.

`XenoError` is for what the user can mend. Anything else that escapes is our bug,
and is shown as one.
"""

from __future__ import annotations


class XenoError(Exception):
    """A failure explained to the user.

    Args:
        what: what failed, one sentence.
        why: the cause, one sentence.
        todo: what the user can do next, one sentence.

    Attributes:
        can_pass: whether trying the same again later, with nothing else changed, can succeed.
    """

    can_pass = False

    def __init__(self, what: str, why: str = "", todo: str = "") -> None:
        super().__init__(what, why, todo)
        self.what = what
        self.why = why
        self.todo = todo

    def __str__(self) -> str:
        return " ".join(part for part in (self.what, self.why, self.todo) if part)


class InvalidValueError(XenoError, ValueError):
    """A value that is not allowed: an unknown key, a number out of range, a malformed file."""


class LockedProfileError(XenoError):
    """The profile's key is missing, wrong, or cannot be asked for here."""


class DamagedDataError(XenoError):
    """Stored bytes do not match what was written: a corrupt database, a changed adapter."""


class FutureDataError(XenoError):
    """The data was written by a later XENO than this one."""


class StorageFullError(XenoError):
    """The disk is full, or cannot be written or read now; nothing was changed."""

    can_pass = True


class MemoryFullError(XenoError):
    """There is not enough memory for what was asked for."""

    can_pass = True


class PausedTooLongError(XenoError):
    """A run waited for the machine to become fit for it, longer than its plan allows."""

    can_pass = True


class RunGoingOnError(XenoError):
    """Another run of the same profile waits or runs."""

    can_pass = True


class BaseModelError(XenoError):
    """A base-model folder that cannot be used, found before anything is loaded."""


class BudgetError(XenoError):
    """The privacy budget does not allow what was asked for."""


class ChildError(XenoError):
    """A child process ended or failed before it did its work."""


class StoppedError(ChildError):
    """A child process was asked to end before it did its work."""


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` is Python's or torch's way to say that memory is used up."""
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)
