"""Randomness for privacy: Gaussian noise and Poisson sampling from a cipher stream.

Whoever can guess the noise can subtract it, so it must come from a cryptographic
generator: ChaCha20 (RFC 8439) under a 256-bit key that the operating system gives and that
is never stored, shown or derived from a plan's seed. The key lives as long as this object.
"""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

_BYTES_PER_KEY = 1 << 30
_GAUSSIANS_PER_SAMPLE = 4


class CipherStream:
    """An unpredictable stream of numbers that never repeats.

    A fresh key is drawn at the start, after every 2^30 bytes, and in a forked child, which
    would otherwise continue its parent's stream.
    """

    def __init__(self) -> None:
        self._process = -1
        self._left = 0
        self._encryptor: CipherContext | None = None

    def _bytes(self, count: int) -> bytes:
        if self._encryptor is None or self._process != os.getpid() or self._left < count:
            # The key is fresh, so a nonce of zeros is used once under it.
            cipher = Cipher(ChaCha20(os.urandom(32), bytes(16)), mode=None)
            self._encryptor = cipher.encryptor()
            self._process = os.getpid()
            self._left = max(_BYTES_PER_KEY, count)
        self._left -= count
        return self._encryptor.update(bytes(count))

    def uniform(self, count: int) -> npt.NDArray[np.float64]:
        """`count` numbers, uniform on the multiples of 2^-53 in (0, 1]."""
        words = np.frombuffer(self._bytes(8 * count), dtype="<u8")
        return ((words >> np.uint64(11)).astype(np.float64) + 1.0) * 2.0**-53

    def gaussian(self, count: int) -> npt.NDArray[np.float64]:
        """`count` independent standard normal numbers in double precision.

        Each is the scaled sum of four normals (Holohan and Braghin 2021, arXiv 2107.10138,
        section 5.1), so that the gaps of one floating-point sampler do not show which
        values the noise could have been added to. The normals come from Box and Muller.
        """
        halves = (_GAUSSIANS_PER_SAMPLE * count + 1) // 2
        radius = np.sqrt(-2.0 * np.log(self.uniform(halves)))
        angle = 2.0 * np.pi * self.uniform(halves)
        normals = np.concatenate((radius * np.cos(angle), radius * np.sin(angle)))
        parts = normals[: _GAUSSIANS_PER_SAMPLE * count].reshape(_GAUSSIANS_PER_SAMPLE, count)
        total: npt.NDArray[np.float64] = parts.sum(axis=0) / np.sqrt(_GAUSSIANS_PER_SAMPLE)
        return total

    def poisson_sample(self, count: int, sample_rate: float) -> list[int]:
        """The members of range(count) that are drawn, each alone with `sample_rate` in [0, 1]."""
        if sample_rate >= 1.0:
            return list(range(count))
        return [int(i) for i in np.flatnonzero(self.uniform(count) <= sample_rate)]
