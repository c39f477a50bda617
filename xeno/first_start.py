"""The first start by a double click: asks once, then shows how the environment is made.

A small Tk window where there is a display and Tk, the terminal otherwise. Standard library
only.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from pathlib import Path

from xeno.bootstrap import SetupError, make_environment

QUESTION = (
    "XENO needs a few packages (about 2 GB on disk). They are installed into the folder "
    "'.venv' beside the program, and nowhere else. Install them now?"
)


def make_environment_visibly(project: Path) -> bool:
    """Ask, make the environment, show the progress. False if it was declined or failed."""
    if _has_display():
        try:
            import tkinter
        except ImportError:
            pass
        else:
            try:
                return _in_window(project, tkinter.Tk())
            except tkinter.TclError:
                pass
    return _in_terminal(project)


def _has_display() -> bool:
    if os.name == "nt" or sys.platform == "darwin":
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _in_terminal(project: Path) -> bool:
    if not (sys.stdin and sys.stdin.isatty()):
        print(
            "XENO's environment is not there yet and there is nobody to ask. "
            "Run 'make setup' (or 'python3 -m xeno.bootstrap') in the project's folder.",
            file=sys.stderr,
        )
        return False
    if input(f"{QUESTION} [Y/n] ").strip().lower() not in ("", "y", "yes"):
        return False
    try:
        make_environment(project, (), lambda line: print(line, flush=True))
    except SetupError as error:
        print(error, file=sys.stderr)
        return False
    return True


def _in_window(project: Path, root: object) -> bool:
    import tkinter
    from tkinter import messagebox, ttk

    assert isinstance(root, tkinter.Tk)
    root.title("XENO")
    root.withdraw()
    if not messagebox.askyesno("XENO", QUESTION, parent=root):
        root.destroy()
        return False
    root.deiconify()
    root.geometry("640x160")
    ttk.Label(root, text="Preparing XENO. This happens once.").pack(padx=16, pady=(16, 8))
    bar = ttk.Progressbar(root, mode="indeterminate", length=600)
    bar.pack(padx=16)
    bar.start(12)
    line = ttk.Label(root, text="", wraplength=600)
    line.pack(padx=16, pady=8)

    news: queue.Queue[str] = queue.Queue()
    failures: list[str] = []

    def work() -> None:
        try:
            make_environment(project, (), news.put)
        except SetupError as error:
            failures.append(str(error))

    thread = threading.Thread(target=work, name="xeno-setup", daemon=True)
    thread.start()

    def look() -> None:
        while not news.empty():
            line.configure(text=news.get())
        if thread.is_alive():
            root.after(100, look)
        else:
            root.quit()

    root.protocol("WM_DELETE_WINDOW", root.iconify)
    root.after(100, look)
    root.mainloop()
    if failures:
        messagebox.showerror("XENO", failures[0], parent=root)
    root.destroy()
    return not failures
