"""Every page in a real browser with every outside request blocked, over http and from the disk.

Needs a Chromium: Debian's package is enough (`apt-get install chromium`), `.ci/run` installs it.
Screenshots of every page, light, dark and at the width of a phone, go to `runs/screenshots/`.
"""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from geowall.paths import ROOT

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium on this machine: apt-get install chromium", allow_module_level=True)

from playwright.sync_api import Browser, BrowserContext, Page, Route, sync_playwright  # noqa: E402

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SHOTS = ROOT / "runs" / "screenshots"
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
SCHEMES = ("http", "file")


def _pages() -> list[str]:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    return [toc["root"], *(entry["file"] for part in toc["parts"] for entry in part["chapters"])]


PAGES = _pages()


def _short(name: str) -> str:
    return name.rsplit("/", 1)[1]


every_page = pytest.mark.parametrize("name", PAGES, ids=_short)
every_scheme = pytest.mark.parametrize("scheme", SCHEMES)


class Site:
    """The built book, at an address of each scheme."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.roots = {"http": f"http://127.0.0.1:{port}", "file": folder.as_uri()}

    def address(self, name: str, scheme: str = "http") -> str:
        return f"{self.roots[scheme]}/{name}.html"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def site(published: Path) -> Iterator[Site]:
    handler = functools.partial(_Quiet, directory=str(published))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Site(published, server.server_port)
        server.shutdown()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


class Visit:
    """One page, opened behind a wall: what it asked of the outside and what it complained of."""

    def __init__(self, browser: Browser, site: Site, **options: object) -> None:
        self.site = site
        self.context: BrowserContext = browser.new_context(**({"viewport": DESK} | options))
        self.outside: list[str] = []
        self.complaints: list[str] = []
        self.context.route("**/*", self._gate)
        self.page: Page = self.context.new_page()
        self.page.on("console", lambda message: self._hear(message.type, message.text))
        self.page.on("pageerror", lambda error: self._hear("error", str(error)))

    def _gate(self, route: Route) -> None:
        address = route.request.url
        if address.startswith((*self.site.roots.values(), "data:", "blob:")):
            route.continue_()
        else:
            self.outside.append(address)
            route.abort()

    def _hear(self, kind: str, text: str) -> None:
        if kind == "error":
            self.complaints.append(text)

    def open(self, name: str, scheme: str = "http") -> Page:
        self.name, self.scheme = name, scheme
        self.page.goto(self.site.address(name, scheme))
        if self.page.locator(".gw-chart").count():
            self.page.wait_for_function("document.documentElement.dataset.charts === 'drawn'", timeout=60_000)
        if self.page.locator(".math").count():
            self.page.wait_for_function("document.querySelector('mjx-container') !== null", timeout=30_000)
            self.page.evaluate("MathJax.startup.promise")
        return self.page

    def shoot(self, name: str, kind: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        path = SHOTS / f"{_short(name)}-{kind}.jpg"
        self.page.screenshot(path=path, full_page=True, type="jpeg", quality=80)  # half the time of a PNG

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


@pytest.fixture(
    scope="module",
    params=[(name, scheme) for name in PAGES for scheme in SCHEMES],
    ids=lambda place: f"{_short(place[0])}-{place[1]}",
)
def desk(browser: Browser, site: Site, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A page on a wide screen, opened once for all that is asked of it there."""
    with Visit(browser, site) as visit:
        visit.open(*request.param)
        yield visit


def test_a_page_needs_no_network_and_complains_of_nothing(desk: Visit) -> None:
    page = desk.page
    if desk.scheme == "http":
        desk.shoot(desk.name, "light")
    for chart in page.locator(".gw-chart").all():
        assert chart.locator("svg.marks [class*='mark-'] :is(path, text, rect, line)").count() > 3
        assert not chart.locator("img").is_visible()
        assert chart.locator(".gw-stage").get_attribute("aria-label")
    formulas = page.locator(".math").count()
    assert page.locator(".math mjx-container").count() >= formulas
    assert page.locator("mjx-merror, [data-mjx-error]").count() == 0
    prose = page.evaluate(
        "(() => { const a = document.querySelector('article').cloneNode(true);"
        " a.querySelectorAll('pre, code, script, mjx-container').forEach(e => e.remove());"
        " return a.textContent })()"
    )
    assert not [raw for raw in ("\\(", "\\)", "\\[", "$$", "\\frac", "{numref}", "{eq}") if raw in prose]
    assert page.locator("input[type=search]:visible, .search-button-field:visible").count() == 1
    assert desk.outside == []
    assert desk.complaints == []


