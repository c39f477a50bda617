"""A PEFT adapter from the Hugging Face Hub: three files by name, of limited size, into a folder.

Only when the user asks for it. No account and no token: what is not public is not found.
`HF_ENDPOINT` names another hub, as for Hugging Face's own programs.
"""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from http.client import HTTPMessage
from pathlib import Path
from typing import IO

from xeno.errors import InvalidValueError
from xeno.versions.importing import CONFIG, LARGEST_JSON, ORIGIN, WEIGHTS

HUB = "https://huggingface.co"
_ID = re.compile(r"[\w][\w.-]{0,95}/[\w][\w.-]{0,95}", re.ASCII)
_FILE_SERVERS = (".huggingface.co", ".hf.co")
_LARGEST = 4 * 2**30
_PIECE = 2**20
_SECONDS = 30.0


def is_hub_id(text: str) -> bool:
    """Whether `text` can be the name of a repository on a hub, as in "someone/an-adapter"."""
    return _ID.fullmatch(text) is not None and ".." not in text


def download(hub_id: str, folder: Path, progress: Callable[[int], None] = lambda _: None) -> None:
    """Fetch the files of the adapter `hub_id` into `folder`.

    Args:
        progress: called now and then with the bytes so far; what it raises ends the download.

    Raises:
        InvalidValueError: if there is no such adapter, it has no safetensors, or it is too large;
            or the hub cannot be reached.
    """
    if not is_hub_id(hub_id):
        raise _failed(hub_id, "It is no name of an adapter on the Hub, such as 'someone/name'.")
    if not _fetch(hub_id, CONFIG, folder, LARGEST_JSON, progress):
        raise _failed(hub_id, f"There is no public {CONFIG} under this name.")
    _fetch(hub_id, ORIGIN, folder, LARGEST_JSON, progress)
    if not _fetch(hub_id, WEIGHTS, folder, _LARGEST, progress):
        raise _failed(hub_id, f"It has no {WEIGHTS}; pickled weights are never opened.")


class _NotElsewhere(urllib.request.HTTPRedirectHandler):
    """Follows the hub to its own servers of files, and nowhere else."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        before, after = (urllib.parse.urlsplit(url) for url in (req.full_url, newurl))
        host = after.hostname or ""
        its_own = after.scheme == "https" and host.endswith(_FILE_SERVERS)
        if not its_own and (after.scheme, after.netloc) != (before.scheme, before.netloc):
            raise urllib.error.URLError(f"it leads to {host[:100]}, which is not the hub's")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _fetch(
    hub_id: str, name: str, folder: Path, largest: int, progress: Callable[[int], None]
) -> bool:
    """Whether the hub has the file `name`, which is then in `folder`."""
    endpoint = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
    address = f"{endpoint}/{hub_id}/resolve/main/{name}"
    if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
        raise _failed(hub_id, "HF_ENDPOINT is not an http address.")
    request = urllib.request.Request(address, headers={"User-Agent": "xeno"})
    size = 0
    try:
        opener = urllib.request.build_opener(_NotElsewhere())
        with opener.open(request, timeout=_SECONDS) as answer:
            with (folder / name).open("wb") as file:
                while piece := answer.read(_PIECE):
                    size += len(piece)
                    if size > largest:
                        raise _failed(hub_id, f"{name} is larger than {largest:,} bytes.")
                    file.write(piece)
                    progress(size)
            announced = answer.headers.get("Content-Length")
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (401, 403, 404):
            return False
        raise _failed(hub_id, f"The hub answered {error.code}.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise _failed(hub_id, f"The hub cannot be reached ({reason}).") from error
    if announced is not None and announced.isdigit() and int(announced) != size:
        raise _failed(hub_id, f"{name} broke off after {size:,} bytes.")
    return True


def _failed(hub_id: str, why: str) -> InvalidValueError:
    return InvalidValueError(
        f"The adapter {hub_id[:100]!r} was not downloaded.", why, "Check its name, and try again."
    )
