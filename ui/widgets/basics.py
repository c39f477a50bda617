"""Small parts that the whole window is made of: labels, cards, buttons, saying why not."""

from __future__ import annotations

from collections.abc import Callable

from PyQt6.QtCore import QSize, Qt
from PyQt6.QtGui import QKeySequence, QPainter, QPaintEvent, QResizeEvent, QShortcut
from PyQt6.QtWidgets import (
    QBoxLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLayout,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ui.theme import Theme


def label(text: str = "", kind: str = "", *, wrap: bool = True) -> QLabel:
    """A label in the look `kind` of the stylesheet; its text can be selected and copied."""
    widget = QLabel(text)
    widget.setTextFormat(Qt.TextFormat.PlainText)
    widget.setWordWrap(wrap)
    set_kind(widget, kind)
    return widget


class ElidedLabel(QLabel):
    """One line that ends in … where there is no room for all of it."""

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        return QSize(30, super().minimumSizeHint().height())

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802
        painter = QPainter(self)
        text = self.fontMetrics().elidedText(
            self.text(), Qt.TextElideMode.ElideRight, self.contentsRect().width()
        )
        painter.drawText(self.contentsRect(), Qt.AlignmentFlag.AlignVCenter, text)
        painter.end()


def set_kind(widget: QWidget, kind: str) -> None:
    """Give `widget` the look `kind`; takes effect at once."""
    if widget.property("kind") == kind:
        return
    widget.setProperty("kind", kind)
    style = widget.style()
    if style is not None and widget.testAttribute(Qt.WidgetAttribute.WA_WState_Polished):
        style.unpolish(widget)
        style.polish(widget)


class Card(QFrame):
    """A raised panel with an optional heading and a line of explanation under it."""

    def __init__(self, heading: str = "", explanation: str = "") -> None:
        super().__init__()
        self.setProperty("kind", "card")
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(18, 16, 18, 16)
        self.body.setSpacing(10)
        if heading:
            self.heading = label(heading, "heading")
            self.body.addWidget(self.heading)
        if explanation:
            self.body.addWidget(label(explanation, "muted"))

    def add(self, item: QWidget | QLayout, stretch: int = 0) -> None:
        """Add a widget or a layout below what is there."""
        if isinstance(item, QLayout):
            self.body.addLayout(item, stretch)
        else:
            self.body.addWidget(item, stretch)


class Page(QScrollArea):
    """A tab's content: a column of cards that scrolls when the window is small."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        content = QWidget()
        content.setProperty("kind", "page")
        self.column = QVBoxLayout(content)
        self.column.setContentsMargins(20, 18, 20, 20)
        self.column.setSpacing(16)
        self.setWidget(content)

    def add(self, item: QWidget | QLayout, stretch: int = 0) -> None:
        """Add a widget or a layout below what is there."""
        if isinstance(item, QLayout):
            self.column.addLayout(item, stretch)
        else:
            self.column.addWidget(item, stretch)


class SideBySide(QWidget):
    """Widgets beside each other where there is room, else one under the other.

    Args:
        shares: each widget with its share of the width.
    """

    def __init__(self, *shares: tuple[QWidget, int], spacing: int = 16) -> None:
        super().__init__()
        self._widgets = [widget for widget, _ in shares]
        self._box = QBoxLayout(QBoxLayout.Direction.LeftToRight, self)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(spacing)
        for widget, share in shares:
            self._box.addWidget(widget, share)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        widest = max(widget.minimumSizeHint().width() for widget in self._widgets)
        return QSize(widest, super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802
        needed = sum(widget.minimumSizeHint().width() for widget in self._widgets)
        needed += self._box.spacing() * (len(self._widgets) - 1)
        way = QBoxLayout.Direction
        self._box.setDirection(way.LeftToRight if needed <= self.width() else way.TopToBottom)
        super().resizeEvent(event)


def button(text: str, kind: str = "", *, tip: str = "", name: str = "") -> QPushButton:
    """A push button; `&` in `text` marks its mnemonic, `name` is what a screen reader says."""
    widget = QPushButton(text)
    widget.setAccessibleName(name or text.replace("&", "").rstrip("…"))
    widget.setToolTip(tip)
    widget.setAutoDefault(False)
    widget.setCursor(Qt.CursorShape.PointingHandCursor)
    widget.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
    set_kind(widget, kind)
    return widget


class Tool(QToolButton):
    """A button that shows only an icon, redrawn when the theme changes.

    Args:
        icon: the icon's name.
        name: what a screen reader says.
        tip: the tooltip; the name if empty.
    """

    def __init__(
        self, theme: Theme, icon: str, name: str, *, tip: str = "", checkable: bool = False
    ) -> None:
        super().__init__()
        self._theme = theme
        self._drawing = icon
        self._lit = False
        self.setAccessibleName(name)
        self.setToolTip(tip or name)
        self.setCheckable(checkable)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.toggled.connect(self._tint)
        theme.changed.connect(self._tint)
        self._tint()

    def draw(self, icon: str, *, lit: bool = False) -> None:
        """Show another icon; `lit` draws it in the accent colour."""
        self._drawing, self._lit = icon, lit
        self._tint()

    def _tint(self) -> None:
        lit = self._lit or self.isChecked()
        self.setIcon(self._theme.icon(self._drawing, self._theme.colors.accent if lit else None))


def row(*items: QWidget | None, spacing: int = 10) -> QHBoxLayout:
    """The widgets side by side; None is the space that stretches."""
    layout = QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(spacing)
    for item in items:
        if item is None:
            layout.addStretch(1)
        else:
            layout.addWidget(item)
    return layout


def named(widget: QWidget, name: str, tip: str = "") -> QWidget:
    """Give `widget` its accessible name, and a tooltip if there is one."""
    widget.setAccessibleName(name)
    if tip:
        widget.setToolTip(tip)
    return widget


def labelled(text: str, editor: QWidget) -> QWidget:
    """An editor with its label at its left; they stay together where the line is broken."""
    words = label(text, wrap=False)
    words.setTextFormat(Qt.TextFormat.AutoText)
    words.setBuddy(editor)
    together = QWidget()
    line = row(words, editor)
    line.setContentsMargins(0, 0, 0, 0)
    together.setLayout(line)
    return together


def on_key(where: QWidget, key: str, do: Callable[[], object]) -> None:
    """Call `do` when `key` is pressed while the focus is in `where`."""
    shortcut = QShortcut(QKeySequence(key), where)
    shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
    shortcut.activated.connect(lambda: do())


def allow(widget: QWidget, reason: str = "") -> None:
    """Enable `widget`, or disable it and say why: a control that is grey never stays silent."""
    if widget.isEnabled() and widget.property("own_tip") is None:
        widget.setProperty("own_tip", widget.toolTip())
    own = widget.property("own_tip") or ""
    widget.setEnabled(not reason)
    widget.setToolTip(reason or own)
    widget.setAccessibleDescription(reason)