def _hover_points(page: Page, chart: int) -> list[tuple[float, float]]:
    """Places of up to 60 marks of a chart, in pixels of the window: first symbols and bars, then lines."""
    return page.evaluate(
        """chart => {
          const box = document.querySelectorAll('.gw-chart')[chart];
          box.scrollIntoView({block: 'center', behavior: 'instant'});
          const marks = [...box.querySelectorAll('svg.marks .role-mark path, svg.marks .role-mark text')];
          const kind = mark => mark.closest("[class*='mark-']").className.baseVal;
          const solid = mark => /mark-(symbol|rect|arc|bar)/.test(kind(mark));
          const ordered = [...marks.filter(solid), ...marks.filter(m => !solid(m))];
          const step = Math.max(1, Math.floor(ordered.length / 60));
          return ordered.filter((_, i) => i % step === 0).map(mark => {
            if (mark.getTotalLength && !solid(mark)) {
              const inside = mark.getPointAtLength(mark.getTotalLength() * 0.4);
              const at = inside.matrixTransform(mark.getScreenCTM());
              return [at.x, at.y];
            }
            const r = mark.getBoundingClientRect();
            return [r.x + r.width / 2, r.y + r.height / 2];
          });
        }""",
        chart,
    )


def _to_touch(desk: Visit, charts: list) -> list:
    """All of a page's charts over http; from the disk, where the same code draws them, the first."""
    return charts if desk.scheme == "http" else charts[:1]


def test_tooltips_answer_on_hover(desk: Visit) -> None:
    texts = desk.page.locator("script.gw-spec").all_inner_texts()
    for number, text in _to_touch(desk, [(n, text) for n, text in enumerate(texts) if '"tooltip"' in text]):
        assert _tooltip_shows(desk.page, number), json.loads(text)["usermeta"]["name"]
    assert desk.complaints == []


def _tooltip_shows(page: Page, chart: int) -> bool:
    for x, y in _hover_points(page, chart):
        page.mouse.move(x - 3, y - 3)
        page.mouse.move(x, y)
        tooltip = page.locator("#vg-tooltip-element.visible")
        if tooltip.count() and tooltip.inner_text().strip():
            page.mouse.move(1, 1)
            return True
    return False


def test_sliders_move_what_the_chart_says(desk: Visit) -> None:
    page = desk.page
    moving = page.locator(".gw-chart:has(form.vega-bindings input[type=range])").all()
    for chart in _to_touch(desk, moving):
        drawn = chart.locator("svg.marks .role-mark")
        texts = []
        for slider in chart.locator("input[type=range]").all():
            assert slider.get_attribute("aria-label")
            before = drawn.evaluate_all("marks => marks.map(m => m.outerHTML).join()")
            texts.append(_words(chart))
            slider.focus()
            for _ in range(6):
                page.keyboard.press("ArrowRight")
            page.wait_for_timeout(200)
            after = drawn.evaluate_all("marks => marks.map(m => m.outerHTML).join()")
            if after == before:  # it stood at its end: go the other way
                page.keyboard.press("Home")
                page.wait_for_timeout(200)
                after = drawn.evaluate_all("marks => marks.map(m => m.outerHTML).join()")
            assert after != before, slider.get_attribute("aria-label")
        assert _words(chart) != texts[0]
    assert desk.complaints == []


def _words(chart: object) -> list[str]:
    return chart.locator("svg.marks .role-mark text").all_text_contents()


def test_the_first_chapter_has_an_explorer(browser: Browser, site: Site) -> None:
    with Visit(browser, site) as visit:
        page = visit.open(next(name for name in PAGES if "/01_" in name))
        assert page.locator("form.vega-bindings input[type=range]").count() >= 3


def test_a_layer_under_the_pointer_is_marked_in_both_panels(browser: Browser, site: Site) -> None:
    with Visit(browser, site) as visit:
        page = visit.open("book/intro")
        x, y = _hover_points(page, 0)[0]
        page.mouse.move(x - 2, y - 2)
        page.mouse.move(x, y)
        page.wait_for_timeout(200)
        faint = page.locator("#fig-claim svg.marks .mark-symbol.role-mark").evaluate_all(
            "groups => groups.map(g => g.querySelectorAll('[opacity=\"0.25\"]').length)"
        )
        assert sum(count > 0 for count in faint) >= 2


