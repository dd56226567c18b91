"""Where things are: the repository, and the real images beside it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

HANG = 900.0
"""Seconds after which a process is taken to hang, however slow the machine is."""
