"""Where XENO keeps its files: one home, one folder per profile."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from xeno.errors import InvalidValueError

_PROFILE_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


def default_home() -> Path:
    """`XENO_HOME` if it is set, otherwise the platform's data folder for XENO."""
    configured = os.environ.get("XENO_HOME")
    if configured:
        return Path(configured).expanduser().resolve()
    return Path(platformdirs.user_data_path("xeno", appauthor=False))


@dataclass(frozen=True)
class ProfilePaths:
    """The files of one profile; nothing of one profile lies outside its folder."""

    folder: Path

    @property
    def database(self) -> Path:
        return self.folder / "profile.db"

    @property
    def key_description(self) -> Path:
        return self.folder / "key.json"

    @property
    def key_file(self) -> Path:
        return self.folder / "profile.key"

    @property
    def versions(self) -> Path:
        return self.folder / "versions"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def training_lock(self) -> Path:
        """Held by the trainer of the profile's run, for as long as that process lives."""
        return self.folder / "training.lock"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"


@dataclass(frozen=True)
class Home:
    """The folder that holds all profiles, and what they share."""

    folder: Path

    @classmethod
    def at(cls, folder: str | os.PathLike[str] | None = None) -> Home:
        """The home at `folder`, or the default one."""
        return cls(Path(folder).expanduser().resolve() if folder else default_home())

    def profile(self, name: str) -> ProfilePaths:
        """The paths of the profile `name`.

        Raises:
            InvalidValueError: if the name could leave the home or is not portable.
        """
        if not _PROFILE_NAME.fullmatch(name) or ".." in name:
            raise InvalidValueError(
                f"{name!r} cannot be a profile name.",
                "Profile names are folders: lower-case letters, digits, '.', '_' and '-', "
                "at most 64, beginning with a letter or digit.",
                "Choose another name, for example 'john_doe'.",
            )
        return ProfilePaths(self.folder / "profiles" / name)

    @property
    def machine(self) -> Path:
        """Facts about this machine that hold no content: probe results, base-model hashes."""
        return self.folder / "machine.json"

    @property
    def queue(self) -> Path:
        """The machine's queue of training runs; it holds no content."""
        return self.folder / "queue.db"
