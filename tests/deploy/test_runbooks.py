"""Every alert has a page that says what to do, and every page belongs to an alert."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.promtool import DEPLOY, alerts

RUNBOOKS = DEPLOY / "runbooks"
PAGES = sorted(RUNBOOKS.glob("Nacre*.md"))
SECTIONS = ["## What it means", "## What to look at", "## What to do", "## How it ends"]


def test_every_alert_leads_to_a_page_and_every_page_is_led_to() -> None:
    led_to = {alert["annotations"]["runbook_url"] for alert in alerts().values()}

    assert led_to == {f"{{{{ $externalLabels.runbooks }}}}/{page.name}" for page in PAGES}
    assert {page.stem for page in PAGES} == alerts().keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_what_it_means_what_to_do_and_how_it_ends(page: Path) -> None:
    text = page.read_text("utf-8")
    name = page.stem

    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## .*", text, flags=re.M) == SECTIONS
    assert f"**{alerts()[name]['labels']['severity'].capitalize()}**" in text


@pytest.mark.parametrize("page", [*PAGES, RUNBOOKS / "README.md"], ids=lambda page: page.stem)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))

    assert [link for link in links if not (RUNBOOKS / link).exists()] == []


def test_the_list_of_pages_has_every_page() -> None:
    listed = re.findall(r"\[(Nacre\w+)\]", (RUNBOOKS / "README.md").read_text("utf-8"))

    assert listed == list(alerts())
