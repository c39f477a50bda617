"""The search for settings and files of settings in the Training tab."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from ui.main_window import MainWindow
from ui.session import PLAN, Session
from ui.widgets.search_panel import SearchPanel
from xeno.data.importing import import_preferences
from xeno.jobs.search import begin, trials
from xeno.store.runs import Runs
from xeno.training.plan_files import read

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def panel(
    session: Session, qtbot: QtBot, starter: Path, pairs_file: Callable[[int], Path]
) -> Iterator[SearchPanel]:
    import_preferences(session.profile, pairs_file(30))
    made = SearchPanel(session)
    qtbot.addWidget(made)
    made.show()
    qtbot.waitExposed(made)
    yield made
    made.close()


def _measure(session: Session, accuracies: list[float]) -> None:
    """End the open trials as a trainer does."""
    runs = Runs(session.profile.db)
    for trial, accuracy in zip(trials(session.profile), accuracies, strict=True):
        measures = {"heldout_preference_accuracy": accuracy, "heldout_loss": 1 - accuracy}
        runs.finish(trial.run.id, "discarded", metrics=measures)


def test_a_private_run_is_not_searched_for_and_says_why(
    panel: SearchPanel, session: Session
) -> None:
    panel.allow_search("", "")
    assert "differential privacy" in panel.begin.toolTip()
    session.set_plan({"private": False})
    panel.allow_search("There are no pairs.", "")
    assert panel.begin.toolTip() == "There are no pairs."
    panel.allow_search("", "")
    assert panel.begin.isEnabled()
    assert panel.stop.toolTip() == "No search is going on."
    assert panel.apply.toolTip() == "Choose a trial in the table first."


def test_a_search_queues_its_trials_and_offers_the_best(
    panel: SearchPanel, session: Session, qtbot: QtBot
) -> None:
    session.set_plan({"private": False})
    panel.allow_search("", "")
    panel.count.setValue(3)
    qtbot.mouseClick(panel.begin, LEFT)
    qtbot.waitUntil(lambda: panel.going, timeout=20_000)
    assert [job.state for job in session.queue.jobs()] == ["waiting"] * 3
    assert panel.begin.toolTip() == "A search is going on."
    assert {panel._state(each) for each in panel.model.records} == {"waiting"}
    with qtbot.waitSignal(panel.ended) as ended:
        _measure(session, [0.5, 0.9, 0.7])
        panel.reload()
    assert ended.args is not None
    assert ended.args[0].accuracy == 0.9
    assert [each.accuracy for each in panel.model.records] == [0.9, 0.7, 0.5]
    assert panel._state(panel.model.records[0]) == "measured, the best"
    with qtbot.waitSignal(panel.use) as used:
        qtbot.mouseClick(panel.apply, LEFT)
    assert used.args == [panel.model.records[0].run.plan]


def test_a_search_is_ended_and_what_was_measured_stays(
    panel: SearchPanel, session: Session, qtbot: QtBot
) -> None:
    session.set_plan({"private": False})
    begin(session.queue, session.profile, session.plan(), 2)
    panel.reload()
    qtbot.waitUntil(lambda: panel.going)
    runs = Runs(session.profile.db)
    first = panel.model.records[0].run
    runs.finish(first.id, "discarded", metrics={"heldout_preference_accuracy": 0.6})
    qtbot.mouseClick(panel.stop, LEFT)
    qtbot.waitUntil(lambda: not panel.going)
    assert [job.run_id for job in session.queue.jobs()] == [first.id], "its trainer says its end"
    assert [each.accuracy for each in panel.model.records] == [0.6, None]


def test_every_control_of_the_search_has_a_name(panel: SearchPanel) -> None:
    for control in (panel.table, panel.count, panel.begin, panel.stop, panel.apply):
        assert control.accessibleName()
        assert control.focusPolicy() != Qt.FocusPolicy.NoFocus


def test_the_best_settings_become_those_of_the_next_run(
    window: MainWindow, qtbot: QtBot, starter: Path, pairs_file: Callable[[int], Path]
) -> None:
    session, tab = window._session, window.training
    import_preferences(session.profile, pairs_file(30))
    session.set_plan({"private": False})
    begin(session.queue, session.profile, session.plan(), 2)
    window.tabs.setCurrentWidget(tab)
    tab.search_switch.click()
    qtbot.waitUntil(lambda: tab.search.going)
    _measure(session, [0.2, 0.8])
    tab.search.reload()
    qtbot.waitUntil(tab.notice.isVisible)
    best = trials(session.profile)[0]
    assert "80" in tab.notice.more.text()
    qtbot.mouseClick(tab.notice.action, LEFT)
    qtbot.waitUntil(lambda: session.setting(PLAN + "lora_rank") == best.values["lora_rank"])
    assert session.plan().beta == best.values["beta"]
    assert not session.plan().trial


# Files of settings ----------------------------------------------------------------------------


def test_settings_go_into_a_file_and_come_back(
    window: MainWindow,
    qtbot: QtBot,
    starter: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session, tab = window._session, window.training
    window.tabs.setCurrentWidget(tab)
    tab.advanced_switch.click()
    session.set_plan({"beta": 0.3, "seed": 7})
    path = tmp_path / "settings.yaml"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    qtbot.mouseClick(tab.files.save, LEFT)
    qtbot.waitUntil(path.exists)
    assert read(path)["beta"] == 0.3
    assert "base" not in read(path), "a folder of one machine"
    path.write_text("beta: 0.4\n")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    qtbot.mouseClick(tab.files.open, LEFT)
    qtbot.waitUntil(lambda: session.plan().beta == 0.4, timeout=20_000)
    assert session.plan().seed == 0, "what a file does not name has its default"
    assert session.base() == starter


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("betta: 0.4\n", "The nearest is 'beta'."),
        ("beta: -1\n", "'beta' cannot be -1"),
        ("- beta\n", "is not a plan"),
    ],
)
def test_a_file_that_cannot_be_used_is_explained_and_changes_nothing(
    window: MainWindow, qtbot: QtBot, starter: Path, tmp_path: Path, text: str, words: str
) -> None:
    session, tab = window._session, window.training
    window.tabs.setCurrentWidget(tab)
    tab.advanced_switch.click()
    before = session.plan()
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    tab.files.open_file(path)
    qtbot.waitUntil(tab.files.notice.isVisible)
    assert words in f"{tab.files.notice.what.text()} {tab.files.notice.more.text()}"
    assert session.plan() == before
