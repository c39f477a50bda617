"""A profile in one encrypted file, and back: conversations, pairs, versions, ledger and key.

The file is a magic, a salt, and a sealed stream (`container`) under a key that scrypt makes of the
backup's passphrase. The stream is a line of JSON about the whole, then for each file a line with
its name and size and its bytes, then a line that ends it. Names are few and fixed, so none can
lead anywhere. Checkpoints of unfinished runs, logs and base models are left out.

Restoring reads the whole stream into a folder of another name, opens the database there, and only
then puts the folder in its place. The profile keeps its key and the keyring entry beside which
the ledger's head lies: what was spent after the backup is remembered, and counts.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xeno.errors import (
    DamagedDataError,
    FutureDataError,
    InvalidValueError,
    LockedProfileError,
    StorageFullError,
)
from xeno.paths import Home, ProfilePaths
from xeno.privacy import head
from xeno.store import beside_key, files, keys
from xeno.store.database import Database
from xeno.store.keys import AskPassphrase, ProfileKey, Protection
from xeno.store.profile import Profile, list_profiles
from xeno.versions.container import seal, unseal

_MAGIC = b"XENOBACKUP1\n"
_SALT = 32
_PIECE = 2**20
_LINE = 2**16
_DATABASE = "profile.db"
_NAMES = re.compile(r"profile\.db|versions/[0-9a-f]{64}\.xeno")
_SHORTEST = 8
Told = Callable[[float, str], None]


class _About(BaseModel):
    """The first line: what the stream holds. `ledger_head` is as it lies beside the key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    profile: str
    created: float
    key: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)
    entry: str = Field(pattern=r"^[0-9a-f]{32}$")
    ledger_head: str | None
    files: int = Field(ge=1)
    bytes: int = Field(ge=0)


