"""How long the window stalls while the charts of a run take in 10,000 points.

    python benchmarks/live_charts.py --json

Two rounds in turn, in one process, several times: the window by itself with its Training tab in
front, and the same window while the progress of a run streams into its charts, all of them shown,
with smoothing, up to 10,000 steps. A timer that should fire every 5 ms records by how much it is
late. Prints one JSON object, last; the figures are medians over the rounds.

Targets: the largest gap while points stream is at most 50 ms; no plot draws more than 5 times a
second.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from PyQt6.QtCore import QEventLoop, QTimer
from PyQt6.QtWidgets import QApplication

from ui.main_window import MainWindow
from ui.session import Session, read_settings
from ui.theme import Theme
from xeno.events import Evaluated, Progress
from xeno.paths import Home
from xeno.store.profile import open_profile

TICK = 5  # ms
FEED = 20  # ms between two bursts of points
TARGETS = {"gap_max_ms": 50.0, "drawings_per_second": 5.0}


def main() -> int:
    """Measure, print, and return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    app = QApplication(sys.argv[:1])
    with tempfile.TemporaryDirectory() as folder:
        profile = open_profile(Home.at(folder))
        theme = Theme(app)
        theme.apply("light")
        session = Session(profile, theme, read_settings(profile))
        window = MainWindow(session)
        window.resize(1320, 900)
        window.show()
        window.tabs.setCurrentWidget(window.training)
        try:
            bench = Bench(window, chosen.points, chosen.seconds)
            bench.prepare()
            pairs = [(bench.idle(), bench.streaming()) for _ in range(chosen.rounds)]
        finally:
            window.close()
            session.close()
    idle, busy = zip(*pairs, strict=True)
    result: dict[str, object] = {
        "points": chosen.points,
        "idle_gap_max_ms": round(statistics.median(each[-1] for each in idle), 1),
        "gap_max_ms": round(statistics.median(each[-1] for each in busy), 1),
        "gap_p99_ms": round(
            statistics.median(each[int(0.99 * (len(each) - 1))] for each in busy), 1
        ),
        "drawings_per_second": round(bench.drawings / (chosen.rounds * chosen.seconds), 2),
        "targets": TARGETS,
    }
    result["met"] = all(float(str(result[name])) <= most for name, most in TARGETS.items())
    if not chosen.json:
        print(f"largest gap {result['gap_max_ms']} ms, by itself {result['idle_gap_max_ms']} ms")
    print(json.dumps(result))
    return 0 if result["met"] else 1


class Bench:
    """The window, and a run that goes by in it."""

    def __init__(self, window: MainWindow, points: int, seconds: float) -> None:
        self.window = window
        self.view = window.training.view
        self.points = points
        self.seconds = seconds
        self.drawings = 0

    def prepare(self) -> None:
        """Show all charts, and draw each once: building them is not what is measured."""
        self.view.begin()
        charts = self.view.charts
        charts.more.setChecked(True)
        for step in (1, 2):
            self.view.progressed(progress(step, self.points))
            self.view.evaluated(evaluated(step))
        self.window.training.page.verticalScrollBar().setValue(self.view.y())
        wait(3.0)
        plot = charts.plots["loss"]
        draw = plot.draw

        def counted() -> None:
            self.drawings += 1
            draw()

        plot.draw = counted  # type: ignore[method-assign]

    def idle(self) -> list[float]:
        """Gaps in ms beyond the timer's own, sorted, while nothing happens."""
        return self._gaps(lambda: None)

    def streaming(self) -> list[float]:
        """The same while the points come in, evenly over the round."""
        self.view.charts.begin(self.points)
        begun, done = time.perf_counter(), 0

        def feed() -> None:
            nonlocal done
            share = (time.perf_counter() - begun) / self.seconds
            while done < min(self.points, share * self.points):
                done += 1
                self.view.progressed(progress(done, self.points))
                if done % 500 == 0:
                    self.view.evaluated(evaluated(done))

        found = self._gaps(feed)
        shown = len(self.view.charts.plots["loss"].points("training"))
        if shown < 0.9 * self.points:
            raise RuntimeError(f"Only {shown} of {self.points} points were taken in.")
        return found

    def _gaps(self, feed: object) -> list[float]:
        late: list[float] = []
        last = time.perf_counter()

        def tick() -> None:
            nonlocal last
            now = time.perf_counter()
            late.append(max(0.0, 1000 * (now - last) - TICK))
            last = now

        timer, feeder = QTimer(interval=TICK), QTimer(interval=FEED)
        timer.timeout.connect(tick)
        feeder.timeout.connect(feed)  # type: ignore[arg-type]
        timer.start()
        feeder.start()
        wait(self.seconds)
        timer.stop()
        feeder.stop()
        return sorted(late)


def wait(seconds: float) -> None:
    """Run the application's event loop for a while."""
    loop = QEventLoop()
    QTimer.singleShot(round(1000 * seconds), loop.quit)
    loop.exec()


def progress(step: int, steps: int) -> Progress:
    """A step of a run whose loss falls noisily; every hundredth is not a number."""
    noise = random.random()
    return Progress(
        run_id="run",
        step=step,
        steps=steps,
        loss=None if step % 100 == 0 else 0.7 * math.exp(-3 * step / steps) + 0.1 * noise,
        reward_margin=2 * step / steps + noise,
        preference_accuracy=min(1.0, 0.5 + step / steps * noise),
        learning_rate=1e-3 * (1 - step / steps),
        gradient_norm=1 + noise,
        pairs_per_second=9.0,
        tokens_per_second=1400 + 100 * noise,
        memory_bytes=round(5e8 + 1e7 * noise),
        processor_share=0.9,
        temperature=60 + noise,
        eta_seconds=float(steps - step),
    )


def evaluated(step: int) -> Evaluated:
    """An evaluation on the way."""
    return Evaluated(
        run_id="run",
        step=step,
        preference_accuracy=0.8,
        loss=0.5,
        reward_margin=0.5,
        shorter_baseline=0.5,
        longer_baseline=0.5,
        perplexity=4.0,
    )


if __name__ == "__main__":
    sys.exit(main())
