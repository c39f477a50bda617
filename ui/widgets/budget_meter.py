"""The lifetime privacy budget as a bar: what is spent, what the next run takes, what is left."""

from __future__ import annotations

from PyQt6.QtCore import QRectF, QSize
from PyQt6.QtGui import QColor, QPainter, QPainterPath, QPaintEvent
from PyQt6.QtWidgets import QVBoxLayout, QWidget

from ui.theme import Theme
from ui.widgets.basics import label


class BudgetMeter(QWidget):
    """A bar with its words under it. All values are epsilons."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.setAccessibleName("Privacy budget")
        self._bar = _Bar(theme)
        self.words = label("", "muted")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(7)
        layout.addWidget(self._bar)
        layout.addWidget(self.words)
        theme.changed.connect(self._bar.update)

    def show_budget(self, spent: float, after: float | None, budget: float) -> None:
        """Show what is spent and what will be after the next run; None: it spends nothing."""
        self._bar.spent = min(1.0, spent / budget) if budget else 1.0
        self._bar.after = min(1.0, (after or spent) / budget) if budget else 1.0
        text = f"{spent:.2f} of {budget:g} spent."
        if after is not None:
            text += (
                f" After the next run: {after:.2f}; {max(0.0, budget - after):.2f} would be left."
            )
        self.words.setText(text)
        self.setAccessibleDescription(text)
        self._bar.update()


class _Bar(QWidget):
    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.setAccessibleName("Privacy budget bar")
        self._theme = theme
        self.spent = 0.0
        self.after = 0.0
        self.setFixedHeight(14)

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(240, 14)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802
        colors = self._theme.colors
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        whole = QRectF(self.rect())
        outline = QPainterPath()
        outline.addRoundedRect(whole, 7, 7)
        painter.setClipPath(outline)
        painter.fillRect(whole, QColor(colors.raised))
        next_run = QColor(colors.accent)
        next_run.setAlphaF(0.4)
        painter.fillRect(QRectF(0, 0, whole.width() * self.after, whole.height()), next_run)
        painter.fillRect(
            QRectF(0, 0, whole.width() * self.spent, whole.height()), QColor(colors.accent)
        )
        painter.end()
