"""The key of a profile: where it is kept, and the subkeys that follow from it.

One random master key of 32 bytes per profile. It lies in the system keyring; where there
is none, wrapped by a passphrase; where there is nobody to ask, in a file that only its
owner can read. `key.json` beside the database says which, and holds a check value, so that
a wrong key is found before anything is opened with it.

Subkeys: HKDF-SHA256 (RFC 5869). Passphrase: scrypt (RFC 7914), then AES-256-GCM.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xeno.errors import DamagedDataError, FutureDataError, InvalidValueError, LockedProfileError
from xeno.paths import ProfilePaths
from xeno.store import files

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from keyring.backend import KeyringBackend

Protection = Literal["keyring", "passphrase", "file"]
AskPassphrase = Callable[[bool], str]
"""Asks for the passphrase; the argument says whether one is being chosen."""

_SERVICE = "xeno"
_WRAPPING = b"xeno profile key"
# A keyring may show a dialog of its own. Creation only asks whether somebody is there;
# opening leaves time to type the login password.
_CREATE_SECONDS = 10.0
_OPEN_SECONDS = 60.0

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class ProfileKey:
    """The master key of a profile (32 bytes) and what is derived from it."""

    master: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.master) != 32:
            raise InvalidValueError("A profile key has 32 bytes.", f"Got {len(self.master)}.")

    @classmethod
    def generate(cls) -> ProfileKey:
        """A fresh key from the system's random source."""
        return cls(secrets.token_bytes(32))

    @classmethod
    def from_hex(cls, text: str) -> ProfileKey:
        """The key written by `hex`. Raises InvalidValueError if `text` is none."""
        try:
            return cls(bytes.fromhex(text.strip()))
        except ValueError as error:
            raise InvalidValueError(
                "This is not a profile key.", "A profile key is 64 hexadecimal digits."
            ) from error

    def hex(self) -> str:
        """The master key as 64 hexadecimal digits."""
        return self.master.hex()

    def subkey(self, purpose: str) -> bytes:
        """32 bytes for `purpose`; different purposes give independent keys."""
        extracted = hmac.digest(b"xeno", self.master, hashlib.sha256)
        return hmac.digest(extracted, purpose.encode() + b"\x01", hashlib.sha256)

    @cached_property
    def database(self) -> bytes:
        """The key of the database."""
        return self.subkey("database")

    @cached_property
    def adapters(self) -> bytes:
        """The key of the adapter files."""
        return self.subkey("adapters")

    @cached_property
    def signing(self) -> Ed25519PrivateKey:
        """The key that signs manifests."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self.subkey("signing"))


class KeyDescription(BaseModel):
    """`key.json`: how the key is protected. Holds nothing that opens the profile by itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    protection: Protection
    entry: str = Field(pattern=r"^[0-9a-f]{32}$")
    check: str = Field(pattern=r"^[0-9a-f]{64}$")
    salt: str = Field(default="", pattern=r"^([0-9a-f]{32})?$")
    scrypt_n: int = Field(default=2**16, ge=2**14, le=2**20)
    scrypt_r: int = Field(default=8, ge=1, le=16)
    scrypt_p: int = Field(default=1, ge=1, le=16)
    wrapped: str = Field(default="", pattern=r"^([0-9a-f]{120})?$")


