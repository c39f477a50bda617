"""The whole loop by keyboard and mouse, with the real starter model and a real run."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QMessageBox
from pytestqt.qtbot import QtBot

from ui.main_window import MainWindow
from ui.session import PLAN
from xeno.store.runs import Runs
from xeno.versions.deployment import Deployment
from xeno.versions.registry import Registry

LEFT = Qt.MouseButton.LeftButton
LONG = 280_000  # ms
QUESTION = "How do I bake bread at home?"


def _press(window: MainWindow, qtbot: QtBot, key: Qt.Key) -> None:
    """Ctrl and `key`, once the window is the one that hears keys."""
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    qtbot.keyClick(window, key, Qt.KeyboardModifier.ControlModifier)


def _ask(window: MainWindow, qtbot: QtBot) -> str:
    with qtbot.waitSignal(window.assistant.chat.replied, timeout=LONG):
        qtbot.keyClicks(window.assistant.input, QUESTION)
        qtbot.keyClick(window.assistant.input, Qt.Key.Key_Return)
    bubble = window.assistant.view.last_reply
    assert bubble is not None
    return bubble.text.text()


def _import(window: MainWindow, path: Path, qtbot: QtBot) -> None:
    dialog = window.import_pairs()
    qtbot.keyClicks(dialog.path, str(path))
    qtbot.mouseClick(dialog.look, LEFT)
    qtbot.waitUntil(dialog.start.isEnabled)
    qtbot.mouseClick(dialog.start, LEFT)
    qtbot.waitUntil(dialog.outcome.isVisible)
    dialog.close()


def _ready_to_train(window: MainWindow, qtbot: QtBot, epochs: int) -> None:
    _press(window, qtbot, Qt.Key.Key_5)
    qtbot.mouseClick(window.privacy.without, LEFT)
    window._session.set(PLAN + "epochs", epochs)
    _press(window, qtbot, Qt.Key.Key_2)
    qtbot.waitUntil(window.training.start.isEnabled)


@pytest.mark.timeout(900)
def test_from_a_reply_to_a_version_and_back(
    window: MainWindow, qtbot: QtBot, starter: Path, pairs_file: Callable[[int], Path]
) -> None:
    first = _ask(window, qtbot)
    bubble = window.assistant.view.last_reply
    assert bubble is not None
    qtbot.mouseClick(bubble.suggest_button, LEFT)
    assert bubble.editor is not None
    bubble.editor.text.selectAll()
    qtbot.keyClicks(bubble.editor.text, "- Mix. - Knead. - Bake.")
    qtbot.mouseClick(bubble.editor.save, LEFT)
    qtbot.waitUntil(lambda: "quality" in bubble.said.text())
    _import(window, pairs_file(40), qtbot)

    _ready_to_train(window, qtbot, epochs=12)
    with qtbot.waitSignal(window._session.run_finished, timeout=LONG) as ended:
        qtbot.mouseClick(window.training.start, LEFT)
        assert "training" in window.training.start.toolTip()
    assert ended.args is not None
    assert ended.args[0].status == "completed", window.training.view.log.lines()
    assert window.training.view.charts.plots["loss"].points("training")
    assert window.training.result.isVisible()
    assert "not private" in window.training.result.sentence.text()

    qtbot.mouseClick(window.training.result.deploy, LEFT)
    qtbot.waitUntil(
        lambda: window.answering.text() == "v1 answers · not private", timeout=LONG
    )  # the gate asks its questions meanwhile
    _press(window, qtbot, Qt.Key.Key_N)
    second = _ask(window, qtbot)
    assert second != first
    bubble = window.assistant.view.last_reply
    assert bubble is not None
    assert bubble.meta.text().startswith("v1 · not private")

    _press(window, qtbot, Qt.Key.Key_4)
    qtbot.waitUntil(window.versions.back.isEnabled)
    assert not window.versions.delete.isEnabled()
    assert "answers" in window.versions.delete.toolTip()
    qtbot.mouseClick(window.versions.back, LEFT)
    qtbot.waitUntil(lambda: Deployment(window._session.profile).active() is None)
    _press(window, qtbot, Qt.Key.Key_N)
    assert _ask(window, qtbot) == first

    _press(window, qtbot, Qt.Key.Key_3)
    qtbot.waitUntil(lambda: window.performance.measurements.model.rowCount() == 2)

    _press(window, qtbot, Qt.Key.Key_4)
    qtbot.waitUntil(window.versions.delete.isEnabled)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(QMessageBox, "question", lambda *_, **__: QMessageBox.StandardButton.Yes)
        qtbot.mouseClick(window.versions.delete, LEFT)
    qtbot.waitUntil(lambda: not Registry(window._session.profile).all())


@pytest.mark.timeout(600)
def test_a_run_is_stopped_and_discarded(
    window: MainWindow, qtbot: QtBot, starter: Path, pairs_file: Callable[[int], Path]
) -> None:
    _import(window, pairs_file(40), qtbot)
    _ready_to_train(window, qtbot, epochs=200)
    qtbot.mouseClick(window.training.start, LEFT)
    qtbot.waitUntil(lambda: window.training.view.progress.value() >= 1, timeout=LONG)
    with qtbot.waitSignal(window._session.run_finished, timeout=15_000) as ended:
        window.training.stop_run(keep=False)
        assert not window.training.stop.isEnabled()
    assert ended.args is not None
    assert ended.args[0].status == "discarded"
    assert not Registry(window._session.profile).all()
    assert window.training.start.isEnabled() or "forecast" in window.training.start.toolTip()


@pytest.mark.timeout(600)
def test_a_killed_trainer_is_tried_again_in_the_same_view_and_can_be_put_back(
    window: MainWindow, qtbot: QtBot, starter: Path, pairs_file: Callable[[int], Path]
) -> None:
    session = window._session
    session.set(PLAN + "retry_seconds", 0)
    _import(window, pairs_file(40), qtbot)
    _ready_to_train(window, qtbot, epochs=200)
    qtbot.mouseClick(window.training.start, LEFT)
    qtbot.waitUntil(lambda: window.training.view.progress.value() >= 1, timeout=LONG)
    thread = window.training.thread_of_run
    assert thread is not None
    first = thread.pid
    assert first is not None
    os.kill(first, getattr(signal, "SIGKILL", signal.SIGTERM))
    qtbot.waitUntil(lambda: thread.pid not in (None, first), timeout=LONG)
    assert any("tried again" in line for line in window.training.view.log.lines())
    assert window.training.training
    with qtbot.waitSignal(session.run_finished, timeout=30_000):
        window.training.put_back()
    (job,) = session.queue.jobs()
    assert (job.state, job.reason, job.failures) == ("waiting", "later", 1)
    assert Runs(session.profile.db).get(job.run_id).status == "interrupted"


@pytest.mark.timeout(600)
def test_a_killed_trainer_that_is_not_tried_again_is_told_and_the_window_lives(
    window: MainWindow, qtbot: QtBot, starter: Path, pairs_file: Callable[[int], Path]
) -> None:
    session = window._session
    session.set(PLAN + "retries", 0)
    _import(window, pairs_file(40), qtbot)
    _ready_to_train(window, qtbot, epochs=200)
    qtbot.mouseClick(window.training.start, LEFT)
    qtbot.waitUntil(lambda: window.training.view.progress.value() >= 1, timeout=LONG)
    thread = window.training.thread_of_run
    assert thread is not None
    assert thread.pid is not None
    with qtbot.waitSignal(session.run_finished, timeout=15_000):
        os.kill(thread.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    assert "interrupted" in window.training.notice.what.text()
    (run,) = Runs(session.profile.db).all()
    assert run.status == "interrupted"
