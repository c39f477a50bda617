"""The Gaussian mechanism for scripts: noise of just the right size, and clipped gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xeno.errors import InvalidValueError
from xeno.privacy.composition import MAX_EPSILON, gaussian_mu
from xeno.privacy.rdp import Mechanism

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class DifferentialPrivacy:
    """Makes one release (epsilon, delta) private.

    Each call of `add_noise` is a release of its own: several of the same data compose, see
    `PrivacyAnalyzer.compute_privacy_budget`.

    Args:
        epsilon: above 0, at most 100.
        delta: above 0, below 1.

    Raises:
        InvalidValueError: outside of these ranges.
    """

    def __init__(self, epsilon: float, delta: float = 1e-5) -> None:
        from xeno.privacy.noise import CipherStream

        self.epsilon = _number(epsilon, "epsilon", MAX_EPSILON)
        self.delta = _number(delta, "delta", 1.0)
        if self.delta == 1.0:
            raise InvalidValueError("A delta of 1 protects nothing.", "", "Use 1e-5, for example.")
        self._mu = gaussian_mu(self.epsilon, self.delta)
        self._stream = CipherStream()

    @property
    def mechanism(self) -> Mechanism:
        """One release, as the ledger keeps it."""
        return Mechanism(sample_rate=1.0, noise_multiplier=1 / self._mu, steps=1)

    def deviation(self, sensitivity: float = 1.0) -> float:
        """The noise's standard deviation: the least that does (Balle and Wang 2018, arXiv
        1805.06530, algorithm 1)."""
        return _number(sensitivity, "sensitivity", math.inf) / self._mu

    def add_noise(self, data: Any, sensitivity: float = 1.0) -> Any:
        """`data` with Gaussian noise from a cipher stream.

        Args:
            data: a number, or numbers in an array or nested lists; finite.
            sensitivity: how far, in the Euclidean norm, one person's or record's presence can
                move all of `data` together.

        Returns:
            A float for a number, otherwise a float64 array of the same shape.

        Raises:
            InvalidValueError: for anything else.
        """

        values = _array(data)
        noise = self._stream.gaussian(values.size).reshape(values.shape)
        noisy: npt.NDArray[np.float64] = values + self.deviation(sensitivity) * noise
        return float(noisy) if noisy.ndim == 0 else noisy

    def clip_gradients(
        self, gradients: Any, max_norm: float = 1.0, *, per_example: bool = False
    ) -> Any:
        """`gradients` scaled down to at most `max_norm` in the Euclidean norm.

        Args:
            gradients: one array; or the arrays of one gradient as a mapping or sequence, whose
                norm is taken over all of them.
            per_example: the first axis counts examples, each with a gradient of its own.

        Returns:
            The same structure with float64 arrays. A gradient that is not finite becomes 0, so
            that it reveals nothing but cannot spoil the rest.

        Raises:
            InvalidValueError: if these are no numbers, or `max_norm` is not above 0.
        """
        import numpy as np

        bound = _number(max_norm, "max_norm", math.inf)
        if isinstance(gradients, Mapping):
            names, parts = list(gradients), [_array(each, False) for each in gradients.values()]
        elif isinstance(gradients, Sequence) and not _is_flat(gradients):
            names, parts = None, [_array(each, False) for each in gradients]
        else:
            return _clipped([_array(gradients, False)], bound, per_example, np)[0]
        clipped = _clipped(parts, bound, per_example, np)
        return clipped if names is None else dict(zip(names, clipped, strict=True))


def _clipped(parts: list[Any], bound: float, per_example: bool, np: Any) -> list[Any]:
    if not parts:
        return []
    if per_example and len({len(part) if part.ndim else -1 for part in parts} | {-1}) != 2:
        raise InvalidValueError(
            "The gradients are not clipped per example.",
            "Their first axes, which count the examples, differ or are missing.",
            "Give arrays of shape [examples, ...].",
        )
    shaped = [part.reshape(len(part) if per_example else 1, -1) for part in parts]
    finite = np.all([np.isfinite(part).all(axis=1) for part in shaped], axis=0)
    shaped = [np.where(finite[:, None], part, 0.0) for part in shaped]
    norms = np.sqrt(sum((part**2).sum(axis=1) for part in shaped))
    factors = np.minimum(1.0, bound / np.maximum(norms, np.finfo(float).tiny))
    return [
        (part * factors[:, None]).reshape(original.shape)
        for part, original in zip(shaped, parts, strict=True)
    ]


def _is_flat(values: Sequence[Any]) -> bool:
    """Whether `values` are numbers or rows of numbers: one array and not several."""
    return all(isinstance(each, int | float | list | tuple) for each in values)


def _array(data: Any, finite: bool = True) -> npt.NDArray[np.float64]:
    import numpy as np

    if hasattr(data, "detach"):  # a tensor of torch
        data = data.detach().cpu().numpy()
    try:
        values = np.asarray(data, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(
            "Noise is added to numbers.", f"Got {type(data).__name__}.", "Give an array of numbers."
        ) from error
    if finite and not np.isfinite(values).all():
        raise InvalidValueError(
            "The data holds a number that is not finite.",
            "No noise hides infinity or NaN.",
            "Replace such values first.",
        )
    return values


def _number(value: float, name: str, largest: float) -> float:
    number = float(value) if isinstance(value, int | float) else math.nan
    if not (0 < number <= largest) or math.isinf(number):
        bounds = f" and at most {largest:g}" if math.isfinite(largest) else ""
        raise InvalidValueError(
            f"{value!r} cannot be {name}.",
            f"It is a number above 0{bounds}.",
            "Choose a value in this range.",
        )
    return number
