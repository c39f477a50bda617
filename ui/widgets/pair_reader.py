"""One pair whole: what was asked, how the chosen reply differs from the rejected one, and why
the pair has its score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from PyQt6.QtWidgets import QTextBrowser

from ui.session import Session
from ui.theme import Colors
from ui.words import moment
from xeno.feedback.difference import Piece, word_difference
from xeno.store.pair_browsing import Finding, ListedPair, PairBrowser

_LONGEST = 20_000  # characters shown of a text


@dataclass(frozen=True)
class Read:
    """A pair with all that is told of it."""

    listed: ListedPair
    pieces: tuple[Piece, ...]
    findings: tuple[Finding, ...]
    versions: tuple[str, ...]


class PairReader(QTextBrowser):
    """Shows a pair with an inline word diff; what only one reply has is marked by more than
    its colour."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._browser = PairBrowser(session.profile.db)
        self._shown: Read | None = None
        self.setAccessibleName("The selected pair")
        self.setPlaceholderText("Select a pair to read it.")
        self.setOpenLinks(False)
        self.setTabChangesFocus(True)
        self.setMinimumHeight(190)
        session.theme.changed.connect(self._draw)

    def show_pair(self, listed: ListedPair | None, names: Sequence[tuple[str, str]] = ()) -> None:
        """Show `listed`; `names` are the versions (name, content address)."""
        if listed is None:
            self._shown = None
            self._draw()
            return
        pair, known = listed.pair, {address: name for name, address in names}

        def read() -> Read:
            addresses = self._browser.versions_of(pair.id)
            return Read(
                listed,
                word_difference(pair.rejected[:_LONGEST], pair.chosen[:_LONGEST]),
                self._browser.findings(pair.id),
                tuple(known.get(each, each[:8]) for each in addresses),
            )

        self._session.do(read, self._take, owner=self, key="pair detail")

    def _take(self, read: Read) -> None:
        self._shown = read
        self._draw()

    def _draw(self) -> None:
        if self._shown is None:
            self.clear()
        else:
            self.setHtml(_page(self._shown, self._session.theme.colors))


def _page(read: Read, colors: Colors) -> str:
    pair = read.listed.pair
    parts = [_turn(turn.role, turn.content, colors) for turn in pair.prompt]
    legend = (
        f"<span style='color:{colors.muted}'>Rejected "
        f"{_marked('removed', 'words only there', colors)} became chosen "
        f"{_marked('added', 'words only here', colors)}</span>"
    )
    parts.append(f"<p style='margin:10px 0 2px 0'>{legend}</p>")
    parts.append(f"<p style='margin:0'>{''.join(_piece(p, colors) for p in read.pieces)}</p>")
    parts.append(_reasons(read, colors))
    return "".join(parts)


def _turn(role: str, content: str, colors: Colors) -> str:
    who = {"system": "System prompt", "user": "Asked", "assistant": "Answered"}[role]
    weight = "600" if role == "user" else "400"
    color = colors.muted if role == "system" else colors.text
    return (
        f"<p style='margin:0 0 6px 0; color:{color}; font-weight:{weight}'>"
        f"<span style='color:{colors.muted}; font-weight:400'>{who}:</span> "
        f"{_lines(content[:_LONGEST])}</p>"
    )


def _reasons(read: Read, colors: Colors) -> str:
    listed, pair = read.listed, read.listed.pair
    about = [
        f"Score {listed.score:.2f}" if listed.examined else f"Quality {pair.quality:.2f}",
        f"confidence {pair.confidence:.2f}",
        f"weight {pair.weight:g}",
        f"kept {moment(pair.created)}",
    ]
    if not pair.active:
        about.append("left out of training")
    if read.versions:
        about.append(f"learned by {', '.join(read.versions)}")
    lines = [f"<p style='margin:12px 0 2px 0; color:{colors.muted}'>{escape(', '.join(about))}</p>"]
    for finding in read.findings:
        cost = f"&minus;{finding.cost:.1f}" if finding.cost else "kept"
        lines.append(
            f"<p style='margin:0'><span style='color:{colors.warning}'>{cost}</span>&nbsp; "
            f"{escape(finding.reason)}</p>"
        )
    if not read.findings:
        notes = pair.quality_notes if not listed.examined else ()
        said = " ".join(notes) or (
            "The doctor found nothing wrong." if listed.examined else "Not examined yet."
        )
        lines.append(f"<p style='margin:0; color:{colors.muted}'>{escape(said)}</p>")
    return "".join(lines)


def _piece(piece: Piece, colors: Colors) -> str:
    return _lines(piece.text) if piece.kind == "same" else _marked(piece.kind, piece.text, colors)


def _marked(kind: str, text: str, colors: Colors) -> str:
    look = (
        f"background:{colors.bad_soft}; color:{colors.bad}; text-decoration:line-through"
        if kind == "removed"
        else f"background:{colors.good_soft}; color:{colors.good}; text-decoration:underline"
    )
    return f"<span style='{look}'>{_lines(text)}</span>"


def _lines(text: str) -> str:
    return escape(text).replace("\n", "<br>")