@every_page
def test_dark_mode_is_readable(browser: Browser, site: Site, name: str) -> None:
    with Visit(browser, site, color_scheme="dark") as visit:
        page = visit.open(name)
        visit.shoot(name, "dark")
        assert page.locator("html").get_attribute("data-theme") == "dark"
        assert _faint(page) == {}
        assert visit.complaints == []


@every_page
def test_light_mode_is_readable(browser: Browser, site: Site, name: str) -> None:
    with Visit(browser, site, color_scheme="light") as visit:
        assert _faint(visit.open(name)) == {}


def _faint(page: Page) -> dict[str, float]:
    """The kinds of text that stand out too little, and the kinds of lines."""
    contrasts = page.evaluate(CONTRASTS)
    assert contrasts
    return {what: ratio for what, ratio in contrasts.items() if ratio < (3 if what in LINES else 4.5)}


LINES = ("lines of charts", "words on cells")


# The lowest contrast of each kind of text with what lies behind it (WCAG 2: 4.5 is enough for small text).
CONTRASTS = """() => {
  const parse = colour => (colour.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] > 0.99) return c;
    }
    return [255, 255, 255];
  };
  const cells = new Map();  // of each chart, the filled boxes that a word may stand on
  const cellUnder = word => {
    const svg = word.closest('svg');
    if (!cells.has(svg)) cells.set(svg, [...svg.querySelectorAll('.mark-rect.role-mark path')]
      .map(cell => [cell.getBoundingClientRect(), parse(getComputedStyle(cell).fill), cell]));
    const r = word.getBoundingClientRect(), x = r.x + r.width / 2, y = r.y + r.height / 2;
    const under = cells.get(svg).filter(([box, fill, cell]) => fill.length === 3 &&
      box.left <= x && x <= box.right && box.top <= y && y <= box.bottom &&
      (cell.getAttribute('opacity') ?? 1) * (cell.getAttribute('fill-opacity') ?? 1) > 0.99);
    return under.length ? under.at(-1)[1] : null;
  };
  const kinds = {
    'words in charts': 'svg.marks .role-mark text',
    'lines of charts': 'svg.marks :is(.mark-line, .mark-rule).role-mark :is(path, line)',
    'axis labels': 'svg.marks .role-axis-label text', 'axis titles': 'svg.marks .role-axis-title text',
    'legend labels': 'svg.marks .role-legend-label text', 'chart titles': 'svg.marks .role-title-text text',
    'captions': 'figcaption .caption-text', 'data links': '.gw-data', 'prose': 'article p',
    'cost': '.gw-cost', 'sliders': '.vega-bind-name', 'tables': 'article td', 'code': 'article pre',
  };
  const found = {};
  for (const [kind, selector] of Object.entries(kinds)) {
    for (const element of document.querySelectorAll(selector)) {
      const style = getComputedStyle(element);
      const line = kind === 'lines of charts', inChart = element.closest('svg');
      const drawn = line ? style.stroke : inChart ? style.fill : style.color;
      if (drawn === 'none' || (inChart && !line && !element.textContent.trim())) continue;
      const cell = inChart ? cellUnder(element) : null;
      if (cell && line) continue;  // it crosses cells of every colour
      const ink = light(parse(drawn));
      const paper = light(cell || behind(element));
      const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
      const what = cell ? 'words on cells' : kind;
      found[what] = Math.min(found[what] ?? 99, ratio);
    }
  }
  return found;
}"""


def test_the_charts_follow_the_light_switch(browser: Browser, site: Site) -> None:
    with Visit(browser, site, color_scheme="light") as visit:
        page = visit.open("book/intro")
        ink = "getComputedStyle(document.querySelector('svg.marks .role-axis-label text')).fill"
        light = page.evaluate(ink)
        button = page.locator("button.theme-switch-button:visible").first
        for _ in range(3):
            button.click()
            if page.locator("html").get_attribute("data-theme") == "dark":
                break
        assert page.locator("html").get_attribute("data-theme") == "dark"
        assert page.evaluate(ink) != light
        assert _faint(page) == {}