def create_key(
    paths: ProfilePaths,
    passphrase: AskPassphrase | None,
    wanted: Protection | None = None,
    restored: tuple[ProfileKey, str] | None = None,
) -> tuple[ProfileKey, KeyDescription]:
    """Make a profile's key and put it away, in the keyring if one answers.

    The description is for `keep_description`, once what the key opens is there.

    Args:
        paths: the profile's files; its folder must be there.
        passphrase: called with True to choose a passphrase where there is no keyring.
        wanted: insist on this protection instead of the best one that works.
        restored: the key and the entry of a profile that comes out of a backup. Under the same
            entry the keyring may still know what the profile's ledger said last.
    """
    key, entry = restored or (ProfileKey.generate(), secrets.token_hex(16))
    description = KeyDescription(protection="file", entry=entry, check=check_value(key))
    if wanted in (None, "keyring") and put_in_keyring(
        description.entry, key.hex(), _CREATE_SECONDS
    ):
        description = description.model_copy(update={"protection": "keyring"})
    elif wanted == "keyring":
        raise _no_keyring("The profile's key could not be put in the system keyring.")
    elif wanted in (None, "passphrase") and passphrase is not None:
        description = _wrap(description, key, passphrase(True))
    elif wanted == "passphrase":
        raise LockedProfileError(
            "The profile was not made.",
            "A passphrase was wanted, and there is nobody to choose one here.",
            "Start XENO in a window or a terminal.",
        )
    else:
        files.write_atomic(paths.key_file, key.hex().encode() + b"\n")
    return key, description


def keep_description(paths: ProfilePaths, description: KeyDescription) -> None:
    """Write `key.json`; from now on the profile counts as made."""
    files.write_atomic(paths.key_description, description.model_dump_json(indent=1).encode())


def open_key(
    paths: ProfilePaths, passphrase: AskPassphrase | None, key: ProfileKey | None = None
) -> tuple[ProfileKey, Protection]:
    """The key of an existing profile; a `key` that is already known is only checked.

    Raises:
        LockedProfileError: the key is missing, wrong, or cannot be asked for here.
        DamagedDataError: `key.json` is not what XENO wrote.
    """
    description = describe(paths)
    if key is None:
        if description.protection == "keyring":
            key = _from_keyring(description.entry)
        elif description.protection == "passphrase":
            key = _unwrap(description, passphrase)
        else:
            key = _from_file(paths)
    if not hmac.compare_digest(check_value(key), description.check):
        raise LockedProfileError(
            f"The key does not belong to the profile in {paths.folder.name!r}.",
            f"The profile's {description.protection} holds another key.",
            "Put the profile's own key back, or restore the profile from a backup.",
        )
    return key, description.protection


def describe(paths: ProfilePaths) -> KeyDescription:
    """How the profile's key is kept. Raises as `open_key` does where `key.json` is no good."""
    try:
        content = paths.key_description.read_bytes()
    except OSError as error:
        raise LockedProfileError(
            f"The profile in {paths.folder.name!r} has no readable key.json.",
            f"The system says: {error.strerror or error}.",
            "Restore key.json from a backup of the profile's folder, or delete the folder if "
            "the profile was never used.",
        ) from error
    try:
        description = KeyDescription.model_validate_json(content)
    except ValidationError as error:
        raise DamagedDataError(
            f"key.json of the profile in {paths.folder.name!r} is damaged.",
            f"It has {error.error_count()} wrong or missing values.",
            "Restore key.json from a backup of the profile's folder.",
        ) from error
    if description.format != 1:
        raise FutureDataError(
            "key.json was written by a later XENO.",
            f"Its format is {description.format}; this XENO knows format 1.",
            "Update XENO.",
        )
    return description


def check_value(key: ProfileKey) -> str:
    """What `key.json` holds to know the right key by."""
    return key.subkey("check").hex()


# Key file ---------------------------------------------------------------------------------


