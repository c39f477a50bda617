"""Files that a crash leaves whole, old or new, and locks between processes."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from xeno.errors import StorageFullError


def not_writable(path: Path, error: OSError) -> StorageFullError:
    """What the user is told when `error` kept `path` from being written."""
    return StorageFullError(
        f"{path} could not be written.",
        f"The system says: {error.strerror or error}.",
        "Free some space, or choose a folder that you may write to, and try again.",
    )


def private_folder(folder: Path) -> Path:
    """`folder`, made if needed, readable by its owner only.

    Raises:
        StorageFullError: if it cannot be made.
    """
    with _storage(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if os.name == "posix":
            folder.chmod(0o700)
    return folder


def write_atomic(path: Path, content: bytes) -> None:
    """Put `content` at `path`, readable by its owner only: temporary name, fsync, rename.

    Raises:
        StorageFullError: if the disk is full or not writable; `path` is as it was.
    """
    with _storage(path):
        # mkstemp creates the file with mode 0600, so a key is never readable by others.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the renames in `folder` survive a power cut. Windows does this by itself."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` while the body runs; other processes and threads wait.

    Raises:
        StorageFullError: if the lock file cannot be made.
    """
    with _storage(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)  # gives the lock back on every system


def hold(path: Path, patience: float) -> int | None:
    """Take the lock file `path` for as long as this process lives.

    Args:
        patience: seconds to wait for another that holds it.

    Returns:
        The open file, which gives the lock back when it is closed; None if another keeps it.

    Raises:
        StorageFullError: if the lock file cannot be made.
    """
    with _storage(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + patience
    while not _locked_now(handle):
        if time.monotonic() >= deadline:
            os.close(handle)
            return None
        time.sleep(0.05)
    return handle


def held(path: Path) -> bool:
    """Whether another holds the lock file `path`; False where there is none.

    Raises:
        StorageFullError: if it cannot be opened.
    """
    if not path.exists():
        return False
    handle = hold(path, 0.0)
    if handle is not None:
        os.close(handle)
    return handle is None


def _locked_now(handle: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _storage(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise not_writable(path, error) from error