@every_page
def test_a_phone_shows_everything(browser: Browser, site: Site, name: str) -> None:
    with Visit(browser, site, viewport=PHONE, has_touch=True) as visit:
        page = visit.open(name)
        visit.shoot(name, "phone")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        sizes = {figure: rest for figure, *rest in page.evaluate(SIZES)}
        hidden = {figure: rest for figure, rest in sizes.items() if rest[1] > rest[2] + 1 and not rest[3]}
        assert hidden == {}
        assert {figure: rest[0] for figure, rest in sizes.items() if rest[0] < 9} == {}
        assert page.evaluate(HANGING) == []
        assert visit.outside == visit.complaints == []


def test_prose_fits_the_smallest_phone(browser: Browser, site: Site) -> None:
    """At 320 pixels, as at four times the usual size: the page with the longest commands and paths."""
    with Visit(browser, site, viewport={"width": 320, "height": 568}) as visit:
        assert visit.open("book/rerun").evaluate("document.documentElement.scrollWidth") <= 320


# Figures whose caption has a line, or its link, that ends to the right of the figure.
HANGING = """[...document.querySelectorAll('figure.gw-figure')].filter(figure => {
  const edge = figure.getBoundingClientRect().right + 0.5;
  return [...figure.querySelectorAll('figcaption a, figcaption .caption-text')]
    .some(part => [...part.getClientRects()].some(line => line.right > edge));
}).map(figure => figure.id)"""

# Of each chart: its name, the height of its smallest letters, the width it shows at, the width it has, and
# whether it can be pushed sideways and says so.
SIZES = """[...document.querySelectorAll('.gw-chart')].map(chart => {
  const svg = chart.querySelector('svg.marks'), stage = chart.querySelector('.gw-stage');
  const scale = svg.getBoundingClientRect().width / svg.getAttribute('width');
  const words = [...svg.querySelectorAll('text')].filter(word => word.textContent.trim());
  const letters = words.map(word => parseFloat(getComputedStyle(word).fontSize) * scale);
  const scrolls = stage.scrollWidth > stage.clientWidth && getComputedStyle(stage).overflowX === 'auto';
  const says = /sideways/.test(getComputedStyle(chart, '::after').content);
  return [chart.closest('figure').id, Math.min(99, ...letters), svg.getBoundingClientRect().width,
          chart.clientWidth, scrolls && says];
})"""


@every_page
def test_without_javascript_the_pictures_show(browser: Browser, site: Site, name: str) -> None:
    with Visit(browser, site, java_script_enabled=False) as visit:
        visit.page.goto(site.address(name))
        charts = visit.page.locator(".gw-chart")
        for chart in charts.all():
            picture = chart.locator("img")
            picture.scroll_into_view_if_needed()
            size = picture.bounding_box()
            assert picture.is_visible() and size["width"] > 150 and size["height"] > 100
            assert len(picture.get_attribute("alt")) > 20
        assert visit.page.locator("article h1").is_visible()
        assert visit.outside == []


def test_download_links_give_the_tables(desk: Visit) -> None:
    links = desk.page.locator("a.download")
    for address in links.evaluate_all("links => links.map(a => a.href)"):
        with urllib.request.urlopen(address) as answer:
            assert len(answer.read()) > 20, address
    if links.count() and desk.scheme == "http":  # a browser opens a file of its own disk, it does not save it
        with desk.page.expect_download() as download:
            links.first.click()
        assert download.value.suggested_filename.endswith((".csv", ".parquet"))


@every_scheme
def test_the_search_finds_a_chapter_with_no_network(browser: Browser, site: Site, scheme: str) -> None:
    with Visit(browser, site) as visit:
        visit.page.goto(f"{site.address('search', scheme)}?q=curvature")
        visit.page.wait_for_selector("#search-results li a", timeout=20_000)
        found = visit.page.locator("#search-results li a").all_inner_texts()
        assert found
        assert visit.outside == []


def test_the_front_door_opens_the_book(browser: Browser, site: Site) -> None:
    with Visit(browser, site) as visit:
        visit.page.goto(f"{site.roots['file']}/index.html")
        visit.page.wait_for_url("**/book/intro.html")
        assert visit.page.locator("article h1").inner_text().startswith("The Geometric Wall")
