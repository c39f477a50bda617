"""The double-click entry: makes the environment at the first start, then opens the window.

Runs on a bare Python: nothing but the standard library is imported until the environment is
there.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent


def main() -> int:
    """Open the window, in the environment that has what it needs."""
    if sys.version_info < (3, 11):  # noqa: UP036 - a double click may pick any Python
        print("XENO needs Python 3.11 or later; this is " + sys.version.split()[0] + ".")
        return 1
    if importlib.util.find_spec("PyQt6") is not None and importlib.util.find_spec("sqlcipher3"):
        from ui.app import main as open_window

        return open_window()
    from xeno import bootstrap

    if not bootstrap.is_ready(PROJECT):
        from xeno.first_start import make_environment_visibly

        if not make_environment_visibly(PROJECT):
            return 1
    command = [str(bootstrap.environment_python(PROJECT)), str(PROJECT / "main.py"), *sys.argv[1:]]
    if os.name != "nt":
        os.execv(command[0], command)
    return subprocess.call(command)


if __name__ == "__main__":
    sys.exit(main())
