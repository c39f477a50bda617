"""Pictures of the real window, filled on the real paths: import, chat, correct, train, deploy.

    python tools/screenshots.py --out build/screenshots

Works without a display (QT_QPA_PLATFORM=offscreen is the default here). Needs the starter model.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from PyQt6.QtWidgets import QApplication

from ui.main_window import MainWindow
from ui.session import PLAN, Session, read_settings
from ui.theme import Theme
from ui.widgets.message_view import EXAMPLES
from xeno import ContextualMemory, CustomModelTrainer, PersonalizationEngine
from xeno.paths import Home
from xeno.store.profile import Profile, open_profile

THINGS = [
    "bread",
    "coffee",
    "sleep",
    "a budget",
    "a garden",
    "a bicycle",
    "a letter",
    "rice",
    "running",
    "chess",
]
WAYS = ("begin with {}", "get better at {}", "teach {}", "enjoy {}", "plan {}", "save on {}")
PATIENCE = 600.0  # seconds for one step


def main() -> int:
    """Fill the window and write one picture per tab and theme."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("build/screenshots"))
    parser.add_argument("--width", type=int, default=1320)
    parser.add_argument("--height", type=int, default=900)
    parser.add_argument("--quick", action="store_true", help="without training")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    app = QApplication(sys.argv[:1])
    with tempfile.TemporaryDirectory() as folder:
        profile = open_profile(Home.at(folder))
        tell_about_the_user(profile)
        theme = Theme(app)
        theme.apply("light")
        session = Session(profile, theme, read_settings(profile))
        window = MainWindow(session)
        window.resize(chosen.width, chosen.height)
        window.show()
        window.begin()
        pictures = Pictures(window, chosen.out)
        try:
            pictures.take("start")
            fill(pictures, Path(folder))
            if not chosen.quick:
                train(pictures, private=False)
                train(pictures, private=True)
                pictures.ask(EXAMPLES[1])
            for mode in ("light", "dark"):
                theme.apply(mode)
                pictures.all_tabs(mode)
        finally:
            window.close()
            session.close()
    return 0


