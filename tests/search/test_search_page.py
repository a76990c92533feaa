"""The search page in headless Chromium: typing, keyboard, a phone's width, dark mode, what it says of errors."""

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from tests.search.trained_shop import TITLES, Shop
from tfb2d.search.api import Api, application
from tfb2d.search.explaining import Explainer, TeacherOnDemand
from tfb2d.search.models import Model
from tfb2d.search.searcher import Searcher
from tfb2d.search.serve import listen, settings_of

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'tfb2d[test]'")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on PATH: on Debian, apt-get install chromium")

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
]
WAIT = 15_000  # milliseconds
Open = Callable[..., Any]


class Site:
    """The page's server in a thread; it can go and come back."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.port = 0
        self.start()

    def start(self) -> None:
        listener = listen("127.0.0.1", self.port)
        self.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self._server = uvicorn.Server(settings_of(application(self.api)))
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.force_exit = self._server.should_exit = True
        self._thread.join(20)


@pytest.fixture(scope="module")
def site(shop: Shop, shop_teacher: Path) -> Iterator[Site]:
    with Searcher.open(shop.index, ranker=str(shop.ranker)) as searcher:
        explainer = Explainer(searcher.rank, str(shop.ranker), str(shop.student))
        made = Site(Api(searcher, explainer, TeacherOnDemand(shop_teacher)))
        yield made
        made.stop()


@pytest.fixture(scope="module")
def poor(shop: Shop) -> Iterator[Site]:
    """A server whose ranker is away, and that has no teacher."""
    with Searcher.open(shop.index, ranker=Model("127.0.0.1:9/shop", timeout=0.2)) as searcher:
        made = Site(Api(searcher, Explainer(searcher.rank)))
        yield made
        made.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Open]:
    """Opens pages; fails the test where one asks anybody but its server, or writes an error to the console."""
    contexts, wrong, origins = [], [], set()

    def look(url: str, width: int = 1280, dark: bool = False, errors: bool = False) -> Any:
        scheme = "dark" if dark else "light"
        context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        context.set_default_timeout(WAIT)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: origins.add(request.url.split("/")[2]))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        if not errors:
            page.on("console", lambda message: message.type in ("error", "warning") and wrong.append(message.text))
        page.goto(url)
        return page

    yield look
    for context in contexts:
        context.close()
    assert wrong == []
    assert all(origin.startswith("127.0.0.1:") for origin in origins)


def titles(page: Any, column: str = "two") -> list[str]:
    return page.locator(f"#column-{column} .hit .name").all_text_contents()


def results(page: Any, query: str) -> None:
    """Waits until the results of a query are there."""
    page.wait_for_function("query => document.getElementById('found').textContent === `Titles for ${query}`", arg=query)


def focused(page: Any) -> str:
    return page.evaluate("(document.activeElement.querySelector('.name') ?? document.activeElement).textContent")


def test_an_empty_box_says_what_is_searched_and_offers_queries(site: Site, visit: Open) -> None:
    page = visit(site.url)
    page.wait_for_selector("#samples button")
    assert page.locator("#what").inner_text() == f"Search {len(TITLES)} titles"
    assert "BM25 and the twin retrieve" in page.locator("#how").inner_text()
    sample = page.locator("#samples button").first.inner_text()
    page.locator("#samples button").first.click()
    results(page, sample)
    assert page.title() == f"{sample} · tfb2d search"
    page.go_back()
    page.wait_for_selector("#start:not([hidden])")
    assert page.locator("#query").input_value() == ""
    assert not page.locator("#results").is_visible()


def test_results_come_as_one_types(site: Site, visit: Open) -> None:
    page = visit(site.url)
    page.wait_for_selector("#samples button")
    assert page.evaluate("document.activeElement.id") == "query"
    page.keyboard.type("red running shoes", delay=15)
    results(page, "red running shoes")
    assert page.locator(".column h2").all_text_contents()[0].startswith("BM25")
    assert [text.split(" ", 1)[1] for text in titles(page)[:4]] == ["running shoes, red"] * 4
    assert re.match(r"\d[\d.]* m?s in all", page.locator(".timing .total").inner_text())
    assert {"embed the query", "nearest titles", "rank"} <= {
        re.sub(r" [\d.]+ ms$", "", text) for text in page.locator(".timing li").all_text_contents()
    }
    widths = page.locator("#column-two .hit .track i").evaluate_all("bars => bars.map(bar => bar.offsetWidth)")
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 100
    page.wait_for_selector("#column-two .name mark.up")  # the words that moved the score, without a click
    marked = page.locator("#column-two .hit .name").first.locator("mark.up").all_text_contents()
    assert {"red", "shoes"} & set(marked)
    assert titles(page)[0] == "".join(titles(page)[0])


def test_the_address_holds_the_query_and_back_works(site: Site, visit: Open) -> None:
    page = visit(site.url + "?q=desk+lamp&legs=bm25,twin")
    results(page, "desk lamp")
    assert page.locator("#query").input_value() == "desk lamp"
    assert page.locator("#legs").input_value() == "bm25,twin"
    assert page.locator("#column-two h2").inner_text().startswith("BM25 + Twin + DNN")
    page.locator("#query").fill("rain jacket")
    page.keyboard.press("Enter")
    results(page, "rain jacket")
    assert page.url.endswith("/?q=rain+jacket&legs=bm25%2Ctwin")
    page.locator("#legs").select_option("bm25")
    page.wait_for_function("() => document.querySelector('#column-two h2').textContent.startsWith('BM25 + DNN')")
    page.go_back()
    page.go_back()
    results(page, "desk lamp")
    page.go_forward()
    results(page, "rain jacket")
    page.reload()
    results(page, "rain jacket")


def test_everything_is_reached_by_keyboard(site: Site, visit: Open) -> None:
    page = visit(site.url + "?q=coffee+grinder")
    results(page, "coffee grinder")
    page.locator(".column h2").first.click()  # the focus is nowhere
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "query"
    assert page.locator("#query").input_value() == "coffee grinder"
    page.keyboard.press("ArrowDown")
    assert focused(page) == titles(page)[0]
    page.keyboard.press("ArrowDown")
    assert focused(page) == titles(page)[1]
    page.keyboard.press("ArrowLeft")
    assert focused(page) == titles(page, "twin")[1]
    page.keyboard.press("ArrowLeft")
    assert focused(page) == titles(page, "bm25")[1]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    detail = page.locator("#column-twin .detail")
    detail.locator(".adds li").first.wait_for()
    assert "rank 2" in detail.inner_text()
    assert detail.locator("mark.up").count() >= 2
    assert page.locator("#column-twin .hit").nth(1).get_attribute("aria-expanded") == "true"
    page.keyboard.press("Escape")
    assert detail.count() == 0
    assert focused(page) == titles(page, "twin")[1]
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "query"
    page.keyboard.press("Escape")
    page.wait_for_selector("#start:not([hidden])")
    assert page.url == site.url


def test_it_fits_a_phone(site: Site, visit: Open) -> None:
    page = visit(site.url + "?q=usb-c+cable", width=360)
    results(page, "usb-c cable")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    columns = page.locator(".column")
    assert [columns.nth(at).is_visible() for at in range(3)] == [False, False, True]
    page.get_by_role("tab", name="BM25").click()
    assert [columns.nth(at).is_visible() for at in range(3)] == [True, False, False]
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("tab", name="Twin", exact=True).get_attribute("aria-selected") == "true"
    assert columns.nth(1).is_visible()
    columns.nth(1).locator(".hit").first.click()
    columns.nth(1).locator(".adds li").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    small = page.locator("button:visible, select:visible").evaluate_all(
        "nodes => nodes.filter(node => node.getBoundingClientRect().height < 24).map(node => node.textContent)"
    )
    assert small == []  # large enough for a thumb (WCAG 2.2, 2.5.8)


# The contrast of every visible text with what is behind it, as WCAG 2 computes it: the lowest, and whose it is.
CONTRAST = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const over = (colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const linear = (part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const light = (rgb) => rgb.map((part, at) => linear(part / 255) * [0.2126, 0.7152, 0.0722][at]).reduce((a, b) => a + b);
  let lowest = [99, ""];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode, node = text.parentElement;
    if (!text.data.trim() || !node.checkVisibility() || node.closest("script, style, noscript, .unseen")) continue;
    const behind = [];
    for (let at = node; at; at = at.parentElement) behind.unshift(getComputedStyle(at).backgroundColor);
    const ground = light(over(behind)), ink = light(over([...behind, getComputedStyle(node).color]));
    const ratio = (Math.max(ground, ink) + 0.05) / (Math.min(ground, ink) + 0.05);
    if (ratio < lowest[0]) lowest = [ratio, text.data.trim()];
  }
  return lowest;
}"""


