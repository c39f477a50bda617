"""The Training and Privacy tabs without a run: the plan, the forecast, the base, the budget."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QComboBox, QWidget
from pytestqt.qtbot import QtBot

from ui.main_window import MainWindow
from ui.training_tab import ADVANCED, ELSEWHERE
from ui.widgets.epsilon_slider import HIGHEST, LOWEST, EpsilonSlider
from ui.widgets.plan_form import NumberBox, PlanForm
from xeno.data.importing import import_preferences
from xeno.privacy.ledger import PrivacyLedger
from xeno.training.plan import TrainingPlan

pytestmark = pytest.mark.usefixtures("starter")


def _import(window: MainWindow, path: Path) -> None:
    import_preferences(window._session.profile, path)
    window._session.pairs_changed.emit()


def _show(window: MainWindow, tab: QWidget, qtbot: QtBot) -> None:
    window.tabs.setCurrentWidget(tab)
    qtbot.waitUntil(lambda: window.feed.latest is not None)


def test_start_says_why_it_cannot_start(window: MainWindow, qtbot: QtBot) -> None:
    _show(window, window.training, qtbot)
    assert not window.training.start.isEnabled()
    assert "no pairs" in window.training.start.toolTip()
    assert window.training.state.text() == window.training.start.toolTip()


def test_with_enough_pairs_the_run_can_start(
    window: MainWindow, qtbot: QtBot, pairs_file: Callable[[int], Path]
) -> None:
    _import(window, pairs_file(40))
    _show(window, window.training, qtbot)
    assert window.training.start.isEnabled()
    assert window.training.ready.text() == "40 pairs ready."
    assert "held out" in window.training.forecast.figures["Pairs"].text()
    assert "ε" in window.training.forecast.figures["Privacy of the run"].text()


def test_the_form_follows_the_declaration_of_the_plan(qtbot: QtBot) -> None:
    form = PlanForm(ADVANCED)
    qtbot.addWidget(form)
    assert set(form.editors) | ELSEWHERE == set(TrainingPlan.model_fields)
    for name, editor in form.editors.items():
        declared = TrainingPlan.model_fields[name]
        assert editor.accessibleName() == declared.title
        assert editor.toolTip() == declared.description
    assert isinstance(form.editors["dtype"], QComboBox)


def test_what_is_typed_into_the_form_is_the_next_plan(window: MainWindow, qtbot: QtBot) -> None:
    window.tabs.setCurrentWidget(window.training)
    qtbot.mouseClick(window.training.advanced_switch, Qt.MouseButton.LeftButton)
    assert window.training.form is not None
    rate = window.training.form.editors["learning_rate"]
    assert isinstance(rate, NumberBox)
    assert rate.text() == "automatic"
    rate.setValue(0.0005)
    assert window._session.plan().learning_rate == pytest.approx(0.0005)
    assert rate.text() == "0.0005"
    assert window.training.reset is not None
    qtbot.mouseClick(window.training.reset, Qt.MouseButton.LeftButton)
    assert window._session.plan().learning_rate is None


def test_a_folder_that_is_no_model_is_explained_in_place(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    window.tabs.setCurrentWidget(window.training)
    window.training.base.take(tmp_path)
    qtbot.waitUntil(window.training.base.notice.isVisible)
    assert str(tmp_path) in window.training.base.notice.what.text()
    assert window._session.setting("base") is None


def test_the_slider_goes_from_more_private_to_learns_more(qtbot: QtBot) -> None:
    slider = EpsilonSlider()
    qtbot.addWidget(slider)
    slider.slider.setValue(slider.slider.minimum())
    assert slider.epsilon() == LOWEST
    assert "strong" in slider.value_label.text()
    slider.slider.setValue(slider.slider.maximum())
    assert slider.epsilon() == HIGHEST
    assert "weak" in slider.value_label.text()


def test_privacy_is_on_at_eight_and_can_be_left_by_one_click(
    window: MainWindow, qtbot: QtBot
) -> None:
    tab, session = window.privacy, window._session
    window.tabs.setCurrentWidget(tab)
    assert tab.switch.isChecked()
    assert session.plan().private
    assert session.plan().epsilon == 8.0
    qtbot.mouseClick(tab.without, Qt.MouseButton.LeftButton)
    assert not session.plan().private
    assert "not private" in tab.meaning.text()
    assert not tab.slider.slider.isEnabled()
    assert "without privacy" in tab.slider.slider.toolTip()
    qtbot.waitUntil(lambda: session.profile.setting("plan.private") is False)
    assert "Without privacy" in window.training.privacy.text()


def test_the_forecast_follows_the_slider(
    window: MainWindow, qtbot: QtBot, pairs_file: Callable[[int], Path]
) -> None:
    _import(window, pairs_file(40))
    _show(window, window.privacy, qtbot)
    before = window.feed.latest
    assert before is not None
    window.privacy.slider.slider.setFocus()
    qtbot.keyClick(window.privacy.slider.slider, Qt.Key.Key_Home)
    qtbot.waitUntil(lambda: window.feed.latest not in (None, before))
    after = window.feed.latest
    assert after is not None
    assert (after.noise_multiplier or 0) > (before.noise_multiplier or 0)


def test_the_budget_is_shown_and_can_be_changed(window: MainWindow, qtbot: QtBot) -> None:
    window.tabs.setCurrentWidget(window.privacy)
    account = window.privacy.account
    qtbot.waitUntil(lambda: "0.00 of 16 spent" in account.meter.words.text())
    assert account.budget.value() == 16.0
    account.budget.setValue(4.0)
    ledger = PrivacyLedger(window._session.profile)
    qtbot.waitUntil(lambda: ledger.budget()[0] == 4.0)
    qtbot.waitUntil(lambda: "of 4 spent" in window.privacy.account.meter.words.text())


def test_how_the_key_is_kept_and_whom_the_program_talks_to(
    window: MainWindow, qtbot: QtBot
) -> None:
    assert "file" in window.privacy.protection.text()
    window.privacy.reload()
    qtbot.waitUntil(lambda: "pypi.org" in window.privacy.hosts.text())
    assert "None yet: To let a larger model suggest" in window.privacy.hosts.text()
