"""The report's page in a real browser: it fetches nothing, sorts, prints, and takes no name for markup."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from accelwatch.reliability.cells import Cell, Inputs
from accelwatch.reliability.document import document
from accelwatch.reliability.page import page
from accelwatch.reliability.published import figures

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
HOSTILE = '</td><script>alert("x")</script><img src="http://192.0.2.1/x">'


def cell(vendor: str, model: str, class_: str, count: int) -> Cell:
    return Cell(group=model, vendor=vendor, model=model, class_=class_, count=count, hours=10_000.0, devices=80)


def inputs(*more: Cell) -> Inputs:
    cells = (
        cell("nvidia", "H100", "device_lost", 12), cell("ascend", "910B", "device_lost", 40),
        cell("nvidia", "H100", "mem_uncorrectable", 9), cell("ascend", "910B", "mem_uncorrectable", 11),
        cell("nvidia", "H100", "power", 0), cell("ascend", "910B", "power", 0), *more,
    )  # fmt: skip
    return Inputs(title="Reliability", produced="2026-11-27", origin="a test", cells=cells, published=figures())


class Outline(HTMLParser):
    """Start tags in their order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """What it asked for, and what its console said, are its attributes `asked` and `said`."""
    from playwright.sync_api import sync_playwright

    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(document(inputs())), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        opened = browser.new_page(viewport={"width": 1280, "height": 900})
        opened.asked, opened.said = [], []  # type: ignore[attr-defined]
        opened.on("request", lambda request: opened.asked.append(request.url))  # type: ignore[attr-defined]
        opened.on("console", lambda message: opened.said.append(message.text))  # type: ignore[attr-defined]
        opened.on("pageerror", lambda error: opened.said.append(str(error)))  # type: ignore[attr-defined]
        opened.goto(f"file://{path}")
        yield opened
        browser.close()


@needs_chromium
def test_it_fetches_nothing_and_nothing_fails(shown: Page) -> None:
    assert shown.locator("img").count() == 2
    assert shown.evaluate("Array.from(document.images).every((image) => image.complete && image.naturalWidth > 0)")
    assert [url[:30] for url in shown.asked if not url.startswith(("file:", "data:"))] == []  # type: ignore[attr-defined]
    assert shown.said == []  # type: ignore[attr-defined]


@needs_chromium
def test_the_first_screen_has_the_answer(shown: Page) -> None:
    for words in ("910B has 2.43 times the rate of H100", "The difference is more than chance."):
        found = shown.get_by_text(words).first.bounding_box()
        assert found is not None, words
        assert found["y"] < 900, words


@needs_chromium
def test_a_click_on_a_heading_sorts_by_value_and_once_more_turns_it_round(shown: Page) -> None:
    table = shown.locator("table.sortable").filter(has_text="MTBF, h").first
    heading = table.locator("th button").filter(has_text=re.compile("^events$"))
    column = "(rows) => rows.map((row) => Number(row.cells[2].dataset.value))"
    heading.click()
    assert table.locator("tbody tr").evaluate_all(column) == [9, 11, 12, 40]
    heading.click()
    assert table.locator("tbody tr").evaluate_all(column) == [40, 12, 11, 9]
    assert table.locator("th").nth(2).get_attribute("aria-sort") == "descending"


@needs_chromium
def test_a_phone_needs_to_scroll_downwards_alone(shown: Page) -> None:
    shown.set_viewport_size({"width": 390, "height": 800})
    assert shown.evaluate("document.documentElement.scrollWidth") <= 390
    shown.set_viewport_size({"width": 1280, "height": 900})


@needs_chromium
def test_on_paper_what_is_folded_is_open(shown: Page) -> None:
    shown.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert shown.locator("details:not([open])").count() == 0
    # A4 on its side less its margins, at 96 dots an inch: what is wider would be cut off.
    shown.emulate_media(media="print")
    shown.set_viewport_size({"width": 1031, "height": 700})
    assert shown.evaluate("document.documentElement.scrollWidth") <= 1031
    assert shown.pdf(format="A4").startswith(b"%PDF")


def test_no_name_becomes_markup() -> None:
    """Model names come from drivers, clusters from labels."""
    plain = Outline(page(document(inputs(cell("nvidia", "A100", "device_lost", 3)))))
    odd = Outline(page(document(inputs(cell("nvidia", HOSTILE, "device_lost", 3)))))
    assert [tag for tag, _ in odd.tags] == [tag for tag, _ in plain.tags]
    assert not [at for _, at in odd.tags if (at.get("src") or "data:")[:5] != "data:"]


def test_a_claim_is_marked_as_one() -> None:
    text = page(document(inputs()))
    assert "Context only" in text
    assert text.count('<span class="claim">claim</span>') == 1 + sum(
        one["standing"] == "claim" for one in document(inputs())["published"]
    )


def test_it_is_one_file_of_moderate_size(tmp_path: Path) -> None:
    assert len(page(document(inputs()))) < 2_000_000
