"""The window as a whole: tabs, keys, names for screen readers, reasons for what is grey."""

from __future__ import annotations

import pytest
from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QPlainTextEdit,
    QScrollBar,
    QTextBrowser,
    QWidget,
)
from pytestqt.qtbot import QtBot

from ui.main_window import MainWindow
from ui.theme import DARK, LIGHT, TEXT_SIZES
from xeno.errors import XenoError

TITLES = ["Personalization", "Training", "Performance", "Versions", "Privacy"]
CONTROLS = (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QPlainTextEdit,
    QTextBrowser,
)


def _controls(window: MainWindow) -> list[QWidget]:
    """The controls of ours: without the parts that Qt's own controls are made of."""
    found = []
    for control in (each for kind in CONTROLS for each in window.findChildren(kind)):
        if isinstance(control, QScrollBar) or control.objectName().startswith("qt_"):
            continue
        parent, inner = control.parentWidget(), False
        while parent is not None and not inner:
            inner = isinstance(parent, QAbstractSpinBox | QComboBox | QAbstractItemView | QLineEdit)
            parent = parent.parentWidget()
        if not inner and "Scroll" not in control.objectName():
            found.append(control)
    return found


def _visit_all(window: MainWindow, qtbot: QtBot) -> None:
    for place in range(window.tabs.count()):
        window.tabs.setCurrentIndex(place)
        qtbot.wait(50)
    for name in window.personalization.names:
        window.personalization.open(name)
    window.tabs.setCurrentWidget(window.personalization)
    window.training.advanced_switch.click()
    window.import_pairs()
    qtbot.wait(300)


def test_there_are_five_tabs_and_the_assistant_at_the_right(window: MainWindow) -> None:
    assert [window.tabs.tabText(i) for i in range(window.tabs.count())] == TITLES
    area = window.dockWidgetArea(window.assistant)
    assert area == Qt.DockWidgetArea.RightDockWidgetArea
    assert window.assistant.width() >= 360


@pytest.mark.parametrize("place", range(5))
def test_each_tab_has_a_key(window: MainWindow, qtbot: QtBot, place: int) -> None:
    window.tabs.setCurrentIndex((place + 1) % 5)
    window.activateWindow()
    qtbot.keyClick(window, Qt.Key(Qt.Key.Key_1 + place), Qt.KeyboardModifier.ControlModifier)
    assert window.tabs.currentIndex() == place


def test_keys_reach_the_assistant(window: MainWindow, qtbot: QtBot) -> None:
    window.activateWindow()
    qtbot.keyClick(window, Qt.Key.Key_L, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(window.assistant.input.hasFocus)
    qtbot.keyClick(window, Qt.Key.Key_B, Qt.KeyboardModifier.ControlModifier)
    assert not window.assistant.isVisible()
    qtbot.keyClick(window, Qt.Key.Key_N, Qt.KeyboardModifier.ControlModifier)
    assert window.assistant.isVisible()


def test_every_control_has_a_name(window: MainWindow, qtbot: QtBot) -> None:
    _visit_all(window, qtbot)
    nameless = [
        f"{type(each).__name__} in {type(each.parentWidget()).__name__}"
        for each in _controls(window)
        if not each.accessibleName().strip()
    ]
    assert not nameless


def test_everything_grey_says_why(window: MainWindow, qtbot: QtBot) -> None:
    _visit_all(window, qtbot)
    silent = [
        each.accessibleName()
        for each in _controls(window)
        if not each.isEnabled() and not (each.toolTip() and each.accessibleDescription())
    ]
    assert not silent
    assert any(not each.isEnabled() for each in _controls(window))


def test_theme_and_text_size_follow_the_user_and_stay(window: MainWindow, qtbot: QtBot) -> None:
    session = window._session
    window._look("ui.theme", "dark")
    assert session.theme.colors is DARK
    window._look("ui.text_size", "large")
    assert window.font().pointSizeF() == TEXT_SIZES["large"]
    window._look("ui.theme", "light")
    assert session.theme.colors is LIGHT
    qtbot.waitUntil(lambda: session.profile.setting("ui.theme") == "light")
    assert session.profile.setting("ui.text_size") == "large"


def test_an_error_says_what_why_and_what_to_do(window: MainWindow, qtbot: QtBot) -> None:
    def fail() -> None:
        raise XenoError("The file is gone.", "Somebody moved it.", "Choose another.")

    window._session.do(fail)
    qtbot.waitUntil(window.notice.isVisible)
    assert window.notice.what.text() == "The file is gone."
    assert window.notice.more.text() == "Somebody moved it. Choose another."
    qtbot.mouseClick(window.notice.dismiss, Qt.MouseButton.LeftButton)
    assert not window.notice.isVisible()


def test_the_keys_are_listed(window: MainWindow, qtbot: QtBot) -> None:
    window.activateWindow()
    qtbot.keyClick(window, Qt.Key.Key_F1)
    page = next(p for p in window.findChildren(QTextBrowser) if "Ctrl+L" in p.toPlainText())
    page.window().close()
