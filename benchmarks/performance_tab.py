"""How long the Performance tab takes to read and show a day of measurements.

    python benchmarks/performance_tab.py [--records N] [--rounds N] [--json]

A real encrypted database with N measurements of the last day (default 100,000: eight metrics of
four versions) and a reply with its feedback for every eighth of them. Opening is everything from
showing the tab until its table and its plot hold the figures; the window's own stall is measured
beside it. Fails if the median is above 300 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")

from PyQt6.QtCore import QEventLoop, QTimer
from PyQt6.QtWidgets import QApplication

from ui.performance_tab import PerformanceTab
from ui.session import Session, read_settings
from ui.theme import Theme
from xeno.paths import Home
from xeno.store.profile import Profile, open_profile

LIMIT_MS = 300.0
MODELS = ("base", "a" * 64, "b" * 64, "c" * 64)
METRICS = (
    "first_token_seconds", "tokens_per_second", "response_seconds", "memory_bytes", "error",
    "fallback", "cache_hit", "switch_seconds",
)  # fmt: skip


def fill(profile: Profile, records: int) -> None:
    """A day of measurements and replies."""
    start, series = time.time() - 86400, [(m, k) for m in MODELS for k in METRICS]
    with profile.db.transaction() as connection:
        connection.executemany(
            "INSERT INTO metric_series (id, model_name, metric) VALUES (?, ?, ?)",
            [(place, *names) for place, names in enumerate(series, start=1)],
        )
        connection.executemany(
            "INSERT INTO measurements (series, value, created) VALUES (?, ?, ?)",
            [
                (n % len(series) + 1, (n * 7919 % 1000) / 100, start + 86400 * n / records)
                for n in range(records)
            ],
        )
        connection.execute("INSERT INTO conversations VALUES ('t', 'talk', ?, ?)", (start, start))
        replies = [
            (f"m{n}", n, start + 86400 * 8 * n / records, None if n % 4 == 0 else MODELS[n % 4])
            for n in range(records // 8)
        ]
        connection.executemany(
            "INSERT INTO messages (id, conversation_id, position, role, content, created, version) "
            f"VALUES (?, 't', ?, 'assistant', '{'A reply of some length. ' * 12}', ?, ?)",
            replies,
        )
        connection.executemany(
            "INSERT INTO feedback (id, message_id, kind, value, created) VALUES (?, ?, ?, ?, ?)",
            [
                (f"f{n}", f"m{n}", *(("rating", 1 + n % 5) if n % 3 else ("thumb", -1)), start + n)
                for n in range(0, records // 8, 4)
            ],
        )


def measure(folder: Path, records: int, rounds: int) -> dict[str, Any]:
    """The medians and the worst of `rounds` openings."""
    application = QApplication.instance() or QApplication(sys.argv[:1])
    with open_profile(Home.at(folder)) as profile:
        fill(profile, records)
    found = [opening(application, folder) for _ in range(rounds)]
    return {
        "records": records,
        "opened_ms": statistics.median(each[0] for each in found),
        "opened_worst_ms": max(each[0] for each in found),
        "processor_ms": statistics.median(each[1] for each in found),
        "longest_stall_ms": max(each[2] for each in found),
        "limit_ms": LIMIT_MS,
    }


def opening(application: Any, folder: Path) -> tuple[float, float, float]:
    """Milliseconds until the tab shows the figures, of the processor, and of the longest stall;
    with a profile just opened, so that nothing is in its memory."""
    profile = open_profile(Home.at(folder))
    theme = Theme(application)
    session = Session(profile, theme, read_settings(profile))
    tab = PerformanceTab(session)
    tab.resize(1000, 700)
    page, loop, gaps, last = tab.measurements, QEventLoop(), [0.0], [time.perf_counter()]

    def tick() -> None:
        now = time.perf_counter()
        gaps.append(now - last[-1])
        last.append(now)
        if page.model.rowCount() == len(MODELS) and page.plot.points("Base model"):
            loop.quit()

    beat = QTimer(interval=1)
    beat.timeout.connect(tick)
    before, processor = time.perf_counter(), time.process_time()
    tab.show()
    beat.start()
    loop.exec()
    taken = time.perf_counter() - before, time.process_time() - processor, max(gaps)
    beat.stop()
    session.close()
    tab.deleteLater()
    theme.deleteLater()
    application.processEvents()
    return taken[0] * 1000, taken[1] * 1000, taken[2] * 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), arguments.records, arguments.rounds)
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:20} {value:,.0f}")
    return 0 if result["opened_ms"] <= LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