def _from_file(paths: ProfilePaths) -> ProfileKey:
    try:
        if os.name == "posix":
            paths.key_file.chmod(0o600)  # a copy made by hand may be readable by others
        return ProfileKey.from_hex(paths.key_file.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise LockedProfileError(
            f"The key file {paths.key_file.name} is missing or not a key.",
            f"It should be {paths.key_file}.",
            "Put the profile's key file back; without it the profile cannot be opened.",
        ) from error


# Passphrase -------------------------------------------------------------------------------


def stretched(text: str, salt: bytes, n: int = 2**16, r: int = 8, p: int = 1) -> bytes:
    """32 bytes from a passphrase by scrypt; with these numbers it takes 64 MB and 0.2 s."""
    return hashlib.scrypt(
        text.encode("utf-8", "surrogatepass"),
        salt=salt,
        n=n,
        r=r,
        p=p,
        maxmem=256 * n * r,
        dklen=32,
    )


def _derive(description: KeyDescription, text: str) -> bytes:
    n, r, p = description.scrypt_n, description.scrypt_r, description.scrypt_p
    return stretched(text, bytes.fromhex(description.salt), n, r, p)


def _wrap(description: KeyDescription, key: ProfileKey, text: str) -> KeyDescription:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if not text:
        raise LockedProfileError(
            "The profile was not made.",
            "There is no system keyring here, and no passphrase was chosen.",
            "Choose a passphrase; it is needed to open the profile again.",
        )
    description = description.model_copy(
        update={"protection": "passphrase", "salt": secrets.token_hex(16)}
    )
    nonce = secrets.token_bytes(12)
    sealed = AESGCM(_derive(description, text)).encrypt(nonce, key.master, _WRAPPING)
    return description.model_copy(update={"wrapped": (nonce + sealed).hex()})


def _unwrap(description: KeyDescription, passphrase: AskPassphrase | None) -> ProfileKey:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if passphrase is None:
        raise LockedProfileError(
            "The profile is protected by a passphrase.",
            "There is nobody to ask for it here.",
            "Open it in the window or in a terminal.",
        )
    sealed = bytes.fromhex(description.wrapped)
    try:
        return ProfileKey(
            AESGCM(_derive(description, passphrase(False))).decrypt(
                sealed[:12], sealed[12:], _WRAPPING
            )
        )
    except InvalidTag as error:
        raise LockedProfileError(
            "The passphrase is not right.",
            "The profile's key cannot be opened with it.",
            "Try again; upper and lower case matter.",
        ) from error


# System keyring ---------------------------------------------------------------------------


def put_in_keyring(entry: str, text: str, seconds: float) -> bool:
    """Whether a keyring took `text` under `entry` and gives it back."""

    def keep(backend: KeyringBackend) -> bool:
        backend.set_password(_SERVICE, entry, text)
        return backend.get_password(_SERVICE, entry) == text

    return bool(_asked(keep, seconds))


def get_from_keyring(entry: str, seconds: float) -> str | None:
    """What the keyring holds under `entry`, empty if nothing; None if it does not answer."""
    return _asked(lambda backend: backend.get_password(_SERVICE, entry) or "", seconds)


def _from_keyring(entry: str) -> ProfileKey:
    stored = get_from_keyring(entry, _OPEN_SECONDS)
    if not stored:
        raise _no_keyring("The profile's key is not in the system keyring, or it did not answer.")
    return ProfileKey.from_hex(stored)


def _no_keyring(what: str) -> LockedProfileError:
    return LockedProfileError(
        what,
        "The keyring is locked, missing, or belongs to another user or machine.",
        "Unlock the keyring of the account that made the profile, and try again.",
    )


def _asked(question: Callable[[KeyringBackend], _Answer], seconds: float) -> _Answer | None:
    """The keyring's answer, or None where there is no real keyring or it does not answer.

    A keyring can wait for ever (a dialog on a screen that nobody sees), so it is asked in a
    daemon thread that is left behind after `seconds`.
    """
    answers: list[_Answer] = []

    def ask() -> None:
        try:
            backend = _real_backend()
            if backend is not None:
                answers.append(question(backend))
        except Exception:
            # Thread edge: backends raise whatever their system libraries raise, and any
            # failure here means that this keyring cannot be used.
            return

    thread = threading.Thread(target=ask, name="keyring", daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else None


def _real_backend() -> KeyringBackend | None:
    import keyring
    from keyring.backends import fail, null

    backend = keyring.get_keyring()
    if isinstance(backend, fail.Keyring | null.Keyring) or backend.priority < 1:
        return None
    return backend