class _Entry(BaseModel):
    """The line before a file's bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    size: int = Field(ge=0)


@dataclass(frozen=True)
class BackupReport:
    """What a backup holds: of which profile, made when (Unix time), how much."""

    path: Path
    profile: str
    created: float
    versions: int
    size: int


def back_up(
    profile: Profile,
    path: Path,
    passphrase: str,
    told: Told = lambda share, text: None,
) -> BackupReport:
    """Write everything of `profile` to the one file `path`, encrypted with `passphrase`.

    Args:
        told: called with the part that is done, in [0, 1], and what is being done; what it raises
            ends the backup, and `path` is as it was.

    Raises:
        InvalidValueError: a passphrase of fewer than 8 characters.
        StorageFullError: if it cannot be written; `path` is as it was.
    """
    if len(passphrase) < _SHORTEST:
        raise InvalidValueError(
            "The backup was not made.",
            f"Its passphrase has fewer than {_SHORTEST} characters.",
            "Choose a longer one; whoever guesses it reads everything.",
        )
    path = path.expanduser().absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as aside:
            told(0.0, "Copying the database")
            snapshot = Path(aside) / _DATABASE
            profile.db.copy_to(snapshot)  # encrypted under the profile's key
            about, parts = _contents(profile, snapshot)
            draft = Path(aside) / "backup"
            salt = secrets.token_bytes(_SALT)
            with draft.open("xb") as file:
                draft.chmod(0o600)
                file.write(_MAGIC + salt)
                seal(file, _stream(about, parts, told), *_key(passphrase, salt))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        files.sync_folder(path.parent)
    except OSError as error:
        raise StorageFullError(
            f"{path} could not be written.",
            f"The system says: {error.strerror or error}.",
            "Free some space, or choose a folder that you may write to.",
        ) from error
    versions = sum(name.startswith("versions/") for name in parts)
    return BackupReport(path, profile.name, about.created, versions, path.stat().st_size)


def restore(
    home: Home,
    path: Path,
    passphrase: str,
    name: str | None = None,
    *,
    replace: bool = False,
    new_passphrase: AskPassphrase | None = None,
    protection: Protection | None = None,
    told: Told = lambda share, text: None,
) -> BackupReport:
    """Make the profile in the backup at `path` a profile of `home`.

    Args:
        name: what it is called here; by default as it was.
        replace: put it in the place of the profile of this name, whose folder is moved to
            "replaced" in the home. No window or command may have that profile open.
        new_passphrase: chooses a passphrase for the profile where there is no keyring.
        protection: insist on a way to keep the profile's key.

    Raises:
        LockedProfileError: the passphrase is not right.
        DamagedDataError: any byte of the file is not as it was written, or its end is missing.
        FutureDataError: a later XENO made it.
        InvalidValueError: there is a profile of this name, or this profile under another name.
        StorageFullError: if it cannot be written. In all these cases nothing was changed.
    """
    path = path.expanduser()
    profiles = files.private_folder(home.folder / "profiles")
    aside = Path(tempfile.mkdtemp(dir=home.folder, prefix=".restore-"))
    try:
        about, versions = _unpacked(path, passphrase, aside, told)
        key, wanted = ProfileKey.from_hex(about.key), name or about.profile
        target = home.profile(wanted)
        _require_place(home, wanted, key, replace)
        told(0.9, "Opening the database")
        Database(aside / _DATABASE, key.database).close()
        for leftover in aside.glob(f"{_DATABASE}.lock"):
            leftover.unlink()
        inside = ProfilePaths(aside)
        _, description = keys.create_key(inside, new_passphrase, protection, (key, about.entry))
        keys.keep_description(inside, description)
        _keep_head(inside, target if target.folder.exists() else None, about)
        told(0.99, "Putting it in its place")
        if target.folder.exists():
            target.folder.rename(_free(home, wanted))
        aside.rename(target.folder)
        files.sync_folder(profiles)
    except OSError as error:
        raise StorageFullError(
            "The backup was not restored.",
            f"The system says: {error.strerror or error}.",
            "Free some space, and check that you may write to XENO's folder.",
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return BackupReport(path, wanted, about.created, versions, path.stat().st_size)


# Writing ----------------------------------------------------------------------------------


def _contents(profile: Profile, snapshot: Path) -> tuple[_About, dict[str, Path]]:
    """What is stored under which name."""
    parts = {_DATABASE: snapshot}
    for path in sorted(profile.paths.versions.glob("*.xeno")):
        name = f"versions/{path.name}"
        if path.is_file() and _NAMES.fullmatch(name):
            parts[name] = path
    description = keys.describe(profile.paths)
    about = _About(
        format=1,
        profile=profile.name,
        created=time.time(),
        key=profile.key.hex(),
        entry=description.entry,
        ledger_head=beside_key.kept(profile.paths, head.NAME),
        files=len(parts),
        bytes=sum(path.stat().st_size for path in parts.values()),
    )
    return about, parts


def _stream(about: _About, parts: dict[str, Path], told: Told) -> Iterator[bytes]:
    done = 0
    yield about.model_dump_json().encode() + b"\n"
    for name, path in parts.items():
        size = path.stat().st_size
        yield _Entry(name=name, size=size).model_dump_json().encode() + b"\n"
        with path.open("rb") as file:
            for piece in _pieces(file, size):
                done += len(piece)
                told(done / max(about.bytes, 1), "Writing the backup")
                yield piece
    yield b"end\n"


def _pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Exactly `size` bytes: a file that changes meanwhile must not shift what follows."""
    left = size
    while left:
        piece = file.read(min(left, _PIECE))
        if not piece:
            raise OSError("a file of the profile became shorter meanwhile")
        left -= len(piece)
        yield piece


def _key(passphrase: str, salt: bytes) -> tuple[bytes, bytes]:
    """The key of a backup, and what it is bound to."""
    return keys.stretched(passphrase, salt), _MAGIC + salt


# Reading ----------------------------------------------------------------------------------


