"""The Training and Privacy tabs without a run: the plan, the forecast, the base, the budget."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import TypeAdapter
from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QSpinBox, QWidget
from pytestqt.qtbot import QtBot

from ui.main_window import MainWindow
from ui.session import PLAN
from ui.theme import Theme
from ui.training_tab import ELSEWHERE
from ui.widgets.epsilon_slider import HIGHEST, LOWEST, EpsilonSlider
from ui.widgets.plan_form import PlanForm
from ui.widgets.setting_editor import NumberBox
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
    assert window.training.setup.ready.text() == "40 pairs ready."
    assert "held out" in window.training.forecast.figures["Pairs"].text()
    assert "ε" in window.training.forecast.figures["Privacy of the run"].text()
    assert "%" in window.training.forecast.figures["Expected accuracy"].text()
    assert "Learning becomes visible" in window.privacy.expected.text()


def _form(window: MainWindow, qtbot: QtBot) -> PlanForm:
    window.tabs.setCurrentWidget(window.training)
    qtbot.mouseClick(window.training.advanced_switch, Qt.MouseButton.LeftButton)
    assert window.training.form is not None
    return window.training.form


def test_the_form_follows_the_declaration_of_the_plan(theme: Theme, qtbot: QtBot) -> None:
    form = PlanForm(theme, ELSEWHERE)
    qtbot.addWidget(form)
    assert set(form.names) | ELSEWHERE >= set(TrainingPlan.model_fields)
    for name in form.names:
        editor, declared = form.editor(name), TrainingPlan.model_fields[name]
        assert editor.accessibleName() == declared.title
        assert editor.toolTip() == declared.description or not editor.isEnabled()
    assert isinstance(form.editor("dtype"), QComboBox)


def test_every_editor_gives_back_what_it_shows_and_only_what_the_plan_takes(
    theme: Theme, qtbot: QtBot
) -> None:
    form = PlanForm(theme, ELSEWHERE)
    qtbot.addWidget(form)
    edited: dict[str, object] = {}
    form.edited.connect(lambda name, value: edited.update({name: value}))
    for name in form.names:
        default = TrainingPlan.model_fields[name].default
        widget = form.editor(name)
        line = next(each.rows[name] for each in form.sections if name in each.rows)
        line.show_value(default)
        assert name not in edited, f"showing {name} said that it was edited"
        if isinstance(widget, QSpinBox | QDoubleSpinBox):
            widget.valueChanged.emit(widget.value())
            shown = edited[name]
            assert shown == (default if default is None else pytest.approx(default)), name
            for value in (widget.maximum(), widget.minimum()):
                widget.setValue(value)  # type: ignore[arg-type]
                declared = TrainingPlan.model_fields[name]
                kind = Annotated[declared.annotation, *declared.metadata]  # type: ignore[name-defined]
                TypeAdapter(kind).validate_python(edited[name])
        elif isinstance(widget, QComboBox):
            assert widget.currentData() == default
        elif isinstance(widget, QCheckBox):
            widget.click()
            assert edited[name] is (not default)


def test_what_is_typed_into_the_form_is_the_next_plan(window: MainWindow, qtbot: QtBot) -> None:
    form = _form(window, qtbot)
    rate = form.editor("learning_rate")
    assert isinstance(rate, NumberBox)
    assert rate.text() == "automatic"
    rate.setValue(0.0005)
    assert window._session.plan().learning_rate == pytest.approx(0.0005)
    assert rate.text() == "0.0005"
    assert form.changed() == ["learning_rate"]
    qtbot.mouseClick(form.reset, Qt.MouseButton.LeftButton)
    assert window._session.plan().learning_rate is None
    assert not form.reset.isEnabled()
    assert "default" in form.reset.toolTip()


def test_a_changed_setting_is_marked_and_reset_by_itself(window: MainWindow, qtbot: QtBot) -> None:
    form = _form(window, qtbot)
    form.editor("seed")
    line = next(each.rows["seed"] for each in form.sections if "seed" in each.rows)
    assert not line.mark.isVisible()
    line.editor.widget.setValue(7)  # type: ignore[attr-defined]
    assert line.mark.isVisible()
    assert any("1 changed" in each.heading.text() for each in form.sections)
    qtbot.mouseClick(line.reset, Qt.MouseButton.LeftButton)
    assert window._session.plan().seed == 0
    assert not line.reset.isVisible()


def test_the_search_finds_settings_by_what_they_do(window: MainWindow, qtbot: QtBot) -> None:
    form = _form(window, qtbot)
    qtbot.keyClicks(form.search, "held-out pairs")
    qtbot.waitUntil(lambda: "found" in form.found.text())
    visible = {
        name for each in form.sections for name, line in each.rows.items() if line.isVisible()
    }
    assert "evaluations" in visible
    assert "optimizer" not in visible
    form.search.clear()
    qtbot.waitUntil(lambda: not form.found.isVisible())
    assert all(each.isVisible() for each in form.sections)


def test_a_setting_that_does_nothing_in_this_run_says_so(window: MainWindow, qtbot: QtBot) -> None:
    form = _form(window, qtbot)
    window._session.set(PLAN + "private", False)
    steps = form.editor("private_steps")
    assert not steps.isEnabled()
    assert "only with differential privacy" in steps.toolTip()
    window._session.set(PLAN + "private", True)
    assert steps.isEnabled()


def test_presets_and_strengths_set_several_settings_at_once(
    window: MainWindow, qtbot: QtBot
) -> None:
    setup, session = window.training.setup, window._session
    window.tabs.setCurrentWidget(window.training)
    session.set(PLAN + "private", False)
    assert setup.preset.combo.currentData() == "cpu"
    setup.preset.combo.setCurrentIndex(setup.preset.combo.findData("8gb"))
    setup.preset.combo.activated.emit(setup.preset.combo.currentIndex())
    plan = session.plan()
    assert (plan.lora_rank, plan.batch_size, plan.max_length, plan.epochs) == (4, 4, 512, 1)
    setup.strength.combo.setCurrentIndex(setup.strength.combo.findData("strong"))
    setup.strength.combo.activated.emit(setup.strength.combo.currentIndex())
    assert session.plan().beta == 0.02
    session.set(PLAN + "beta", 0.07)
    assert setup.strength.combo.currentText() == "Custom"
    assert setup.preset.combo.currentData() == "8gb"


def test_settings_are_chosen_from_the_pairs_with_their_reasons(
    window: MainWindow, qtbot: QtBot, pairs_file: Callable[[int], Path]
) -> None:
    _import(window, pairs_file(40))
    _show(window, window.training, qtbot)
    window._session.set(PLAN + "private", False)
    qtbot.mouseClick(window.training.setup.advise, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(window.training.notice.isVisible, timeout=30_000)
    assert "40 pairs" in window.training.notice.more.text()
    assert window._session.plan().lora_rank == 4


def test_a_folder_that_is_no_model_is_explained_in_place(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    window.tabs.setCurrentWidget(window.training)
    window.training.setup.base.take(tmp_path)
    qtbot.waitUntil(window.training.setup.base.notice.isVisible)
    assert str(tmp_path) in window.training.setup.base.notice.what.text()
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
    assert "Without privacy" in window.training.setup.privacy.text()


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
