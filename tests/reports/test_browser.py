"""The page in a browser: it loads without a word on the console, sorts, enlarges, saves, fits a telephone."""

import re
import shutil
from pathlib import Path

import pytest
from support.figures import epochs, fusion_rows, line, model_rows, posterior_rows, saved, star_rows

from starcli.reports.findings import find
from starcli.reports.page import render_page

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]

ACCURACIES = (0.5, 0.9, 0.7)
EVIL = "<img src=x onerror=document.title='run'>"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        yield started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    directory = tmp_path_factory.mktemp("report")
    matrix = [[abs(i - j) / 10 for j in range(12)] for i in range(12)]
    pairs = {"type": "summary", "group": "all", "models": [f"model-{n}" for n in range(12)], "matrix": {"test": matrix}}
    named = model_rows(["m10", "m2", EVIL])
    rows = {
        "star": star_rows(),
        "pairs": [line("a", "b"), pairs],
        "bma": posterior_rows(),
        "eval": [{**r, "accuracy": a, "nll": 1 - a} for a, r in zip(ACCURACIES, named, strict=True)],
        "fuse": fusion_rows(),
    }
    for name, some in rows.items():
        (directory / f"{name}.jsonl").write_text(saved(some))
    (directory / "0.metrics.jsonl").write_text(saved(epochs(5)))
    (directory / "report.html").write_text(render_page(find([directory], title=EVIL)), encoding="utf-8")
    return directory / "report.html"


@pytest.fixture
def opened(browser, page_file, request):
    """The page as a browser shows it; the test ends with nothing on the console and no request but the page itself."""
    context = browser.new_context(**getattr(request, "param", {"viewport": {"width": 1100, "height": 800}}))
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    yield page
    assert page.title() == EVIL  # and not what it would have set
    assert said == []
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [page_file.as_uri()]
    context.close()


def cells(table, place):
    return table.evaluate(f"table => [...table.tBodies[0].rows].map(row => row.cells[{place}].textContent)")


def test_tables_sort_by_a_click_and_by_a_key(opened):
    table = opened.locator("#evaluation table")
    heading = table.locator("th", has_text="accuracy").first
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert cells(table, 1) == ["50.00%", "70.00%", "90.00%"]
    heading.get_by_role("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert cells(table, 1) == ["90.00%", "70.00%", "50.00%"]
    table.get_by_role("button", name="model").press("Space")
    assert cells(table, 0) == [EVIL, "m2", "m10"]
    assert heading.get_attribute("aria-sort") == "none"


def test_figures_enlarge_and_say_their_values(opened):
    figure = opened.locator("figure", has=opened.locator("svg[data-curves]")).first
    figure.get_by_role("button", name="Enlarge").click()
    dialog = opened.locator("dialog")
    assert dialog.is_visible()
    assert dialog.locator("svg").bounding_box()["width"] > 1.5 * figure.locator("svg").bounding_box()["width"]
    dialog.locator("svg").hover()
    values = opened.locator("#values")
    assert values.is_visible()
    assert re.match(r"t = 0\.5.*regular-regular", values.inner_text(), flags=re.DOTALL)
    opened.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert not values.is_visible()
    figure.locator("svg").focus()
    opened.keyboard.press("ArrowRight")
    opened.keyboard.press("ArrowRight")
    assert "t = 0.25" in values.inner_text()


def test_figures_are_saved_as_they_look(opened, tmp_path):
    figure = opened.locator("#pairs figure").first
    for kind in ("SVG", "PNG"):
        with opened.expect_download() as download:
            figure.get_by_role("button", name=f"Save {kind}").click()
        assert download.value.suggested_filename == f"pairs-test-pairs.{kind.lower()}"
        download.value.save_as(tmp_path / kind)
    saved_svg = (tmp_path / "SVG").read_text()
    assert "class=" not in saved_svg
    assert "rgb(8, 68, 122)" in saved_svg  # the highest colour, in the page's light colours
    assert (tmp_path / "PNG").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("opened", [{"viewport": {"width": 360, "height": 740}, "has_touch": True}], indirect=True)
def test_it_fits_a_telephone(opened):
    assert opened.evaluate("document.documentElement.scrollWidth") == 360
    sizes = opened.evaluate(
        "[...document.querySelectorAll('main svg text')].filter(t => t.checkVisibility())"
        ".map(t => t.getBoundingClientRect()).filter(b => b.width > b.height).map(b => b.height)"
    )
    assert min(sizes) > 9
    opened.locator("svg[data-curves]").first.tap()
    assert opened.locator("#values").is_visible()


def contrast(first, second):
    """Contrast of two colours as of WCAG 2, from "rgb(r, g, b)"."""

    def luminance(colour):
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    "opened", [{"color_scheme": "light"}, {"color_scheme": "dark"}], ids=["light", "dark"], indirect=True
)
def test_all_can_be_read_in_light_and_in_dark(opened, request):
    def colour(selector, name):
        return opened.locator(selector).first.evaluate(f"e => getComputedStyle(e).{name}")

    paper, card = colour("body", "backgroundColor"), colour(".run", "backgroundColor")
    assert (contrast(paper, "rgb(255, 255, 255)") < 2) == ("[light]" in request.node.name)
    assert contrast(paper, colour("body", "color")) > 7
    assert contrast(card, colour(".note", "color")) > 4.5
    assert contrast(card, colour(".tick", "fill")) > 4.5
    assert contrast(paper, colour("nav a", "color")) > 4.5
    for slot in opened.evaluate("[...document.querySelectorAll('.curve')].map(e => getComputedStyle(e).stroke)"):
        assert contrast(card, slot) > 3
    for under, over in opened.evaluate(
        "[...document.querySelectorAll('.cell')].map(e =>"
        " [getComputedStyle(e.previousElementSibling).fill, getComputedStyle(e).fill])"
    ):
        assert contrast(under, over) > 4


@pytest.mark.parametrize("opened", [{"color_scheme": "dark"}], indirect=True)
def test_on_paper_everything_is_open_in_light_colours_and_no_button_is_there(opened):
    opened.emulate_media(media="print")
    ink, paper = (opened.evaluate(f"getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor"))
    assert (ink, paper) == ("rgb(0, 0, 0)", "rgb(255, 255, 255)")
    highest = opened.locator(".h8").first.evaluate("e => getComputedStyle(e).fill")
    assert highest == "rgb(8, 68, 122)"
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.locator("details:not([open])").count() == 0
    assert opened.get_by_role("button", name="Enlarge").first.is_hidden()
    assert opened.locator("nav").is_hidden()
    opened.evaluate("dispatchEvent(new Event('afterprint'))")
    assert opened.locator("details:not([open])").count() > 0


def test_without_scripts_it_is_whole(browser, page_file: Path):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_file.as_uri())
    assert page.locator("button").count() == 0
    assert page.locator("figure svg").first.is_visible()
    context.close()
