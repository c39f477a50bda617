"""Randomness for privacy: Gaussian noise and Poisson sampling from a cipher stream.

Whoever can guess the noise can subtract it, so it must come from a cryptographic
generator: ChaCha20 (RFC 8439) under a 256-bit key that the operating system gives and that
is never shown or derived from a plan's seed. The key lives as long as this object, and in the
encrypted checkpoints of a run that has not ended (`xeno.training.resume` says when such a
stream may be continued).
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

_BYTES_PER_KEY = 1 << 30
_BLOCK = 64  # bytes of a ChaCha20 block; the counter of blocks begins the nonce
_GAUSSIANS_PER_SAMPLE = 4
_AT_ONCE = 1 << 15  # Gaussians made in one go: their parts stay in the processor's cache

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StreamState:
    """Where a stream is: its key (32 bytes) and how many bytes were drawn under it."""

    key: bytes = field(repr=False)
    position: int


class CipherStream:
    """An unpredictable stream of numbers that never repeats.

    Every 2^30 bytes are encrypted under a key of their own, which follows from the stream's key
    and their number. A forked child, which would otherwise continue its parent's stream, draws a
    fresh key.

    Args:
        state: the stream to continue; without it the operating system gives a fresh key.
    """

    def __init__(self, state: StreamState | None = None) -> None:
        self._state = state
        self._process = os.getpid()
        self._piece = -1
        self._encryptor: CipherContext | None = None

    @property
    def state(self) -> StreamState:
        """The key and the place of the next number."""
        if self._state is None or self._process != os.getpid():
            self._state = StreamState(os.urandom(32), 0)
            self._process, self._encryptor = os.getpid(), None
        return self._state

    def renew(self) -> None:
        """Forget the key: what is drawn from here on has nothing to do with what was."""
        self._state = self._encryptor = None

    def _bytes(self, count: int) -> bytes:
        """The next `count` bytes, from as many pieces of the stream as they lie in."""
        state = self.state
        found, begin, end = [], state.position, state.position + count
        while begin < end:
            piece, offset = divmod(begin, _BYTES_PER_KEY)
            length = min(end - begin, _BYTES_PER_KEY - offset)
            if self._encryptor is None or piece != self._piece:
                self._encryptor, self._piece = _encryptor(state.key, piece, offset), piece
            found.append(self._encryptor.update(bytes(length)))
            begin += length
        self._state = StreamState(state.key, end)
        return b"".join(found)

    def uniform(self, count: int) -> Numbers:
        """`count` numbers, uniform on the multiples of 2^-53 in (0, 1]."""
        words = np.frombuffer(self._bytes(8 * count), dtype="<u8")
        numbers = (words >> np.uint64(11)).astype(np.float64)
        numbers += 1.0
        numbers *= 2.0**-53
        return numbers

    def gaussian(self, count: int, normals: Callable[[Numbers], Numbers] | None = None) -> Numbers:
        """`count` independent standard normal numbers in double precision.

        Each is the scaled sum of four normals (Holohan and Braghin 2021, arXiv 2107.10138,
        section 5.1), so that the gaps of one floating-point sampler do not show which
        values the noise could have been added to.

        Args:
            normals: what computes `box_muller`, where something is quicker at it.
        """
        found = np.empty(count)
        for begin in range(0, count, _AT_ONCE):
            part = found[begin : begin + _AT_ONCE]
            four = (normals or box_muller)(self.uniform(_GAUSSIANS_PER_SAMPLE * len(part)))
            np.sum(four.reshape(_GAUSSIANS_PER_SAMPLE, -1), axis=0, out=part)
            part /= np.sqrt(_GAUSSIANS_PER_SAMPLE)
        return found

    def poisson_sample(self, count: int, sample_rate: float) -> list[int]:
        """The members of range(count) that are drawn, each alone with `sample_rate` in [0, 1]."""
        if sample_rate >= 1.0:
            return list(range(count))
        return [int(i) for i in np.flatnonzero(self.uniform(count) <= sample_rate)]


def box_muller(uniform: Numbers) -> Numbers:
    """As many independent standard normals as uniforms in (0, 1], an even number (Box and Muller
    1958)."""
    radius, angle = np.split(uniform, 2)
    radius = np.sqrt(-2.0 * np.log(radius))
    angle = 2.0 * np.pi * angle
    return np.concatenate((radius * np.cos(angle), radius * np.sin(angle)))


def _encryptor(key: bytes, piece: int, offset: int) -> CipherContext:
    """The cipher of a piece of the stream, `offset` bytes into it.

    The piece's key is used for nothing else, so its nonce is zeros behind the block counter.
    """
    own = hmac.digest(key, b"xeno stream" + piece.to_bytes(8, "big"), hashlib.sha256)
    nonce = (offset // _BLOCK).to_bytes(4, "little") + bytes(12)
    encryptor = Cipher(ChaCha20(own, nonce), mode=None).encryptor()
    encryptor.update(bytes(offset % _BLOCK))
    return encryptor
