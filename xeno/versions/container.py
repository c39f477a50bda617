"""An encrypted file: AES-256-GCM in chunks, opened in memory.

Layout: magic, 32-byte salt, then chunks of 64 KiB of plaintext, each followed by its tag. The
key of a file is HKDF-SHA256(key, salt), so nonces may simply count. As in STREAM (Hoang,
Reyhanitabar, Rogaway, Vizár 2015), a nonce holds the chunk's number and whether it is the last
one: a chunk that is changed, moved, taken from another file or cut off does not open.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from xeno.errors import DamagedDataError
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
    header = _MAGIC + secrets.token_bytes(_SALT)
    cipher = _cipher(key, header)
    last = max(0, (len(plaintext) - 1) // _CHUNK)
    pieces = [header]
    for number in range(last + 1):
        chunk = plaintext[number * _CHUNK : (number + 1) * _CHUNK]
        nonce = _nonce(number, number == last)
        pieces.append(cipher.encrypt(nonce, chunk, header + associated))
    files.write_atomic(path, b"".join(pieces))


def read_encrypted(path: Path, key: bytes, associated: bytes) -> bytes:
    """The plaintext of a file that `write_encrypted` wrote with the same arguments.

    Raises:
        DamagedDataError: if the file is missing or any of its bytes differ.
    """
    from cryptography.exceptions import InvalidTag

    try:
        content = path.read_bytes()
    except OSError as error:
        raise _damaged(path, f"It cannot be read ({error.strerror or error}).") from error
    start = len(_MAGIC) + _SALT
    if len(content) < start + _TAG or not content.startswith(_MAGIC):
        raise _damaged(path, "It does not begin as XENO wrote it, or is cut off.")
    header, step = content[:start], _CHUNK + _TAG
    cipher = _cipher(key, header)
    last = (len(content) - start - 1) // step
    pieces = []
    for number in range(last + 1):
        chunk = content[start + number * step : start + (number + 1) * step]
        try:
            nonce = _nonce(number, number == last)
            pieces.append(cipher.decrypt(nonce, chunk, header + associated))
        except (InvalidTag, ValueError) as error:  # ValueError: shorter than a tag
            raise _damaged(path, "Its bytes are not what XENO wrote.") from error
    return b"".join(pieces)


def _cipher(key: bytes, header: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derive = HKDF(algorithm=SHA256(), length=32, salt=header[len(_MAGIC) :], info=_MAGIC)
    return AESGCM(derive.derive(key))


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _damaged(path: Path, why: str) -> DamagedDataError:
    return DamagedDataError(
        f"{path.name} is damaged.", why, "Restore it from a backup, or use another version."
    )
