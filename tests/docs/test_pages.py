"""What the pages point at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.places import ROOT

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "data" / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_tools_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = {link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link} - {""}
    assert [link for link in links if not (page.parent / link).exists()] == []
    named = set(re.findall(r"(?<![/\w])((?:tools|data|configs|examples|docs)/[\w/]+\.(?:py|yaml|md))\b", text))
    assert [name for name in named if not (ROOT / name).exists()] == []