class _Reader:
    """Lines and bytes out of a sealed stream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._held = pieces, bytearray()

    def line(self) -> bytes:
        while (end := self._held.find(b"\n")) < 0 and len(self._held) <= _LINE:
            if not self._more():
                break
        if not 0 <= end <= _LINE:
            raise _damaged("A line of it does not end.")
        found = bytes(self._held[:end])
        del self._held[: end + 1]
        return found

    def take(self, size: int) -> Iterator[bytes]:
        left = size
        while left:
            if not self._held and not self._more():
                raise _damaged("It ends too early.")
            piece = bytes(self._held[:left])
            del self._held[:left]
            left -= len(piece)
            yield piece

    def ended(self) -> bool:
        return not self._held and not self._more()

    def _more(self) -> bool:
        piece = next(self._pieces, None)
        self._held += piece or b""
        return piece is not None


def _unpacked(path: Path, passphrase: str, folder: Path, told: Told) -> tuple[_About, int]:
    """Write the files of a backup into `folder`: what it says of itself, and its versions."""
    with _opened(path) as file:
        magic = file.read(len(_MAGIC))
        salt = file.read(_SALT)
        if magic != _MAGIC or len(salt) < _SALT:
            if magic.startswith(b"XENOBACKUP") and magic != _MAGIC:
                raise FutureDataError(
                    f"{path.name} was made by a later XENO.", "Its format is new.", "Update XENO."
                )
            raise _damaged("It is no backup of XENO's, or is cut off.")
        told(0.0, "Opening the backup")
        reader = _Reader(unseal(file, *_key(passphrase, salt)))
        about = _about(reader, path)
        versions = done = 0
        seen: set[str] = set()
        for _ in range(about.files):
            entry = _entry(reader.line())
            if not _NAMES.fullmatch(entry.name) or entry.name in seen:
                raise _damaged(f"It names a file {entry.name[:80]!r}.")
            seen.add(entry.name)
            versions += entry.name.startswith("versions/")
            target = folder / entry.name
            files.private_folder(target.parent)
            with target.open("xb") as out:
                target.chmod(0o600)
                for piece in reader.take(entry.size):
                    out.write(piece)
                    done += len(piece)
                    told(0.9 * min(1.0, done / max(about.bytes, 1)), "Reading the backup")
                out.flush()
                os.fsync(out.fileno())
        if reader.line() != b"end" or not reader.ended() or _DATABASE not in seen:
            raise _damaged("It does not end as it should.")
    return about, versions


def _opened(path: Path) -> BinaryIO:
    try:
        if not path.is_file():
            raise InvalidValueError(f"There is no file {path}.", "", "Check the path.")
        return path.open("rb")
    except OSError as error:
        raise InvalidValueError(
            f"{path} cannot be read.", str(error.strerror or error), "Check its permissions."
        ) from error


def _about(reader: _Reader, path: Path) -> _About:
    try:
        line = reader.line()
    except DamagedDataError as error:
        raise LockedProfileError(
            f"{path.name} does not open.",
            "The passphrase is not right, or the beginning of the file was changed.",
            "Try again; upper and lower case matter.",
        ) from error
    try:
        about = _About.model_validate_json(line)
    except ValidationError as error:
        raise _damaged("What it says of itself cannot be read.") from error
    if about.format != 1:
        raise FutureDataError(
            f"{path.name} was made by a later XENO.",
            f"Its format is {about.format}; this XENO knows format 1.",
            "Update XENO.",
        )
    return about


def _entry(line: bytes) -> _Entry:
    try:
        return _Entry.model_validate_json(line)
    except ValidationError as error:
        raise _damaged("What it says of a file cannot be read.") from error


def _require_place(home: Home, name: str, key: ProfileKey, replace: bool) -> None:
    check = keys.check_value(key)
    for known in list_profiles(home):
        if known != name and keys.describe(home.profile(known)).check == check:
            raise InvalidValueError(
                "The backup was not restored.",
                f"This profile is here already, as {known!r}; a second copy would not know what "
                "the first one spends of the privacy budget.",
                f"Restore it as {known!r}, or into another home.",
            )
    paths = home.profile(name)
    if not paths.folder.exists():
        return
    if not replace:
        raise InvalidValueError(
            "The backup was not restored.",
            f"There is a profile {name!r} here.",
            "Replace it, which keeps the old one beside it, or give the restored one another name.",
        )
    if keys.describe(paths).check != check:
        raise InvalidValueError(
            "The backup was not restored.",
            f"The profile {name!r} here is another one than the backup's.",
            "Give the restored one another name.",
        )


def _keep_head(inside: ProfilePaths, replaced: ProfilePaths | None, about: _About) -> None:
    """Keep the latest head of the ledger that is known: of the profile that is replaced, of the
    keyring, or else the backup's. The next look into the ledger compares it with the entries."""
    known = beside_key.kept(replaced, head.NAME) if replaced is not None else None
    text = known or beside_key.kept(inside, head.NAME) or about.ledger_head
    if text is not None:
        beside_key.keep(inside, head.NAME, text)


def _free(home: Home, name: str) -> Path:
    """Where the folder of a replaced profile goes."""
    folder = files.private_folder(home.folder / "replaced")
    return folder / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def _damaged(why: str) -> DamagedDataError:
    return DamagedDataError(
        "The backup cannot be used; nothing was changed.", why, "Use another backup."
    )
