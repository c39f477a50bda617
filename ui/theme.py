"""How the window looks: two palettes of our own, one stylesheet, one set of icons.

Qt's own dark mode does nothing on some platforms, so both palettes are set explicitly on the
Fusion style. The choice and the text size are the user's; "system" follows the desktop.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from string import Template
from typing import Literal

from PyQt6.QtCore import QByteArray, QObject, QRectF, Qt, pyqtSignal
from PyQt6.QtGui import QColor, QGuiApplication, QIcon, QPainter, QPalette, QPixmap
from PyQt6.QtSvg import QSvgRenderer
from PyQt6.QtWidgets import QApplication, QStyleFactory

Mode = Literal["system", "light", "dark"]
MODES: tuple[Mode, ...] = ("system", "light", "dark")
TEXT_SIZES = {"small": 9.5, "normal": 10.5, "large": 12.0, "very large": 14.0}

_ICONS = Path(__file__).parent / "icons"
_STYLESHEET = Path(__file__).parent / "theme.qss"


@dataclass(frozen=True)
class Colors:
    """The named colours of one palette, as #rrggbb."""

    window: str
    surface: str
    raised: str
    border: str
    text: str
    muted: str
    accent: str
    accent_hover: str
    accent_soft: str
    on_accent: str
    user_bubble: str
    good: str
    good_soft: str
    warning: str
    warning_soft: str
    bad: str
    bad_soft: str
    lines: tuple[str, ...]


LIGHT = Colors(
    window="#f4f5f8",
    surface="#ffffff",
    raised="#eceef3",
    border="#d9dde6",
    text="#1c2230",
    muted="#5a6375",
    accent="#3b57c9",
    accent_hover="#314aae",
    accent_soft="#e6eafb",
    on_accent="#ffffff",
    user_bubble="#dfe5fa",
    good="#1c7a4b",
    good_soft="#def3e6",
    warning="#8a5a00",
    warning_soft="#fdf3dc",
    bad="#b3261e",
    bad_soft="#fde9e7",
    lines=("#3b57c9", "#c2571a", "#1c7a4b", "#8e44ad", "#0f7c8c", "#a8324a"),
)
DARK = Colors(
    window="#15171c",
    surface="#1d2027",
    raised="#282c35",
    border="#343945",
    text="#e7e9ee",
    muted="#a2abba",
    accent="#8b9ff5",
    accent_hover="#a3b3f8",
    accent_soft="#2a3150",
    on_accent="#10131c",
    user_bubble="#2c3557",
    good="#67c796",
    good_soft="#1f3d2e",
    warning="#e6b85c",
    warning_soft="#3a3120",
    bad="#f28b82",
    bad_soft="#43272a",
    lines=("#8b9ff5", "#f0a46b", "#67c796", "#c99be6", "#62c4d4", "#ee8ba0"),
)


class Theme(QObject):
    """The look in force. `changed` is emitted after a palette or the text size changed."""

    changed = pyqtSignal()

    def __init__(self, app: QApplication) -> None:
        super().__init__(app)
        self._app = app
        self.mode: Mode = "system"
        self.text_size = "normal"
        self.colors = LIGHT
        style = QStyleFactory.create("Fusion")
        if style is not None:
            app.setStyle(style)
        hints = QGuiApplication.styleHints()
        if hints is not None:
            hints.colorSchemeChanged.connect(self._system_changed)

    def apply(self, mode: str = "system", text_size: str = "normal") -> None:
        """Take over the user's choice; an unknown name means the default."""
        self.mode = mode if mode in MODES else "system"
        self.text_size = text_size if text_size in TEXT_SIZES else "normal"
        self.colors = DARK if self._is_dark() else LIGHT
        points = TEXT_SIZES[self.text_size]
        font = self._app.font()
        font.setPointSizeF(points)
        self._app.setFont(font)
        self._app.setPalette(_palette(self.colors))
        self._app.setStyleSheet(_stylesheet(self.colors, points))
        self.changed.emit()

    def icon(self, name: str, color: str | None = None) -> QIcon:
        """The icon `ui/icons/<name>.svg` drawn in `color` (the muted text colour if None)."""
        return _icon(name, color or self.colors.muted, self.colors.border)

    def _is_dark(self) -> bool:
        if self.mode != "system":
            return self.mode == "dark"
        hints = QGuiApplication.styleHints()
        return hints is not None and hints.colorScheme() == Qt.ColorScheme.Dark

    def _system_changed(self) -> None:
        if self.mode == "system":
            self.apply(self.mode, self.text_size)


def _palette(c: Colors) -> QPalette:
    palette = QPalette()
    role = QPalette.ColorRole
    for name, color in {
        role.Window: c.window,
        role.WindowText: c.text,
        role.Base: c.surface,
        role.AlternateBase: c.raised,
        role.Text: c.text,
        role.PlaceholderText: c.muted,
        role.Button: c.surface,
        role.ButtonText: c.text,
        role.ToolTipBase: c.raised,
        role.ToolTipText: c.text,
        role.BrightText: c.bad,
        role.Highlight: c.accent,
        role.HighlightedText: c.on_accent,
        role.Link: c.accent,
        role.LinkVisited: c.accent,
        role.Light: c.surface,
        role.Midlight: c.raised,
        role.Mid: c.border,
        role.Dark: c.border,
        role.Shadow: c.border,
    }.items():
        palette.setColor(name, QColor(color))
    for name in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, name, QColor(c.muted))
    return palette


def _stylesheet(c: Colors, points: float) -> str:
    values = {name: value for name, value in vars(c).items() if isinstance(value, str)}
    values |= {
        "icons": _ICONS.as_posix(),
        "tiny": f"{points * 0.87:.1f}pt",
        "base": f"{points:.1f}pt",
        "heading": f"{points * 1.18:.1f}pt",
        "title": f"{points * 1.5:.1f}pt",
        "row": f"{round(points * 2.4)}px",
        "side": f"{round(points * 1.6)}px",
    }
    return Template(_STYLESHEET.read_text(encoding="utf-8")).substitute(values)


@lru_cache(maxsize=256)
def _icon(name: str, color: str, disabled: str) -> QIcon:
    icon = QIcon()
    for mode, tint in ((QIcon.Mode.Normal, color), (QIcon.Mode.Disabled, disabled)):
        for edge in (18, 36):
            icon.addPixmap(_pixmap(name, tint, edge), mode)
    return icon


def _pixmap(name: str, color: str, edge: int) -> QPixmap:
    drawing = (_ICONS / f"{name}.svg").read_text(encoding="utf-8")
    renderer = QSvgRenderer(QByteArray(drawing.replace("currentColor", color).encode()))
    pixmap = QPixmap(edge, edge)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    renderer.render(painter, QRectF(0, 0, edge, edge))
    painter.end()
    return pixmap