@pytest.mark.parametrize("dark", [False, True])
def test_texts_can_be_read_in_light_and_dark(site: Site, visit: Open, dark: bool) -> None:
    page = visit(site.url, dark=dark)
    page.wait_for_selector("#samples button")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", ground)[:3])) / 3
    assert brightness < 60 if dark else brightness > 200
    lowest = [page.evaluate(CONTRAST)]
    page.keyboard.type("blue lamp")
    results(page, "blue lamp")
    page.wait_for_selector("#column-two .name mark")
    page.locator("#column-two .hit").nth(1).click()
    page.locator(".adds li").first.wait_for()
    lowest.append(page.evaluate(CONTRAST))
    page.locator("#query").fill("x" * 1001)
    page.wait_for_selector(".message.bad")
    page.wait_for_timeout(300)  # the old results fade
    lowest.append(page.evaluate(CONTRAST))
    page.goto(site.url + "api")
    lowest.append(page.evaluate(CONTRAST))
    assert min(lowest)[0] >= 4.5, lowest


def test_controls_have_names(site: Site, visit: Open) -> None:
    page = visit(site.url + "?q=red")
    results(page, "red")
    page.get_by_role("searchbox", name="Search the catalogue").wait_for()
    page.get_by_role("combobox", name="The student ranks").wait_for()
    assert page.get_by_role("heading", level=1).all_text_contents() == ["Titles for red"]
    assert page.get_by_role("button", name=f"{titles(page)[0]} score").count() >= 1
    unnamed = page.locator("button, input, select, a").evaluate_all(
        "nodes => nodes.filter(node => !node.textContent.trim() && !node.labels?.length).length"
    )
    assert unnamed == 0


