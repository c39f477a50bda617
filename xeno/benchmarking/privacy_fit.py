"""Fits the forecast of accuracy (`xeno.training.accuracy_forecast`) on the benchmark's grid."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from xeno.benchmarking.privacy_cells import Found
from xeno.errors import InvalidValueError
from xeno.training.accuracy_forecast import AccuracyModel

_LEAST_POINTS = 4
_LEAST_ENDS = 0.8  # share of replies that end by themselves
_PULL = 0.05
"""Towards coefficients of 0, in units of accuracy: cells that all reach the same would leave them
undetermined."""


@dataclass(frozen=True)
class _Point:
    signal: float
    accuracy: float


def fit(found: Sequence[Found], data: str = "taste") -> AccuracyModel:
    """The model for the private default's cells of `data`, the mean over the seeds of each.

    Left out are cells whose replies no longer end: under noise that is too loud a model finds all
    replies unlikely, long ones most of all, and so scores well without having learned.

    Raises:
        InvalidValueError: where there are too few of them.
    """
    of_data = [each for each in found if each.cell.data == data]
    private = [
        each
        for each in of_data
        if each.noise > 0 and each.cell.recipe == "default" and each.ends >= _LEAST_ENDS
    ]
    groups: dict[tuple[object, ...], list[Found]] = {}
    for each in private:
        groups.setdefault((each.cell.epsilon, each.cell.pairs), []).append(each)
    points = [_point(group) for group in groups.values()]
    floor = [each.accuracy for each in of_data if each.cell.recipe == "base"]
    ceiling = [
        each.accuracy
        for each in of_data
        if each.cell.recipe == "default" and each.cell.epsilon is None
    ]
    if len(points) < _LEAST_POINTS or not floor or not ceiling:
        raise InvalidValueError(
            "There is too little to fit a forecast on.",
            f"{len(points)} cells with privacy; {_LEAST_POINTS} are needed.",
            "Measure the whole grid.",
        )
    ends = statistics.fmean(floor), max(statistics.fmean(ceiling), *(p.accuracy for p in points))
    model = _fitted(points, *ends)
    misses = [
        _fitted([p for p in points if p is not left_out], *ends).accuracy(left_out.signal)
        - left_out.accuracy
        for left_out in points
    ]
    error = math.sqrt(statistics.fmean(miss**2 for miss in misses))
    sizes = [each.learned for each in private]
    return model.model_copy(
        update={"error": error, "cells": len(points), "pairs": (min(sizes), max(sizes))}
    )


def _point(group: Sequence[Found]) -> _Point:
    one = group[0]
    return _Point(
        signal=one.learned * math.sqrt(one.steps) / statistics.fmean(each.noise for each in group),
        accuracy=statistics.fmean(each.accuracy for each in group),
    )


def _fitted(points: Sequence[_Point], floor: float, ceiling: float) -> AccuracyModel:
    def model(values: npt.NDArray[np.float64]) -> AccuracyModel:
        bias, by_signal = map(float, values)
        return AccuracyModel(
            floor=floor,
            ceiling=ceiling,
            bias=bias,
            by_signal=by_signal,
            error=0.0,
            cells=len(points),
            pairs=(0, 0),
        )

    def misses(values: npt.NDArray[np.float64]) -> list[float]:
        tried = model(values)
        pulls = [_PULL * float(value) / 10 for value in values]
        return [tried.accuracy(p.signal) - p.accuracy for p in points] + pulls

    # More signal never teaches less.
    solved = least_squares(misses, x0=[0.0, 1.0], bounds=([-np.inf, 1e-3], [np.inf, np.inf]))
    return model(solved.x)
