"""What the docs say is so: pages, links and messages."""

import re

import pytest

from dgnbench.cards import read_house
from dgnbench.pages import components_page
from tests.conftest import ROOT


def test_the_page_of_components_is_that_of_the_cards():
    written = (ROOT / "docs" / "components.md").read_text()
    assert written == components_page(read_house()), "run `dgnbench docs`"


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_every_message_of_the_table_is_one_that_the_code_says():
    source = "\n".join(
        re.sub(r'"\s*\n\s*f?"', "", file.read_text()) for file in (ROOT / "src").rglob("*.py")
    )
    plain = re.sub(r"\{[^{}]*\}", "…", source)
    table = (ROOT / "docs" / "errors.md").read_text()
    rows = re.findall(r"^\| (`.*?) \|", table, re.M)
    messages = [text for row in rows for text in re.findall(r"`([^`]+)`", row)]
    assert len(messages) > 25
    assert [m for m in messages if m not in plain and m not in source] == []
