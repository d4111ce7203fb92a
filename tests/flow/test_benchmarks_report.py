"""The page of a result in a real browser, opened as a file."""

import json

import pytest
from support.bench_results import HOSTILE, document, record
from support.browser import chromium

from benchmarks.cli import main

pytestmark = pytest.mark.peer

WIDE, NARROW = (1200, 900), (600, 900)


@pytest.fixture(scope="module")
def browser():
    with chromium() as window:
        yield window


def write(folder, made):
    result = folder / "result.json"
    result.write_text(json.dumps(made))
    assert main(["report", str(result)]) == 0
    return (folder / "result.html").as_uri()


def requests(browser):
    return browser.run("return performance.getEntriesByType('resource').map((one) => one.name)")


def test_the_page_needs_nothing_beside_itself_and_fits_the_width(tmp_path, browser):
    address = write(tmp_path, document())
    for size in (WIDE, NARROW):
        browser.open(address, size)
        assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth"), size
        beyond = (
            "[...document.querySelectorAll('table')].filter((one) => one.getBoundingClientRect().right > innerWidth)"
        )
        assert browser.run(f"return {beyond}.map((one) => one.innerText)") == []
        boxes = browser.run("return [...document.querySelectorAll('svg')].map((one) => one.getBoundingClientRect())")
        assert len(boxes) == 6  # three latencies, a time line, stages, a curve
        assert all(box["width"] > 300 and box["height"] > 50 for box in boxes)
        assert "PASS: 1 of 1 budgets kept" in browser.text("#verdict")
        assert "load average 1.25" in browser.text("#problems")
        assert "SUPERLINEAR" in browser.run("return document.querySelector('#scaling svg').textContent")
    assert requests(browser) == []
    assert browser.complaints() == []


def test_columns_have_headings_on_a_narrow_page_too(tmp_path, browser):
    browser.open(write(tmp_path, document(count=30)), NARROW)
    shown = "getComputedStyle(document.querySelector('#acceptance td:last-child'), '::before').content"
    assert browser.run(f"return {shown}") == '"verdict"'


def test_text_and_axes_have_the_colour_of_the_page_in_the_dark_and_what_is_folded_is_printed(tmp_path, browser):
    browser.open(write(tmp_path, document(count=30)), WIDE)
    color = "return getComputedStyle(document.querySelector({!r})).{}"
    seen = []
    for scheme in ("light", "dark"):
        browser.prefer(media="screen", scheme=scheme)
        seen.append(browser.run(color.format("body", "color")))
        assert browser.run(color.format("svg text", "fill")) == seen[-1]
    assert seen[0] != seen[1]
    browser.prefer(media="print", scheme="dark")
    assert browser.run(color.format("body", "color")) == "rgb(0, 0, 0)"
    folded = "return [...document.querySelectorAll('details dl')].every((one) => one.checkVisibility())"
    assert browser.run(folded)
    browser.prefer(media="screen", scheme="light")
    assert not browser.run(folded)


def test_a_hostile_result_is_shown_and_does_nothing(tmp_path, browser):
    made = record(name=HOSTILE, count=30)
    made.add_point(f"{HOSTILE}/{HOSTILE}", HOSTILE, 1, 1.0, HOSTILE)
    made.problem(HOSTILE)
    browser.open(write(tmp_path, made.document("failed", {"device": HOSTILE})), NARROW)
    assert browser.text("h1").startswith("Benchmark report: <script>") and HOSTILE in browser.text("#problems")
    assert browser.run("return document.title") != "taken" and browser.count("script, img") == 0
    assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
    assert "THE RUN FAILED: the machine was not quiet" in browser.text("#verdict")
    assert browser.complaints() == [] and requests(browser) == []
