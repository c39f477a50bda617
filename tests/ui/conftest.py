"""A real window on a real profile, and the ways a test looks at it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PyQt6.QtCore import QCoreApplication, QEvent
from PyQt6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from ui.main_window import MainWindow
from ui.session import Session, read_settings
from ui.theme import Theme
from xeno.errors import BaseModelError
from xeno.models.base import inspect_base
from xeno.models.starter import starter_folder
from xeno.store.profile import Profile

_THINGS = (
    "bread,coffee,sleep,budget,garden,bicycle,letter,rice,running,password,photo,cat,lamp,chess"
)
_WAYS = ("begin with {}", "get better at {}", "teach {}", "enjoy {}", "plan {}", "save on {}")


@pytest.fixture
def theme(qapp: QApplication) -> Iterator[Theme]:
    """The light theme in the normal text size."""
    made = Theme(qapp)
    made.apply("light")
    yield made
    made.deleteLater()


@pytest.fixture
def session(profile: Profile, theme: Theme) -> Iterator[Session]:
    """The open profile as the window sees it; no model is loaded until it is asked for."""
    made = Session(profile, theme, read_settings(profile))
    yield made
    made.close()
    made.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)


@pytest.fixture
def window(session: Session, qtbot: QtBot) -> Iterator[MainWindow]:
    """The window on screen, without a model loaded."""

    def end_training(window: MainWindow) -> None:
        """A test that failed half-way must not wait at the question before closing."""
        if window.training.training:
            window.training.stop_run(keep=False)
            qtbot.waitUntil(lambda: not window.training.training, timeout=60_000)

    made = MainWindow(session)
    qtbot.addWidget(made, before_close_func=end_training)
    made.show()
    qtbot.waitExposed(made)
    yield made
    made.close()


@pytest.fixture
def starter() -> Path:
    """The starter model's folder."""
    try:
        return inspect_base(starter_folder()).folder
    except BaseModelError as error:
        pytest.skip(f"needs the starter model: {error}")


@pytest.fixture
def pairs_file(tmp_path: Path) -> Callable[[int], Path]:
    """Writes a file with so many pairs of one consistent taste: brief bullets."""

    def write(count: int) -> Path:
        path = tmp_path / "pairs.jsonl"
        questions = [way.format(thing) for way in _WAYS for thing in _THINGS.split(",")]
        with path.open("w", encoding="utf-8") as file:
            for what in questions[:count]:
                record = {
                    "prompt": f"How do I {what}?",
                    "chosen": f"- Set a goal to {what}.\n- Start small.\n- Check the result.",
                    "rejected": f"Of course, with pleasure. To {what}, it is best to set a goal "
                    "first, then to start small, and after that to check the result each week.",
                }
                file.write(json.dumps(record) + "\n")
        return path

    return write
