"""What was looked at: a green, amber or red mark, a name and a sentence each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QGridLayout, QLabel, QWidget

from ui.theme import Theme
from ui.widgets.basics import label
from xeno.training.checks import Check, Verdict

# The mark differs in form as well: colours alone do not reach everybody.
_MARKS: dict[Verdict, tuple[str, str]] = {
    "green": ("done", "good"),
    "amber": ("warning", "warning"),
    "red": ("cross", "bad"),
}
BEFORE_A_RUN: Mapping[Verdict, str] = {
    "green": "Fine",
    "amber": "Worth a look",
    "red": "In the way",
}
_EDGE = 16  # pixels


class ChecksList(QWidget):
    """The worst ones stand on top.

    Args:
        name: what a screen reader says of the list.
        meanings: what the marks mean, in words.
    """

    def __init__(
        self,
        theme: Theme,
        name: str = "Checks before the run",
        meanings: Mapping[Verdict, str] = BEFORE_A_RUN,
    ) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self._theme = theme
        self._meanings = meanings
        self._checks: list[Check] = []
        self._lines: list[tuple[QLabel, QLabel, QLabel]] = []
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(10)
        self._grid.setVerticalSpacing(5)
        self._grid.setColumnStretch(2, 1)
        theme.changed.connect(self._show)

    def show_checks(self, checks: Sequence[Check]) -> None:
        """Show `checks`."""
        order = list(reversed(_MARKS))
        self._checks = sorted(checks, key=lambda check: order.index(check.verdict))
        self._show()

    def words(self) -> list[str]:
        """What is listed, as a screen reader would say it."""
        return [f"{self._meanings[each.verdict]}: {each.sentence}" for each in self._checks]

    def _show(self) -> None:
        while len(self._lines) < len(self._checks):
            self._lines.append(self._line(len(self._lines)))
        for place, (mark, name, sentence) in enumerate(self._lines):
            shown = place < len(self._checks)
            if shown:
                check = self._checks[place]
                icon, color = _MARKS[check.verdict]
                meaning = self._meanings[check.verdict]
                tint = str(getattr(self._theme.colors, color))
                mark.setPixmap(self._theme.icon(icon, tint).pixmap(_EDGE, _EDGE))
                mark.setAccessibleName(meaning)
                mark.setToolTip(meaning)
                name.setText(check.name)
                sentence.setText(check.sentence)
                sentence.setAccessibleName(f"{meaning}, {check.name}: {check.sentence}")
            for part in (mark, name, sentence):
                part.setVisible(shown)
        self.setVisible(bool(self._checks))

    def _line(self, place: int) -> tuple[QLabel, QLabel, QLabel]:
        parts = (QLabel(), label("", "muted", wrap=False), label(""))
        for column, part in enumerate(parts):
            self._grid.addWidget(part, place, column, Qt.AlignmentFlag.AlignTop)
        return parts
