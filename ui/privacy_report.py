"""The privacy report as a page, on screen and as a PDF: what was released, what it adds up to.

Made from `PrivacyAnalyzer.get_privacy_report` alone; the same ledger gives the same bytes.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from PyQt6.QtCore import QBuffer, QIODevice, QMarginsF, QSizeF
from PyQt6.QtGui import QPageLayout, QPageSize, QPdfWriter, QTextDocument

from xeno.privacy.accounts import PERIOD_MEANING, PERIOD_WARNING, RESET_MEANING
from xeno.privacy.hosts import Contact
from xeno.store import files

_POINTS = 72
_HEADS = (
    ("seq", "No."),
    ("time", "When"),
    ("kind", "What"),
    ("version", "Version"),
    ("sample_rate", "Rate"),
    ("noise_multiplier", "Noise"),
    ("steps", "Steps"),
    ("epsilon_alone", "\N{GREEK SMALL LETTER EPSILON} alone"),
    ("epsilon_total", "\N{GREEK SMALL LETTER EPSILON} in total"),
)
_STATUS = {
    "strong": "Strong: from what was released, hardly anything can be told about a single {unit}.",
    "moderate": "Moderate: what was released says little about a single {unit}.",
    "weak": "Weak: what was released may reveal whether a single {unit} was used.",
}


def report_html(report: Mapping[str, Any], contacts: Sequence[Contact]) -> str:
    """The page. `report` is what `get_privacy_report` gave."""
    unit = str(report["unit"])
    delta, total = float(report["delta"]), float(report["total_epsilon_used"])
    lines = [
        "<h1>Privacy report</h1>",
        f"<p>{escape(_STATUS[report['privacy_status']].format(unit=unit))}</p>"
        if report["total_operations"]
        else "<p>Nothing was released with differential privacy yet.</p>",
        "<h2>What was released</h2>",
        _table(
            [
                ("Unit of privacy", unit),
                ("Releases", str(report["total_operations"])),
                ("All of them together", f"({total:.3f}, {delta:g})-differential privacy"),
                ("Counts against the budget", f"{report['spent']:.3f} of {report['budget']:g}"),
                ("Left", f"{report['remaining']:.3f}"),
            ]
        ),
        f"<p>{escape(PERIOD_MEANING[report['period']])}</p>",
    ]
    if report["period"] != "life":
        lines.append(f"<p>{escape(PERIOD_WARNING)}</p>")
    if any(entry["kind"] == "reset" for entry in report["entries"]):
        lines.append(f"<p>{escape(RESET_MEANING)}</p>")
    if report["not_private"]:
        named = ", ".join(report["not_private"])
        lines.append(
            f"<p><b>Not private:</b> {escape(named)}. Trained without differential privacy; "
            "nothing above says anything about them.</p>"
        )
    lines += [
        "<h2>What this does not cover</h2>",
        "<p>Files on this computer (they are encrypted), measurements that stay on it, the choice "
        f"among several versions, and what several {unit}s say together.</p>",
        "<h2>Every entry of the ledger</h2>",
        _entries(report["entries"]) if report["entries"] else "<p>There is none.</p>",
        "<h2>Hosts this program may talk to</h2>",
        _table([(_host(each), f"{each.why} {each.when} {each.sends}") for each in contacts]),
    ]
    return "".join(lines)


def report_pdf(report: Mapping[str, Any], contacts: Sequence[Contact]) -> bytes:
    """The page as a PDF on A4 paper."""
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    writer = QPdfWriter(buffer)
    writer.setTitle("Privacy report")
    writer.setCreator("XENO")
    writer.setResolution(_POINTS)
    margins = QMarginsF(15, 15, 15, 15)
    writer.setPageLayout(
        QPageLayout(
            QPageSize(QPageSize.PageSizeId.A4),
            QPageLayout.Orientation.Portrait,
            margins,
            QPageLayout.Unit.Millimeter,
        )
    )
    document = QTextDocument()
    document.setDefaultStyleSheet("body { font-size: 9pt } td, th { font-size: 7pt }")
    page = report_html(report, contacts)
    document.setHtml(f"<body>{page}</body>")
    document.setPageSize(QSizeF(writer.width(), writer.height()))
    document.print(writer)
    del writer  # writes the end of the file
    last = report["entries"][-1]["time"] if report["entries"] else "1970-01-01T00:00:00"
    return _settled(bytes(buffer.data().data()), str(last)[:19], page)


def save_pdf(path: Path, report: Mapping[str, Any], contacts: Sequence[Contact]) -> None:
    """Write the PDF to `path`. Raises StorageFullError."""
    files.write_atomic(path, report_pdf(report, contacts))


def _settled(pdf: bytes, time: str, page: str) -> bytes:
    """`pdf` dated at the last entry and named by its content, where Qt put the moment of writing
    and a random name. Every replacement is as long as what it replaces."""
    digits = re.sub(r"\D", "", time).encode()
    pdf = re.sub(rb"D:\d{14}", b"D:" + digits, pdf)
    pdf = re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?=Z|\+|<)", time.encode(), pdf)
    found = re.search(rb"uuid:([0-9a-f-]{36})", pdf)
    if found is None:
        return pdf
    name = str(uuid.uuid5(uuid.NAMESPACE_URL, page)).encode()
    return pdf.replace(found[1], name).replace(found[1].hex().encode(), name.hex().encode())


def _host(contact: Contact) -> str:
    return contact.host or "none yet"


def _table(rows: Sequence[tuple[str, str]]) -> str:
    cells = "".join(
        f"<tr><td width='30%'>{escape(name)}</td><td>{escape(text)}</td></tr>"
        for name, text in rows
    )
    return f"<table width='100%' cellpadding='3'>{cells}</table>"


def _entries(entries: Sequence[Mapping[str, Any]]) -> str:
    heads = "".join(f"<th align='left'>{escape(title)}</th>" for _, title in _HEADS)
    lines = []
    for entry in entries:
        cells = "".join(f"<td>{escape(_cell(name, entry[name]))}</td>" for name, _ in _HEADS)
        lines.append(f"<tr>{cells}</tr>")
        if entry["note"]:
            note = escape(str(entry["note"]))
            lines.append(f"<tr><td></td><td colspan='{len(_HEADS) - 1}'>{note}</td></tr>")
    return f"<table width='100%' cellpadding='2'><tr>{heads}</tr>{''.join(lines)}</table>"


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name == "time":
        return str(value)[:16].replace("T", " ")
    if name == "version":
        return str(value)[:12]
    return f"{value:.4g}" if isinstance(value, float) else str(value)
