"""Puts XENO among the programs of the desktop: a menu entry with an icon.

Linux gets a desktop entry, Windows a shortcut in the Start menu, macOS a `.command` file in
the user's Applications folder.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from importlib import resources
from pathlib import Path

from xeno.errors import XenoError

# Escapes of the Desktop Entry Specification 1.5, "The Exec key": inside double quotes these
# four are escaped with a backslash, and '%' is doubled because it begins a field code.
_EXEC_ESCAPES = str.maketrans({c: "\\" + c for c in '"`$\\'} | {"%": "%%"})


def install_launcher() -> Path:
    """Write the launcher for this platform and this user; the same again is harmless.

    Returns:
        The file that was written.

    Raises:
        XenoError: if the folder is not writable.
    """
    program = _window_program()
    try:
        if sys.platform == "win32":
            return _start_menu_shortcut(program)
        if sys.platform == "darwin":
            return _command_file(program)
        return _desktop_entry(program)
    except (OSError, subprocess.CalledProcessError) as error:
        raise XenoError(
            "The launcher could not be written.",
            f"The system said: {error}.",
            "Check that your home folder is writable and has space.",
        ) from error


def _window_program() -> list[str]:
    """The command that opens the window with the interpreter that runs now."""
    suffix = ".exe" if os.name == "nt" else ""
    installed = Path(sys.executable).with_name(f"xeno-gui{suffix}")
    if installed.exists():
        return [str(installed)]
    return [sys.executable, "-m", "ui.app"]


def _write(path: Path, content: bytes, mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(content)
    temporary.chmod(mode)
    temporary.replace(path)
    return path


def _icon(name: str) -> bytes:
    return (resources.files("resources") / name).read_bytes()


def _desktop_entry(program: list[str]) -> Path:
    configured = os.environ.get("XDG_DATA_HOME")
    data = Path(configured) if configured else Path.home() / ".local" / "share"
    _write(data / "icons/hicolor/256x256/apps/xeno.png", _icon("icon.png"))
    command = " ".join('"' + part.translate(_EXEC_ESCAPES) + '"' for part in program)
    # A backslash is also an escape of the file format itself, one level further out.
    command = command.replace("\\", "\\\\")
    entry = (
        "[Desktop Entry]\n"
        "Type=Application\n"
        "Version=1.5\n"
        "Name=XENO\n"
        "Comment=A local assistant that learns from your corrections\n"
        f"Exec={command}\n"
        "Icon=xeno\n"
        "Terminal=false\n"
        "Categories=Utility;\n"
        "StartupWMClass=xeno\n"
    )
    return _write(data / "applications/xeno.desktop", entry.encode())


def _command_file(program: list[str]) -> Path:
    script = f"#!/bin/sh\nexec {shlex.join(program)}\n"
    return _write(Path.home() / "Applications" / "XENO.command", script.encode(), 0o755)


def _start_menu_shortcut(program: list[str]) -> Path:
    roaming = Path(os.environ["APPDATA"])
    icon = _write(roaming / "XENO" / "xeno.ico", _icon("icon.ico"))
    shortcut = roaming / "Microsoft/Windows/Start Menu/Programs/XENO.lnk"
    shortcut.parent.mkdir(parents=True, exist_ok=True)

    def quoted(text: object) -> str:
        return "'" + str(text).replace("'", "''") + "'"

    script = (
        f"$s = (New-Object -ComObject WScript.Shell).CreateShortcut({quoted(shortcut)});"
        f"$s.TargetPath = {quoted(program[0])};"
        f"$s.Arguments = {quoted(subprocess.list2cmdline(program[1:]))};"
        f"$s.IconLocation = {quoted(icon)};"
        "$s.Save()"
    )
    subprocess.run(["powershell", "-NoProfile", "-Command", script], check=True)
    return shortcut
