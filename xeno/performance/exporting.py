"""All measurements of a profile in one file, CSV or JSON, without any text of the user's."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from xeno.errors import InvalidValueError
from xeno.performance import summary
from xeno.performance.metrics import PerformanceTracker
from xeno.store import files
from xeno.store.profile import Profile

COLUMNS = ("model", "label", "metric", "created", "value")


def export(profile: Profile, path: Path) -> int:
    """Write every measurement, rating and acceptance to `path`, which ends in .csv or .json; how
    many there were. `created` is in Unix seconds, `model` a content address, 'base' or a name.

    Raises:
        InvalidValueError: for another ending.
        StorageFullError: if the file cannot be written; one that was there stays.
    """
    writers = {".csv": _csv, ".json": _json}
    writer = writers.get(path.suffix.casefold())
    if writer is None:
        raise InvalidValueError(
            f"{path.name} was not written.",
            "Measurements are exported as CSV or JSON.",
            "Give the file a name that ends in .csv or .json.",
        )
    tracker = PerformanceTracker(profile.name, profile=profile)
    labels = {each.model: each.label for each in summary.summaries(profile)}
    rows = [
        (model, labels.get(model, model), metric, created, value)
        for model, metric in summary.series_names(profile)
        for created, value in tracker.series(model, metric, limit=-1)
    ]
    files.write_atomic(path, writer(rows).encode())
    return len(rows)


Rows = list[tuple[str, str, str, float, float]]


def _csv(rows: Rows) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return text.getvalue()


def _json(rows: Rows) -> str:
    return json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in rows], indent=1) + "\n"
