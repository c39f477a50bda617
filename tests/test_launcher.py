"""The entry in the desktop's menu."""

import sys
from pathlib import Path

import pytest

from xeno import launcher
from xeno.errors import XenoError

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="desktop entries")


def test_the_desktop_entry_names_the_program_and_an_icon_that_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    entry = launcher.install_launcher()
    text = entry.read_text()
    assert "Name=XENO" in text
    program = text.split('Exec="')[1].split('"')[0]
    assert Path(program).exists()
    assert (tmp_path / "icons/hicolor/256x256/apps/xeno.png").read_bytes().startswith(b"\x89PNG")
    assert launcher.install_launcher() == entry


def test_a_path_with_special_characters_is_escaped_for_the_exec_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    entry = launcher._desktop_entry(["/opt/50% $off/xeno"])
    assert 'Exec="/opt/50%% \\\\$off/xeno"' in entry.read_text()


def test_a_folder_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(blocker))
    with pytest.raises(XenoError, match="launcher could not be written"):
        launcher.install_launcher()
