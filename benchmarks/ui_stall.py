"""How soon the window is on screen, and how long it stalls while a run trains.

    python benchmarks/ui_stall.py --json

Both start in a process of their own: a bare PyQt6 window with five tabs, and ours on a home that
exists already and has pairs. Time runs from the start of the process to the first painted frame.
Then a run is started from the Training tab; a timer that should fire every 5 ms
records by how much it is late. Prints one JSON object, last.

Targets: on screen in at most 1 s; largest gap at most 50 ms, 99th percentile at most 20 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

TICK = 5  # ms
TARGETS = {"on_screen_seconds": 1.0, "gap_max_ms": 50.0, "gap_p99_ms": 20.0}

BARE = """
import sys, time
from PyQt6.QtWidgets import QApplication, QLabel, QMainWindow, QTabWidget
app = QApplication(sys.argv[:1])
window, tabs = QMainWindow(), QTabWidget()
for title in ("Personalization", "Training", "Performance", "Versions", "Privacy"):
    tabs.addTab(QLabel(title), title)
window.setCentralWidget(tabs)
"""
OURS = """
import sys, time
from pathlib import Path
from PyQt6.QtWidgets import QApplication
from ui.app import open_for_window
from ui.main_window import MainWindow
from ui.session import Session
from ui.theme import Theme
from xeno.paths import Home
app = QApplication(sys.argv[:1])
theme = Theme(app)
theme.apply("light")
profile, settings = open_for_window(Home.at(sys.argv[1]))
session = Session(profile, theme, settings)
window = MainWindow(session)
"""
SHOW = """
class Painted(type(window)):
    def paintEvent(self, event):
        super().paintEvent(event)
        if not painted:
            painted.append(time.time())
painted = []
window.__class__ = Painted
window.show()
while not painted:
    app.processEvents()
app.processEvents()
print(painted[0])
window.close()
if "session" in globals():
    session.close()
"""


def main() -> int:
    """Measure, print, and return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=80)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        from xeno.data.importing import import_preferences
        from xeno.paths import Home
        from xeno.store.profile import open_profile

        with open_profile(Home.at(folder)) as profile:
            import_preferences(profile, _pairs_file(Path(folder), chosen.pairs))
        result = {
            "bare_on_screen_seconds": on_screen(BARE, folder, chosen.repeats),
            "on_screen_seconds": on_screen(OURS, folder, chosen.repeats),
            **gaps_while_training(Path(folder)),
        }
    result["targets"] = TARGETS
    result["met"] = all(float(str(result[name])) <= most for name, most in TARGETS.items())
    if not chosen.json:
        print(f"on screen in {result['on_screen_seconds']} s")
        print(f"a bare window: {result['bare_on_screen_seconds']} s")
        print(f"largest gap {result['gap_max_ms']} ms, 99 % within {result['gap_p99_ms']} ms")
    print(json.dumps(result))
    return 0 if result["met"] else 1


def on_screen(code: str, home: str, repeats: int) -> float:
    """Seconds from the start of a process to the first paint: the median, the first one left out
    because it reads from a cold disk."""
    times = []
    for _ in range(repeats + 1):
        begun = time.time()
        ended = subprocess.run(
            [sys.executable, "-c", code + SHOW, home],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=True,
        )
        times.append(float(ended.stdout.split()[-1]) - begun)
    return round(statistics.median(times[1:]), 3)


def gaps_while_training(folder: Path) -> dict[str, object]:
    """Event-loop gaps from pressing Start to the end of the run, in ms beyond the timer's own."""
    from PyQt6.QtCore import QTimer
    from PyQt6.QtWidgets import QApplication

    from ui.app import open_for_window
    from ui.main_window import MainWindow
    from ui.session import PLAN, Session
    from ui.theme import Theme
    from xeno.paths import Home

    app = QApplication(sys.argv[:1])
    theme = Theme(app)
    theme.apply("light")
    opened = open_for_window(Home.at(folder))
    assert opened is not None
    session = Session(opened[0], theme, opened[1])
    window = MainWindow(session)
    window.show()
    window.begin()
    loop = Waiting(app)
    loop.until(lambda: session.host_ready is not None)
    session.set(PLAN + "private", False)
    window.tabs.setCurrentWidget(window.training)
    loop.until(window.training.start.isEnabled)

    late: list[float] = []
    last = time.perf_counter()

    def tick() -> None:
        nonlocal last
        now = time.perf_counter()
        late.append(max(0.0, 1000 * (now - last) - TICK))
        last = now

    timer = QTimer(interval=TICK)
    timer.timeout.connect(tick)
    timer.start()
    begun = last = time.perf_counter()
    window.training.start.click()
    loop.until(lambda: not window.training.training)
    timer.stop()
    seconds = time.perf_counter() - begun
    steps = window.training.view.progress.value()
    window.close()
    session.close()
    late.sort()
    return {
        "gap_max_ms": round(late[-1], 1),
        "gap_p99_ms": round(late[int(0.99 * (len(late) - 1))], 1),
        "gap_median_ms": round(statistics.median(late), 2),
        "ticks": len(late),
        "train_seconds": round(seconds, 1),
        "steps": steps,
    }


class Waiting:
    """Runs the application's real event loop until something is so."""

    def __init__(self, app: object) -> None:
        self._app = app

    def until(self, ready: Callable[[], bool], seconds: float = 600.0) -> None:
        """Return when `ready()`; raises TimeoutError after `seconds`."""
        from PyQt6.QtCore import QEventLoop, QTimer

        loop, end = QEventLoop(), time.monotonic() + seconds
        poll = QTimer(interval=50)
        poll.timeout.connect(lambda: loop.quit() if ready() or time.monotonic() > end else None)
        poll.start()
        loop.exec()
        poll.stop()
        if not ready():
            raise TimeoutError("The window did not get there in time.")


def _pairs_file(folder: Path, count: int) -> Path:
    path = folder / "pairs.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            record = {
                "prompt": f"What should I know about subject {number}?",
                "chosen": f"- It is number {number}.\n- It comes before {number + 1}.",
                "rejected": f"Happy to help. Subject {number} is the one that comes right before "
                f"subject {number + 1}, and there is a good deal more that could be said of it.",
            }
            file.write(json.dumps(record) + "\n")
    return path


if __name__ == "__main__":
    sys.exit(main())