def test_a_query_that_is_too_long_is_told_without_asking(site: Site, visit: Open) -> None:
    page = visit(site.url + "?q=desk+lamp")
    results(page, "desk lamp")
    page.locator("#query").fill("lamp " * 20_000)
    page.get_by_role("alert").wait_for()
    assert (
        page.get_by_role("alert").inner_text()
        == "This query has 99,999 characters; up to 1,000 are searched. Shorten it."
    )
    page.locator("#query").fill("rain jacket")
    results(page, "rain jacket")
    assert page.get_by_role("alert").count() == 0


def test_a_query_without_a_known_word(site: Site, visit: Open) -> None:
    page = visit(site.url + "?q=zzzz")
    results(page, "zzzz")
    assert page.locator("#column-bm25").inner_text().endswith("No title has a word of this query.")


def test_the_teacher_answers_where_it_is_asked(site: Site, visit: Open) -> None:
    page = visit(site.url + "?q=black+jacket")
    results(page, "black jacket")
    assert page.locator(".meter.teacher").count() == 0
    page.locator("#column-two").get_by_role("button", name="Ask the teacher").click()
    page.wait_for_selector(".meter.teacher")
    assert page.locator("#column-two .meter.teacher").count() == len(titles(page))
    assert page.locator("#column-two .reply").inner_text().startswith("The teacher took")


def test_what_is_missing_is_told_kindly(poor: Site, visit: Open) -> None:
    page = visit(poor.url + "?q=black+jacket", errors=True)
    results(page, "black jacket")
    note = page.get_by_role("note")
    assert "Not ranked, in the order of the first stage: the ranker did not answer." in note.inner_text()
    note.locator("summary").click()
    assert "127.0.0.1:9" in note.inner_text()
    assert "nothing ranked it" in page.locator("#column-two").inner_text()
    assert titles(page) == titles(page, "twin")
    page.get_by_role("button", name="Ask the teacher").click()
    page.locator(".reply", has_text="Start the server with --teacher").wait_for()
    page.locator("#column-twin .hit").first.click()
    page.locator(".detail", has_text="127.0.0.1:9").wait_for()


def test_a_server_that_goes_and_comes_back(shop: Shop, visit: Open) -> None:
    with Searcher.open(shop.index) as searcher:
        site = Site(Api(searcher))
        page = visit(site.url + "?q=desk+lamp", errors=True)
        results(page, "desk lamp")
        assert page.locator(".column").count() == 2 + 1  # BM25, twin, and the two fused
        site.stop()
        page.locator("#query").fill("rain jacket")
        page.get_by_role("alert", name="").wait_for()
        assert "The search server does not answer. Is it still running?" in page.get_by_role("alert").inner_text()
        assert page.get_by_role("button", name="Try again").is_visible()
        assert page.locator("#columns").get_attribute("aria-busy") == "true"
        site.start()
        results(page, "rain jacket")  # by itself
        assert page.get_by_role("alert").count() == 0
        site.stop()
