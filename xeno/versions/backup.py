"""A profile in one encrypted file, and back: conversations, pairs, versions, ledger and key.

Checkpoints of unfinished runs, logs and base models are left out; `backup_file` says how the rest
stands in the file.

Restoring reads the whole stream into a folder of another name, opens the database there, and only
then puts the folder in its place. The profile keeps its key and the keyring entry beside which
the ledger's head lies: what was spent after the backup is remembered, and counts.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from xeno.errors import InvalidValueError, StorageFullError
from xeno.paths import Home, ProfilePaths
from xeno.privacy import head
from xeno.store import beside_key, files, keys
from xeno.store.database import Database
from xeno.store.keys import AskPassphrase, ProfileKey, Protection
from xeno.store.profile import Profile, list_profiles
from xeno.versions.backup_file import DATABASE, About, Told, known_name, unpack, write

_SHORTEST = 8  # characters of a passphrase


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
            snapshot = Path(aside) / DATABASE
            profile.db.copy_to(snapshot)  # encrypted under the profile's key
            about, parts = _contents(profile, snapshot)
            draft = Path(aside) / "backup"
            with draft.open("xb") as file:
                draft.chmod(0o600)
                write(file, about, parts, passphrase, told)
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
        about, versions = unpack(path, passphrase, aside, told)
        key, wanted = ProfileKey.from_hex(about.key), name or about.profile
        target = home.profile(wanted)
        _require_place(home, wanted, key, replace)
        told(0.9, "Opening the database")
        Database(aside / DATABASE, key.database).close()
        for leftover in aside.glob(f"{DATABASE}.lock"):
            leftover.unlink()
        inside = ProfilePaths(aside)
        _, description = keys.create_key(inside, new_passphrase, protection, (key, about.entry))
        keys.keep_description(inside, description)
        _keep_head(inside, target if target.folder.exists() else None, about)
        told(0.99, "Putting it in its place")
        _put(aside, target.folder, _free(home, wanted) if replace else None)
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


def _contents(profile: Profile, snapshot: Path) -> tuple[About, dict[str, Path]]:
    """What is stored under which name."""
    parts = {DATABASE: snapshot}
    for path in sorted(profile.paths.versions.glob("*.xeno")):
        name = f"versions/{path.name}"
        if path.is_file() and known_name(name):
            parts[name] = path
    description = keys.describe(profile.paths)
    about = About(
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
    if files.held(paths.training_lock):
        raise InvalidValueError(
            "The backup was not restored.",
            f"A run of the profile {name!r} is going on.",
            "Wait for its end, or stop it, and close XENO.",
        )
    if keys.describe(paths).check != check:
        raise InvalidValueError(
            "The backup was not restored.",
            f"The profile {name!r} here is another one than the backup's.",
            "Give the restored one another name.",
        )


def _keep_head(inside: ProfilePaths, replaced: ProfilePaths | None, about: About) -> None:
    """Keep the latest head of the ledger that is known: of the profile that is replaced, of the
    keyring, or else the backup's. The next look into the ledger compares it with the entries."""
    known = beside_key.kept(replaced, head.NAME) if replaced is not None else None
    text = known or beside_key.kept(inside, head.NAME) or about.ledger_head
    if text is not None:
        beside_key.keep(inside, head.NAME, text)


def _put(made: Path, place: Path, free: Path | None) -> None:
    """Move the folder `made` to `place`, and what is there to `free`; all or nothing.

    Raises:
        OSError: if it cannot be moved, or something came to be there meanwhile and `free` is None.
    """
    replaced = free is not None and place.exists()
    if replaced:
        assert free is not None
        place.rename(free)
    try:
        made.rename(place)  # fails where a folder with anything in it is there
    except OSError:
        if replaced:
            assert free is not None
            free.rename(place)
        raise


def _free(home: Home, name: str) -> Path:
    """Where the folder of a replaced profile goes."""
    folder = files.private_folder(home.folder / "replaced")
    return folder / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
