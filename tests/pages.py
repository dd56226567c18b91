"""What the pages of the documentation hold."""

from __future__ import annotations

import re


def fenced(text: str, language: str) -> list[str]:
    """The fenced blocks of a page, or a part of one, in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
