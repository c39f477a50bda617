#!/bin/sh
# Checks for the system libraries that Qt needs and installs them where it may (Debian, as root).
# With the argument "xvfb" also the virtual display that screenshots need.
set -eu
cd "$(dirname "$0")/.."

missing=""
QT_QPA_PLATFORM=offscreen .venv/bin/python -c "import PyQt6.QtWidgets" 2>/dev/null ||
    missing="libegl1 libgl1 libxkbcommon0 libdbus-1-3 libfontconfig1 libglib2.0-0"
if [ "${1:-}" = "xvfb" ] && ! command -v Xvfb >/dev/null; then
    missing="$missing xvfb libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0 libxcb-xinerama0 libxkbcommon-x11-0"
fi
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing system packages:$missing"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $missing >/dev/null
else
    echo "System packages are missing. Install:$missing" >&2
    exit 1
fi
