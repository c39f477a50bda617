"""Secrets and personal data in a text, and the text without them. Offline, without a model.

Secrets: the formats of keys and tokens that detect-secrets knows, and its rule for a quoted value
after a word such as "password" (not its entropy detectors, which take ordinary words for keys;
nothing is ever verified with a provider). Telephone numbers: phonenumbers, Google's rules of
every country. E-mail addresses, public internet addresses, bank accounts (ISO 13616) and payment
cards (ISO/IEC 7812) are found by their form and their check digits. Names and postal addresses
have no form that could be checked and are not found.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

# In the order in which they win where two overlap.
KINDS = {
    "secret": "a secret",
    "email": "an e-mail address",
    "bank_account": "a bank account number",
    "card": "a payment card number",
    "phone": "a telephone number",
    "internet_address": "an internet address",
}

_EMAIL = re.compile(r"\b[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}\b")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_CARD = re.compile(r"(?<![\d.,-])[2-6]\d(?:[ -]?\d){11,17}(?![\d-])")
# The ranges of issuers, with the lengths of their numbers.
_ISSUED = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}"
    r"|35\d{14}|6(?:011|5\d\d|4[4-9]\d)\d{12}|62\d{14,17}"
)
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\d)")
_IPV6 = re.compile(r"(?<![\w:])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{1,4}(?![\w:])")
_DIGITS = re.compile(r"\d(?:\D{0,3}\d){6}")
# No format of a provider matches a line without one of these; most lines have none.
_MAY_HOLD_KEY = re.compile(r"://[^\s/]*:[^\s]*@|//\S+:_auth")
_LONG_RUN = re.compile(r"[A-Za-z0-9_+/=-]{13,}")
_MAY_HOLD_PASSWORD = re.compile(r"key|pass|pwd|secret|contrase", re.IGNORECASE)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY[A-Z ]*-----(?:.*?-----END [A-Z ]+-----|.*)", re.DOTALL
)
_TOKEN = re.compile(r"(?:[\w+/=~-]|\.(?=\w))+")  # a secret ends where such a run ends
_SHORTEST_SECRET = 6


@dataclass(frozen=True)
class Span:
    """What stands at `start` … `end` (in characters, end excluded); `kind` is one of `KINDS`."""

    start: int
    end: int
    kind: str


def find(text: str, region: str | None = None) -> tuple[Span, ...]:
    """The secrets and personal data in `text`, from left to right, without overlaps.

    Args:
        region: country (ISO 3166, two letters) whose national telephone numbers are known too;
            numbers with a country code (+44 …) are always found.
    """
    found: list[Span] = []
    searches: list[Callable[[str], Iterator[Span]]] = [_secrets, _emails, _accounts]
    if _DIGITS.search(text):
        searches += [_cards, lambda text: _phones(text, region)]
    for search in (*searches, _addresses):
        for span in search(text):
            if not any(span.start < other.end and other.start < span.end for other in found):
                found.append(span)
    return tuple(sorted(found, key=lambda span: span.start))


def redacted(text: str, spans: tuple[Span, ...]) -> str:
    """`text` with every span replaced by its kind in brackets, as in "[email]"."""
    parts, place = [], 0
    for span in spans:
        parts += [text[place : span.start], f"[{span.kind.replace('_', ' ')}]"]
        place = span.end
    return "".join([*parts, text[place:]])


def _secrets(text: str) -> Iterator[Span]:
    for match in _PRIVATE_KEY.finditer(text):  # the whole key, not its first line
        yield Span(match.start(), match.end(), "secret")
    quoted = '"' in text or "'" in text or "`" in text
    if not _may_hold_key(text) and not (quoted and _MAY_HOLD_PASSWORD.search(text)):
        return
    start = 0
    for line in text.splitlines(keepends=True):
        if _may_hold_key(line):
            for pattern in _formats():
                for match in pattern.finditer(line):
                    low, high = _whole_token(line, *_essential(match))
                    yield Span(start + low, start + high, "secret")
        if _MAY_HOLD_PASSWORD.search(line) and ('"' in line or "'" in line or "`" in line):
            for secret in _keyword_detector()(line):
                # With blanks inside it is a sentence about passwords.
                if len(secret) >= _SHORTEST_SECRET and not re.search(r"\s", secret):
                    place = line.find(secret)
                    yield Span(start + place, start + place + len(secret), "secret")
        start += len(line)


def _may_hold_key(line: str) -> bool:
    if "//" in line and _MAY_HOLD_KEY.search(line):
        return True
    return any(not run.isalpha() for run in _LONG_RUN.findall(line))


def _essential(match: re.Match[str]) -> tuple[int, int]:
    """Where the secret itself is in what a format matches: its longest group, if it has any."""
    spans = [match.span(number) for number in range(1, match.re.groups + 1)]
    low, high = max(spans, key=lambda span: span[1] - span[0], default=(0, 0))
    return (low, high) if high - low >= _SHORTEST_SECRET else match.span()


def _whole_token(line: str, low: int, high: int) -> tuple[int, int]:
    """Some formats match the beginning of a token only; what is left of it is secret too."""
    while low > 0 and (line[low - 1].isalnum() or line[low - 1] in "_-"):
        low -= 1
    rest = _TOKEN.match(line, high)
    return low, rest.end() if rest else high


@lru_cache(maxsize=1)
def _formats() -> tuple[re.Pattern[str], ...]:
    """The patterns of the detectors that know a provider's format."""
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class

    left_out = ("Public IP (ipv4)", "Private Key")  # found here in their own ways
    plugins: dict[str, type] = get_mapping_from_secret_type_to_class()
    return tuple(
        pattern
        for name, plugin in plugins.items()
        if name not in left_out
        for pattern in getattr(plugin, "denylist", ())
        if isinstance(pattern, re.Pattern)
    )


@lru_cache(maxsize=1)
def _keyword_detector() -> Callable[[str], Iterator[str]]:
    from detect_secrets.plugins.keyword import KeywordDetector

    detect: Callable[[str], Iterator[str]] = KeywordDetector().analyze_string
    return detect


def _emails(text: str) -> Iterator[Span]:
    if "@" in text:
        for match in _EMAIL.finditer(text):
            yield Span(match.start(), match.end(), "email")


def _accounts(text: str) -> Iterator[Span]:
    for match in _IBAN.finditer(text):
        value = match.group().replace(" ", "")
        if 15 <= len(value) <= 34 and _iban_holds(value):
            yield Span(match.start(), match.end(), "bank_account")


def _iban_holds(value: str) -> bool:
    """ISO 7064 MOD 97-10: letters count 10 to 35, the first four characters stand last."""
    return int("".join(str(int(c, 36)) for c in value[4:] + value[:4])) % 97 == 1


def _cards(text: str) -> Iterator[Span]:
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match.group())
        if _ISSUED.fullmatch(digits) and _luhn_holds([int(digit) for digit in digits]):
            yield Span(match.start(), match.end(), "card")


def _luhn_holds(digits: list[int]) -> bool:
    doubled = (2 * d - 9 * (d > 4) for d in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _phones(text: str, region: str | None) -> Iterator[Span]:
    import phonenumbers

    for match in phonenumbers.PhoneNumberMatcher(text, region):
        yield Span(match.start, match.end, "phone")


def _addresses(text: str) -> Iterator[Span]:
    if text.count(".") < 3 and text.count(":") < 3:
        return
    for form in (_IPV4, _IPV6):
        for match in form.finditer(text):
            try:
                address = ipaddress.ip_address(match.group())
            except ValueError:
                continue
            if address.is_global:
                yield Span(match.start(), match.end(), "internet_address")
