"""A profile: one folder with its own key, its own database and its own versions."""

from __future__ import annotations

import json
from typing import Any

from xeno.errors import DamagedDataError, InvalidValueError, LockedProfileError
from xeno.paths import Home, ProfilePaths
from xeno.store import files, keys
from xeno.store.database import Database
from xeno.store.keys import AskPassphrase, ProfileKey, Protection


class Profile:
    """An unlocked profile. Usable from any thread; a context manager that closes itself."""

    def __init__(
        self, home: Home, name: str, key: ProfileKey, protection: Protection, db: Database
    ) -> None:
        self.home = home
        self.name = name
        self.paths: ProfilePaths = home.profile(name)
        self.key = key
        self.protection = protection
        self.db = db

    def setting(self, key: str, default: Any = None) -> Any:
        """The stored JSON value of `key`, or `default`."""
        row = self.db.one("SELECT value FROM settings WHERE key = ?", (key,))
        return default if row is None else json.loads(row["value"])

    def set_setting(self, key: str, value: Any) -> None:
        """Store `value` (anything JSON can hold) under `key`."""
        with self.db.transaction() as connection:
            connection.execute(
                "INSERT INTO settings (key, value) VALUES (?, ?) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (key, json.dumps(value)),
            )

    def close(self) -> None:
        """Close the database. A second call does nothing."""
        self.db.close()

    def __enter__(self) -> Profile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_profile(
    home: Home,
    name: str = "default",
    *,
    passphrase: AskPassphrase | None = None,
    key: ProfileKey | None = None,
    create: bool = True,
    protection: Protection | None = None,
) -> Profile:
    """Open the profile `name`, and make it if it is not there.

    Args:
        passphrase: called with True to choose a passphrase, with False to ask for it. Without
            it nothing is ever asked, and a machine without a keyring gets a key file.
        key: the key, where a parent process has already unlocked the profile. Never creates.
        create: make the profile if there is none.
        protection: insist on a way to keep a created profile's key.

    Raises:
        InvalidValueError: the name cannot be a profile's, or there is none and `create` is off.
        LockedProfileError: the key is missing, wrong, or cannot be asked for here.
        DamagedDataError, FutureDataError, StorageFullError: see `Database`.
    """
    paths = home.profile(name)
    if not _exists(paths):
        if key is not None or not create:
            known = ", ".join(list_profiles(home)) or "none"
            raise InvalidValueError(
                f"There is no profile {name!r}.",
                f"The profiles here are: {known}.",
                "Use one of these, or start XENO once to make it.",
            )
        files.private_folder(paths.folder)
        with files.locked(paths.folder / "key.lock"):
            if not _exists(paths):  # another process may have made it meanwhile
                key, description = keys.create_key(paths, passphrase, protection)
                Database(paths.database, key.database).close()
                keys.keep_description(paths, description)
    key, kept = keys.open_key(paths, passphrase, key)
    if not paths.database.exists():
        raise DamagedDataError(
            f"{paths.database.name} of the profile {name!r} is gone.",
            f"The profile's folder {paths.folder} has its key and not its data.",
            "Restore the profile from a backup, or delete the folder to begin anew.",
        )
    try:
        database = Database(paths.database, key.database)
    except LockedProfileError as error:
        # The key has passed key.json's check: what does not fit is the file.
        raise DamagedDataError(
            f"{paths.database.name} of the profile {name!r} is damaged.",
            "The key is the right one, but the beginning of the file is not what XENO wrote.",
            "Restore the profile from a backup; the damaged file is left as it is.",
        ) from error
    return Profile(home, name, key, kept, database)


def list_profiles(home: Home) -> list[str]:
    """The names of all profiles under `home`, sorted."""
    folder = home.folder / "profiles"
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if (entry / "key.json").is_file())


def _exists(paths: ProfilePaths) -> bool:
    return paths.key_description.exists() or paths.database.exists()
