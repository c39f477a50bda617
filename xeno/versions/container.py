"""An encrypted file: AES-256-GCM in chunks, opened in memory.

Layout: magic, 32-byte salt, then chunks of 64 KiB of plaintext, each followed by its tag. The
key of a file is HKDF-SHA256(key, salt), so nonces may simply count. As in STREAM (Hoang,
Reyhanitabar, Rogaway, Vizár 2015), a nonce holds the chunk's number and whether it is the last
one: a chunk that is changed, moved, taken from another file or cut off does not open.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from xeno.errors import DamagedDataError, StorageFullError
from xeno.store import files

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_MAGIC = b"XENOSEAL1\n"
_SALT = 32
_CHUNK = 64 * 1024
_TAG = 16


def write_encrypted(path: Path, plaintext: bytes, key: bytes, associated: bytes) -> None:
    """Encrypt `plaintext` to `path`; after a crash the file is whole or was never there.

    Args:
        key: 32 bytes.
        associated: what the file is; it only opens when the same is given again.

    Raises:
        StorageFullError: if the disk is full or not writable; `path` is as it was.
    """
    sealed = io.BytesIO()
    seal(sealed, [plaintext], key, associated)
    files.write_atomic(path, sealed.getvalue())


def read_encrypted(path: Path, key: bytes, associated: bytes) -> bytes:
    """The plaintext of a file that `write_encrypted` wrote with the same arguments.

    Raises:
        DamagedDataError: if the file is missing or any of its bytes differ.
        StorageFullError: if the system could not read it now, which says nothing about its bytes.
    """
    try:
        with path.open("rb") as file:
            return b"".join(unseal(file, key, associated))
    except FileNotFoundError as error:
        raise _damaged(path.name, "It is missing.") from error
    except OSError as error:
        raise StorageFullError(
            f"{path.name} could not be read.",
            f"The system says: {error.strerror or error}.",
            "Check that you may read it and that its disk is there, and try again.",
        ) from error


def seal(file: BinaryIO, plaintext: Iterable[bytes], key: bytes, associated: bytes) -> None:
    """Encrypt the pieces of `plaintext` to the open `file`; see `write_encrypted`."""
    header = _MAGIC + secrets.token_bytes(_SALT)
    cipher = _cipher(key, header)
    file.write(header)
    waiting, number = bytearray(), 0
    for piece in plaintext:
        waiting += piece
        while len(waiting) > _CHUNK:  # a chunk is written once it is known not to be the last
            chunk = bytes(waiting[:_CHUNK])
            file.write(cipher.encrypt(_nonce(number, False), chunk, header + associated))
            del waiting[:_CHUNK]
            number += 1
    file.write(cipher.encrypt(_nonce(number, True), bytes(waiting), header + associated))


def unseal(file: BinaryIO, key: bytes, associated: bytes) -> Iterator[bytes]:
    """The pieces of what `seal` wrote, each already known to be as it was.

    Raises:
        DamagedDataError: when a piece is not, or the end is missing.
    """
    from cryptography.exceptions import InvalidTag

    name = Path(str(getattr(file, "name", "It"))).name
    header = file.read(len(_MAGIC) + _SALT)
    chunk = file.read(_CHUNK + _TAG)
    if len(header) < len(_MAGIC) + _SALT or not header.startswith(_MAGIC) or len(chunk) < _TAG:
        raise _damaged(name, "It does not begin as XENO wrote it, or is cut off.")
    cipher, number = _cipher(key, header), 0
    while chunk:
        following = file.read(_CHUNK + _TAG)
        try:
            yield cipher.decrypt(_nonce(number, not following), chunk, header + associated)
        except (InvalidTag, ValueError) as error:  # ValueError: shorter than a tag
            raise _damaged(name, "Its bytes are not what XENO wrote.") from error
        chunk, number = following, number + 1


def _cipher(key: bytes, header: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derive = HKDF(algorithm=SHA256(), length=32, salt=header[len(_MAGIC) :], info=_MAGIC)
    return AESGCM(derive.derive(key))


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _damaged(name: str, why: str) -> DamagedDataError:
    return DamagedDataError(
        f"{name} is damaged.", why, "Restore it from a backup, or use another version."
    )
