"""The queue in the Training tab: what stands there, what can be done by mouse and keyboard, and
that the window runs what others queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PyQt6.QtCore import Qt
from PyQt6.QtTest import QTest
from PyQt6.QtWidgets import QMessageBox
from pytestqt.qtbot import QtBot

from ui.main_window import MainWindow
from ui.session import Session
from ui.widgets.queue_panel import QueuePanel
from xeno.data.importing import import_preferences
from xeno.jobs.leases import Leases
from xeno.jobs.store import Queue
from xeno.jobs.submission import submit
from xeno.store.runs import Runs
from xeno.training.plan import TrainingPlan

LEFT = Qt.MouseButton.LeftButton
ALT = Qt.KeyboardModifier.AltModifier


@pytest.fixture
def panel(session: Session, qtbot: QtBot) -> Iterator[QueuePanel]:
    made = QueuePanel(session)
    qtbot.addWidget(made)
    made.show()
    qtbot.waitExposed(made)
    yield made
    made.close()


@pytest.fixture
def queue(session: Session) -> Iterator[Queue]:
    """The queue as another program has it open."""
    with Queue(session.profile.home) as opened:
        yield opened


def _shown(panel: QueuePanel) -> list[str]:
    return [row.job.run_id for row in panel.model.records]


def _wait_for(panel: QueuePanel, qtbot: QtBot, *runs: str) -> None:
    panel.reload()
    qtbot.waitUntil(lambda: _shown(panel) == list(runs))


def _choose(panel: QueuePanel, place: int) -> None:
    panel.table.setFocus()
    panel.table.choose_row(place)


def test_what_another_program_queues_appears_by_itself(
    panel: QueuePanel, queue: Queue, qtbot: QtBot
) -> None:
    qtbot.waitUntil(lambda: panel.up.toolTip() == "Nothing waits.")
    queue.add("default", "r1")
    qtbot.waitUntil(lambda: _shown(panel) == ["r1"], timeout=10_000)
    assert "not open" in panel.model.records[0].note
    assert not panel.cancel.isEnabled()
    assert panel.cancel.toolTip() == "Choose a job in the table first."


def test_the_order_is_changed_by_keyboard_and_the_ends_say_so(
    panel: QueuePanel, queue: Queue, qtbot: QtBot
) -> None:
    for name in ("r1", "r2", "r3"):
        queue.add("default", name)
    _wait_for(panel, qtbot, "r1", "r2", "r3")
    _choose(panel, 2)
    assert panel.down.toolTip() == "It is the last of its priority."
    QTest.keyClick(panel.table, Qt.Key.Key_Up, ALT)
    qtbot.waitUntil(lambda: _shown(panel) == ["r1", "r3", "r2"])
    QTest.keyClick(panel.table, Qt.Key.Key_Up, ALT)
    qtbot.waitUntil(lambda: _shown(panel) == ["r3", "r1", "r2"])
    assert panel.chosen is not None
    assert panel.chosen.job.run_id == "r3", "what was chosen stays so where it moves"
    qtbot.waitUntil(lambda: panel.up.toolTip() == "It is the first of its priority.")
    qtbot.mouseClick(panel.down, LEFT)
    qtbot.waitUntil(lambda: _shown(panel) == ["r1", "r3", "r2"])


def test_a_job_is_brought_to_either_end_by_keyboard(
    panel: QueuePanel, queue: Queue, qtbot: QtBot
) -> None:
    for name in ("r1", "r2", "r3"):
        queue.add("default", name)
    _wait_for(panel, qtbot, "r1", "r2", "r3")
    _choose(panel, 2)
    QTest.keyClick(panel.table, Qt.Key.Key_Home, ALT)
    qtbot.waitUntil(lambda: _shown(panel) == ["r3", "r1", "r2"])
    qtbot.waitUntil(lambda: panel.first.toolTip() == "It is the first of its priority.")
    QTest.keyClick(panel.table, Qt.Key.Key_End, ALT)
    qtbot.waitUntil(lambda: _shown(panel) == ["r1", "r2", "r3"])


def test_jobs_that_have_ended_are_shown_on_request_and_left_alone(
    panel: QueuePanel, queue: Queue, qtbot: QtBot
) -> None:
    queue.add("default", "r1")
    gone = queue.add("default", "r2")
    queue.cancel(gone.id)
    _wait_for(panel, qtbot, "r1")
    panel.ended.click()
    qtbot.waitUntil(lambda: _shown(panel) == ["r1", "r2"])
    assert "It was cancelled." in panel.model.records[1].note
    _choose(panel, 1)
    for control in (panel.up, panel.first, panel.priority, panel.cancel):
        assert not control.isEnabled()
        assert control.toolTip() == "It has ended."
    panel.ended.click()
    qtbot.waitUntil(lambda: _shown(panel) == ["r1"])


def test_settings_of_the_queue_are_shown_and_kept_for_the_whole_machine(
    panel: QueuePanel, queue: Queue, qtbot: QtBot
) -> None:
    queue.set_machine(ageing_hours=3)
    dialog = panel.open_settings()
    qtbot.waitUntil(lambda: dialog.rows["ageing_hours"].editor.widget.value() == 3.0)
    longest = dialog.rows["longest_run_hours"].editor.widget
    assert longest.text() == "no limit"
    assert longest.accessibleName() == "Longest run"
    longest.setValue(8)
    qtbot.waitUntil(lambda: queue.machine().longest_run_hours == 8)
    dialog.rows["concurrency"].editor.widget.setValue(4)
    qtbot.waitUntil(lambda: panel.concurrency.value() == 4)
    qtbot.mouseClick(dialog.rows["longest_run_hours"].reset, LEFT)
    qtbot.waitUntil(lambda: queue.machine().longest_run_hours is None)
    dialog.close()


def test_the_priority_is_chosen_from_a_list(panel: QueuePanel, queue: Queue, qtbot: QtBot) -> None:
    queue.add("default", "r1")
    queue.add("default", "r2")
    _wait_for(panel, qtbot, "r1", "r2")
    _choose(panel, 1)
    assert panel.priority.currentText() == "Medium"
    panel.priority.setFocus()
    QTest.keyClick(panel.priority, Qt.Key.Key_Up)
    qtbot.waitUntil(lambda: _shown(panel) == ["r2", "r1"])
    assert panel.model.records[0].job.priority == "high"


@pytest.mark.parametrize(("answer", "left"), [("Take out", 0), ("Leave it", 1)])
def test_taking_out_asks_first(
    panel: QueuePanel,
    queue: Queue,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    left: int,
) -> None:
    job = queue.add("default", "r1")
    _wait_for(panel, qtbot, "r1")
    _choose(panel, 0)

    def answered(box: QMessageBox) -> int:
        (chosen,) = [each for each in box.buttons() if each.text().replace("&", "") == answer]
        chosen.click()
        return 0

    monkeypatch.setattr(QMessageBox, "exec", answered)
    QTest.keyClick(panel.table, Qt.Key.Key_Delete)
    qtbot.waitUntil(lambda: (queue.get(job.id).state == "waiting") == bool(left))
    qtbot.waitUntil(lambda: len(panel.model.records) == left)


def test_the_jobs_of_others_are_seen_and_left_alone(
    panel: QueuePanel, queue: Queue, qtbot: QtBot
) -> None:
    queue.add("bob", "r1")
    _wait_for(panel, qtbot, "r1")
    _choose(panel, 0)
    for control in (panel.up, panel.down, panel.priority, panel.cancel):
        assert not control.isEnabled()
        assert control.toolTip() == "It belongs to the profile bob."
        assert control.accessibleDescription() == control.toolTip()


def test_a_running_job_cannot_be_moved_but_ended(
    panel: QueuePanel, queue: Queue, qtbot: QtBot
) -> None:
    job = queue.add("default", "r1")
    assert Leases(queue).claim(["default"]) is not None
    _wait_for(panel, qtbot, "r1")
    _choose(panel, 0)
    assert panel.up.toolTip() == panel.priority.toolTip() == "It runs already."
    assert panel.cancel.isEnabled()
    queue.cancel(job.id, keep=True)
    panel.reload()
    qtbot.waitUntil(lambda: panel.cancel.toolTip() == "It was asked to end.")


def test_how_many_run_at_once_is_set_for_the_whole_machine(
    panel: QueuePanel, queue: Queue, qtbot: QtBot
) -> None:
    panel.concurrency.setValue(3)
    qtbot.waitUntil(lambda: queue.machine().concurrency == 3)
    panel.setFocus()
    queue.set_machine(concurrency=2)
    panel.reload()
    qtbot.waitUntil(lambda: panel.concurrency.value() == 2)


def test_every_control_of_the_queue_has_a_name(panel: QueuePanel) -> None:
    controls = (panel.table, panel.add, panel.up, panel.down, panel.priority, panel.cancel)
    others = (panel.first, panel.last, panel.concurrency, panel.settings, panel.ended)
    for control in (*controls, *others):
        assert control.accessibleName()
        assert control.focusPolicy() != Qt.FocusPolicy.NoFocus


@pytest.mark.timeout(600)
def test_the_window_runs_what_the_queue_gives_it(
    window: MainWindow,
    queue: Queue,
    qtbot: QtBot,
    starter: Path,
    pairs_file: Callable[[int], Path],
) -> None:
    session = window._session
    import_preferences(session.profile, pairs_file(24))
    job = submit(queue, session.profile, TrainingPlan(base=str(starter), private=False, epochs=2))
    with qtbot.waitSignal(session.run_finished, timeout=280_000) as ended:
        session.runs.begin()
        qtbot.waitUntil(lambda: window.training.training, timeout=10_000)
        assert "training" in window.training.start.toolTip()
    assert ended.args is not None
    assert ended.args[0].run_id == job.run_id
    assert ended.args[0].status == "completed", window.training.view.log
    qtbot.waitUntil(lambda: queue.get(job.id).state == "completed")
    assert Runs(session.profile.db).get(job.run_id).status == "completed"
    assert not window.training.training