class Pictures:
    """Waits for the window and takes its picture."""

    def __init__(self, window: MainWindow, out: Path) -> None:
        self.window = window
        self.out = out

    def settle(self, seconds: float = 0.6) -> None:
        """Let the window work for a moment."""
        self.until(lambda: False, seconds)

    def until(self, ready: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Let the window work until `ready()`, at most `seconds`."""
        end = time.monotonic() + seconds
        while not ready() and time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(0.01)

    def take(self, name: str) -> None:
        """Write a picture of the window."""
        self.settle()
        path = self.out / f"{name}.png"
        self.window.grab().save(str(path))
        print(path)

    def ask(self, text: str) -> None:
        """Ask the assistant and wait for its reply."""
        chat = self.window.assistant.chat
        self.window.assistant.ask(text)
        self.until(lambda: not chat.busy)

    def all_tabs(self, mode: str) -> None:
        """Write a picture of each tab."""
        for place in range(self.window.tabs.count()):
            self.window.tabs.setCurrentIndex(place)
            title = self.window.tabs.tabText(place).lower()
            self.take(f"{mode}-{place + 1}-{title}")
        self.window.tabs.setCurrentWidget(self.window.personalization)
        for name in self.window.personalization.names:
            self.window.personalization.open(name)
            self.take(f"{mode}-personalization-{name.lower()}")
        self.versions(mode)

    def versions(self, mode: str) -> None:
        """Write pictures of the pages and dialogs of the Versions tab."""
        tab = self.window.versions
        self.window.tabs.setCurrentWidget(tab)
        self.settle()
        bar = tab.details.bar
        for place in range(bar.count()):
            tab.list.form.setCurrentIndex(place % 2)  # as a table and as a tree
            bar.setCurrentIndex(place)
            self.take(f"{mode}-versions-{bar.tabText(place).lower()}")
        tab.list.form.setCurrentIndex(0)
        if not tab.list.chosen():
            return
        for name, show in (
            ("compare", tab.open_compare),
            ("export", tab.open_export),
            ("import", tab.open_import),
        ):
            show()
            self.settle()
            if tab.dialog is not None:
                tab.dialog.grab().save(str(self.out / f"{mode}-versions-{name}.png"))
            tab.close_work()


def tell_about_the_user(profile: Profile) -> None:
    """Something to believe, to remember, and to mean."""
    engine = PersonalizationEngine(profile=profile)
    engine.learner.set_consent(True)
    engine.update_preference("tone", "friendly")
    engine.update_preference("expertise_level.python", "advanced")
    for stars, what in enumerate(("index a table", "join two tables", "back up a database"), 2):
        reply = f"It is advisable to consult the manual before you {what}."
        engine.record_interaction(f"hey how do i {what}??", reply, {"topic": "databases"}, stars)
    memory = ContextualMemory(profile=profile)
    memory.store_fact("home", "city", "Lisbon")
    memory.store_fact("people", "sister", "Ana, a vet who lives in Porto and calls on Sundays")
    memory.store_episode("meeting", "Planned the release with Sarah", {"with": "Sarah"})
    memory.store_workflow("morning routine", ["Check email", "Make tea", "Read the plan"])
    trainer = CustomModelTrainer(profile=profile)
    for number in range(30):
        trainer.add_training_example(
            f"Set up a call with person {number}", "Booked.", {"intent": "schedule_meeting"}
        )
        trainer.add_training_example(f"Will it rain in town {number}?", "", {"intent": "weather"})
    trainer.train_intent_classifier()


def fill(pictures: Pictures, folder: Path) -> None:
    """Import pairs, chat, judge and correct a reply."""
    window = pictures.window
    path = folder / "pairs.jsonl"
    lines = []
    for what in (way.format(thing) for way in WAYS for thing in THINGS):
        record = {
            "prompt": f"How do I {what}?",
            "chosen": f"- Set a goal to {what}.\n- Start small.\n- Check the result.",
            "rejected": f"Of course, with pleasure. To {what}, it is best to set a goal first, "
            "then to start small, and after that to check the result each week.",
        }
        lines.append(json.dumps(record))
    path.write_text("\n".join(lines) + "\nthis line is no JSON\n", encoding="utf-8")
    dialog = window.import_pairs()
    dialog.panel.open(path)
    pictures.until(dialog.panel.start.isEnabled, 60)
    dialog.panel.start.click()
    pictures.until(dialog.panel.outcome.isVisible, 60)
    pictures.settle()
    dialog.grab().save(str(pictures.out / "import.png"))
    dialog.close()
    pictures.ask(EXAMPLES[0])
    bubble = window.assistant.view.last_reply
    if bubble is None:
        return
    bubble.thumbs[True].click()
    bubble.stars[3].click()
    bubble.suggest()
    pictures.take("light-suggest")
    if bubble.editor is not None:
        bubble.editor.text.setPlainText("- Mix flour, water, salt and yeast.\n- Knead.\n- Bake.")
        bubble.editor.save.click()
    pictures.until(bubble.said.isVisible, 30)


def train(pictures: Pictures, private: bool) -> None:
    """Train a version and deploy it, with a picture on the way."""
    window = pictures.window
    session = window._session
    session.set(PLAN + "private", private)
    session.set(PLAN + "epochs", 3)
    window.tabs.setCurrentWidget(window.training)
    pictures.until(window.training.start.isEnabled, 60)
    window.training.start.click()
    view = window.training.view
    pictures.until(lambda: view.progress.value() >= 5 or not window.training.training)
    for place, name in enumerate(("charts", "samples", "log")):
        window.training.view.bar.setCurrentIndex(place)
        pictures.take(f"light-training-{name}-private" if private else f"light-training-{name}")
    window.training.view.bar.setCurrentIndex(0)
    pictures.until(lambda: not window.training.training)
    pictures.take("light-result-private" if private else "light-result")
    window.training.result.deploy.click()
    pictures.until(lambda: "answers already" in window.training.result.deploy.toolTip(), 60)


if __name__ == "__main__":
    sys.exit(main())
