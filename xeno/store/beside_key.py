"""Short texts kept where the profile's key is kept: in the keyring, or in a file beside it.

What lies in the keyring is not in a backup of the profile's folder, so that it remembers what
a restored backup has forgotten.
"""

from __future__ import annotations

from xeno.errors import LockedProfileError
from xeno.paths import ProfilePaths
from xeno.store import files, keys

_SECONDS = 30.0


def keep(paths: ProfilePaths, name: str, text: str) -> None:
    """Keep `text` (at most about 1,200 characters: Windows' limit) under `name`.

    Raises:
        LockedProfileError: if the keyring does not take it.
        StorageFullError: if the file cannot be written.
    """
    description = keys.describe(paths)
    if description.protection != "keyring":
        files.write_atomic(paths.folder / name, text.encode("ascii"))
    elif not keys.put_in_keyring(f"{description.entry}.{name}", text, _SECONDS):
        raise _no_answer()


def kept(paths: ProfilePaths, name: str) -> str | None:
    """What was kept under `name`; None if nothing was.

    Raises:
        LockedProfileError: if the keyring does not answer, or the file cannot be read.
    """
    description = keys.describe(paths)
    if description.protection != "keyring":
        path = paths.folder / name
        try:
            return path.read_bytes().decode("ascii", "replace") if path.exists() else None
        except OSError as error:
            raise LockedProfileError(
                f"{path} cannot be read.",
                f"The system says: {error.strerror or error}.",
                "Check the permissions of the profile's folder.",
            ) from error
    answer = keys.get_from_keyring(f"{description.entry}.{name}", _SECONDS)
    if answer is None:
        raise _no_answer()
    return answer or None


def _no_answer() -> LockedProfileError:
    return LockedProfileError(
        "The system keyring did not answer.",
        "It is locked, or it waits for an answer in a window of its own.",
        "Unlock it, and try again.",
    )
