"""The rendered book as files: it builds clean, says what its sources say and fits its budget."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
import yaml

from conftest import Book
from geowall.paths import ROOT, GeowallError
from geowall.site import build, generated, stage
from geowall.site.plan import PLAN

BOOK = ROOT / "book"
PAGE_BUDGET = 1_000_000  # bytes of one page, as notebook and as HTML
BOOK_BUDGET = 25_000_000
CHAPTERS = sorted(path.parent for path in (BOOK / "chapters").glob("[0-9]*/*.ipynb"))


@pytest.fixture(scope="session")
def site(published: Path) -> Path:
    return published


def pages_of(site: Path) -> list[Path]:
    return sorted((site / "book").rglob("*.html"))


class Addresses(HTMLParser):
    """Collect the ids of a page and every address it points to."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


@cache
def addresses(page: Path) -> Addresses:
    parser = Addresses()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser


def test_a_strict_build_is_clean_and_opens_at_its_own_address(site: Path) -> None:
    first = re.search(r"url=([^\"]+)", (site / "index.html").read_text())
    assert first and (site / first[1]).is_file()


def test_every_page_of_the_table_of_contents_is_built(site: Path) -> None:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    names = [toc["root"], *(entry["file"] for part in toc["parts"] for entry in part["chapters"])]
    assert [name for name in names if not (site / f"{name}.html").is_file()] == []


def test_every_link_and_anchor_inside_the_book_resolves(site: Path) -> None:
    broken, pages = [], pages_of(site)
    for page in pages:
        for link in addresses(page).links:
            parts = urlsplit(link)
            if parts.scheme or link.startswith("//"):
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not target.exists():
                broken.append(f"{page.name}: {link}")
            elif parts.fragment and target in pages and parts.fragment not in addresses(target).ids:
                broken.append(f"{page.name}: {link} has no such anchor")
    assert broken == []


def test_no_cross_reference_or_citation_is_left_unresolved(site: Path) -> None:
    raw = re.compile(r"\{(?:numref|eq|ref|doc|cite:[a-z]+)\}`|\[?\?\?\]?")
    for page in pages_of(site):
        text = re.sub(r"<(script|pre|code)\b.*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.S)
        assert raw.findall(text) == [], page.name


def test_figures_and_equations_carry_the_number_of_their_chapter(site: Path) -> None:
    for folder in CHAPTERS:
        page = (site / folder.relative_to(ROOT) / f"{folder.name}.html").read_text(encoding="utf-8")
        number = int(folder.name[:2])
        figures = re.findall(r'class="caption-number">Figure (\d+)\.(\d+)', page)
        assert figures, folder.name
        assert [(int(a), int(b)) for a, b in figures] == [(number, i + 1) for i in range(len(figures))]
        assert set(re.findall(r'class="eqno">\((\d+)\.', page)) <= {str(number)}


def test_no_two_figures_of_the_book_share_a_name(site: Path) -> None:
    pages = [(site / f.relative_to(ROOT) / f"{f.name}.html").read_text(encoding="utf-8") for f in CHAPTERS]
    figure = re.compile(r'<figure class="gw-figure[^>]* id="([^"]+)"')
    names = [name for page in pages for name in figure.findall(page)]
    assert len(names) > 60 and sorted(names) == sorted(set(names))


def test_every_figure_offers_its_tables_a_description_and_a_picture(site: Path) -> None:
    for folder in CHAPTERS:
        page = (site / folder.relative_to(ROOT) / f"{folder.name}.html").read_text(encoding="utf-8")
        figures = re.findall(r'<figure class="gw-figure.*?</figure>', page, flags=re.S)
        assert len(figures) == page.count('class="gw-spec"') > 0
        for figure in figures:
            assert re.search(r'<img alt="[^"]{20,}"', figure)
            assert 'class="gw-alt"' in figure
            tables = json.loads(re.search(r'class="gw-spec">(.*?)</script>', figure)[1])["usermeta"]["tables"]
            assert figure.count("reference download internal") == 2 * len(tables)


def test_pages_name_no_other_host_for_scripts_styles_or_images(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert re.findall(r"<(?:script|img|iframe)[^>]+src=\"(?:https?:)?//[^\"]+", text) == [], page.name
        assert re.findall(r"<link[^>]+stylesheet[^>]+href=\"(?:https?:)?//[^\"]+", text) == [], page.name


def test_launch_buttons_open_the_pages_own_notebook(site: Path) -> None:
    for folder in CHAPTERS:
        place = folder.relative_to(ROOT)
        links = addresses(site / place / f"{folder.name}.html").links
        for host in ("mybinder.org", "colab.research.google.com"):
            opened = [link for link in links if host in link]
            assert opened and all(link.endswith(f"{place}/{folder.name}.ipynb") for link in opened)
            assert (ROOT / place / f"{folder.name}.ipynb").is_file()


@pytest.mark.parametrize("folder", CHAPTERS, ids=lambda folder: folder.name)
def test_code_of_a_page_is_the_code_of_its_source(folder: Path) -> None:
    page = nbformat.read(folder / f"{folder.name}.ipynb", as_version=4)
    source = nbformat.read(ROOT / "notebooks" / f"{folder.name}.ipynb", as_version=4)

    def code(notebook: nbformat.NotebookNode) -> list[str]:
        own = [c for c in notebook.cells if "injected-parameters" not in c.metadata.get("tags", [])]
        return [cell.source for cell in own if cell.cell_type == "code"]

    def prose(notebook: nbformat.NotebookNode) -> list[str]:
        return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]

    assert code(page) == code(source)
    assert prose(page) == prose(source)


@pytest.mark.parametrize("folder", CHAPTERS, ids=lambda folder: folder.name)
def test_a_published_page_is_whole(folder: Path) -> None:
    page = nbformat.read(folder / f"{folder.name}.ipynb", as_version=4)
    outputs = [o for cell in page.cells if cell.cell_type == "code" for o in cell.outputs]
    assert outputs and not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    record = json.loads((folder / "provenance.json").read_text())
    missing = [
        t
        for t in record["tables"]
        for f in ("csv", "parquet")
        if not (folder / "tables" / f"{t}.{f}").is_file()
    ]
    assert missing == []


def tables() -> list[Path]:
    return sorted([*(ROOT / "data" / "published").glob("*.csv"), *(BOOK / "chapters").glob("*/tables/*.csv")])


def test_notation_names_every_column_of_every_table() -> None:
    defined = set()
    for line in (BOOK / "notation.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            defined |= set(re.findall(r"`([A-Za-z_][\w]*)`", line.split("|")[1]))
    assert tables()
    unnamed = {}
    for path in tables():
        with path.open(encoding="utf-8", newline="") as file:
            columns = next(csv.reader(file))
        if lacking := [column for column in columns if column not in defined]:
            unnamed[str(path.relative_to(ROOT))] = lacking
    assert unnamed == {}


def test_pages_and_book_fit_their_budgets(site: Path) -> None:
    large = [p.name for p in BOOK.rglob("*.ipynb") if p.stat().st_size > PAGE_BUDGET]
    large += [p.name for p in pages_of(site) if p.stat().st_size > PAGE_BUDGET]
    assert large == []
    assert sum(path.stat().st_size for path in BOOK.rglob("*") if path.is_file()) < BOOK_BUDGET


def test_the_map_links_exactly_the_chapters_of_the_table_of_contents(site: Path) -> None:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    listed = {
        entry["file"] for part in toc["parts"] for entry in part["chapters"] if "/chapters/" in entry["file"]
    }
    assert listed <= {chapter.docname for chapter in PLAN}
    rows = generated.chapter_map(listed).splitlines()[2:]
    assert len(rows) == len(PLAN) == 9
    for row, chapter in zip(rows, PLAN, strict=True):
        assert ("{doc}" in row) == (chapter.docname in listed) != ("planned" in row)
    intro = addresses(site / "book" / "intro.html").links
    for docname in listed:
        assert docname.removeprefix("book/") + ".html" in intro


def test_site_imports_no_torch() -> None:
    code = (
        "import sys, geowall.site.build, geowall.site.extension, geowall.site.mime, geowall.site.render\n"
        "import geowall.figures.claim, jupyter_book.sphinx\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_two_builds_give_the_same_pages(site: Path, tmp_path: Path) -> None:
    again = build.build_published(ROOT, tmp_path / "html").parent
    names = [path.relative_to(site) for path in pages_of(site)]
    assert names == [path.relative_to(again) for path in pages_of(again)]
    assert [str(n) for n in names if (site / n).read_bytes() != (again / n).read_bytes()] == []


def small_book(place: Path, text: str = "# A book\n\nWith one page.\n") -> Path:
    """A book of one page, with the configuration of ours."""
    (place / "book").mkdir(parents=True, exist_ok=True)
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    del config["bibtex_bibfiles"]
    config["sphinx"]["config"] = {k: v for k, v in config["sphinx"]["config"].items() if "bibtex" not in k}
    (place / "_config.yml").write_text(yaml.safe_dump(config))
    (place / "_toc.yml").write_text("format: jb-book\nroot: book/intro\n")
    (place / "book" / "intro.md").write_text(text)
    return place


def test_a_failed_build_leaves_the_old_book_and_names_the_page(tmp_path: Path) -> None:
    out = tmp_path / "a folder" / "html"
    good = small_book(tmp_path / "good")
    before = build.build_site(good, out).read_bytes()
    (good / "book" / "intro.md").write_text("# A book\n\n{numref}`nothing-has-this-name`\n")
    with pytest.raises(GeowallError) as failure:
        build.build_site(good, out, strict=True)
    assert "nothing-has-this-name" in failure.value.why and "intro.md" in failure.value.why
    assert (out / "index.html").read_bytes() == before
    assert [path.name for path in out.parent.iterdir()] == ["html"]


def site_on_a_full_disk(book: Book, full: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``geowall site`` where ``full`` is a file system of 200 kB, in a name space of our own."""
    script = f'mount -t tmpfs -o size=200k none "{full}" && "$@"'
    root = [] if os.geteuid() == 0 else ["-Ur"]
    command = ["unshare", "--mount", *root, "sh", "-c", script, "sh", *book.command("site", *arguments)]
    return subprocess.run(command, env=book.environment(), capture_output=True, text=True, check=False)


def test_a_full_disk_of_temporary_files_is_reported_as_such(book: Book, tmp_path: Path) -> None:
    small_book(book.root)
    (book.root / "book" / "large.bin").write_bytes(bytes(400_000))
    assert book.run("run", "01").returncode == 0
    (tmp_path / "small").mkdir()
    book.extra["TMPDIR"] = str(tmp_path / "small")
    done = site_on_a_full_disk(book, tmp_path / "small", "--profile", "quick")
    said = done.stderr.strip().splitlines()
    assert done.returncode == 1 and len(said) == 3 and "the disk filled up" in said[0], done.stderr[-2000:]
    assert f"where {tmp_path / 'small'} lies" in said[1] and "TMPDIR=DIR" in said[2]
    assert not (book.root / "runs" / "book" / "html").exists()


def test_a_full_disk_of_the_built_book_is_reported_as_such(book: Book) -> None:
    small_book(book.root)
    (book.root / "_build").mkdir()
    done = site_on_a_full_disk(book, book.root / "_build")
    said = done.stderr.strip().splitlines()
    assert done.returncode == 1 and len(said) == 3 and "the disk filled up" in said[0], done.stderr[-2000:]
    assert f"where {book.root / '_build'} lies" in said[1] and "make clean" in said[2]


def test_a_disk_that_sphinx_finds_full_is_reported_whatever_its_code(tmp_path: Path, monkeypatch) -> None:
    warned = subprocess.CompletedProcess([], 0, "", f"WARNING: not copied: {os.strerror(errno.EDQUOT)}")
    monkeypatch.setattr(build, "_render", lambda *_: warned)
    with pytest.raises(GeowallError, match="the disk filled up"):
        build.build_site(small_book(tmp_path / "book"), tmp_path / "html")
    assert not list(tmp_path.glob(".html-*"))


def test_a_formula_whose_escape_python_has_eaten_stops_a_strict_build(tmp_path: Path) -> None:
    book = small_book(tmp_path / "book", "# A book\n\nThe exponent $\x08eta$.\n")
    with pytest.raises(GeowallError, match="control character"):
        build.build_site(book, tmp_path / "html", strict=True)


def test_two_builds_at_once_end_in_one_whole_book(tmp_path: Path) -> None:
    source, out = small_book(tmp_path / "book"), tmp_path / "html"
    code = f"from geowall.site.build import build_site; build_site({str(source)!r}, {str(out)!r})"
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    assert "With one page." in (out / "book" / "intro.html").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["book", "html"]


def test_a_missing_page_is_told_in_three_lines(tmp_path: Path) -> None:
    book = small_book(tmp_path / "book")
    chapter = "book/chapters/02_hyperspheres_and_shells/02_hyperspheres_and_shells"
    toc = {
        "format": "jb-book",
        "root": "book/intro",
        "parts": [{"caption": "C", "chapters": [{"file": chapter}]}],
    }
    (book / "_toc.yml").write_text(yaml.safe_dump(toc))
    with pytest.raises(GeowallError) as failure:
        build.build_published(book, tmp_path / "html")
    assert (
        chapter in failure.value.what
        and failure.value.fix == "python -m geowall publish 02_hyperspheres_and_shells"
    )


def test_a_book_of_runs_sets_published_against_yours(tmp_path: Path) -> None:
    name = CHAPTERS[0].name
    index = build.build_runs({name: CHAPTERS[0]}, tmp_path / "html", strict=True)
    page = (index.parent / CHAPTERS[0].relative_to(ROOT) / f"{name}.html").read_text(encoding="utf-8")
    section = page.split("Published against yours", 2)[2]
    with (CHAPTERS[0] / "tables" / "checks.csv").open(encoding="utf-8", newline="") as file:
        claims = list(csv.DictReader(file))
    assert section.count("<tr") == len(claims) + 1
    for chapter in CHAPTERS[1:]:
        other = index.parent / chapter.relative_to(ROOT) / f"{chapter.name}.html"
        assert "Published against yours" not in other.read_text(encoding="utf-8")


def test_comparison_shows_differences_failures_and_claims_of_one_side() -> None:
    published = [
        {"claim": "a", "value": "1.5", "low": "1", "high": "2", "passed": "True"},
        {"claim": "gone", "value": "7", "low": "", "high": "", "passed": "True"},
    ]
    yours = [
        {"claim": "a", "value": "-3", "low": "1", "high": "2", "passed": "False"},
        {"claim": "b | c", "value": "0.25", "low": "", "high": "1", "passed": "True"},
    ]
    assert stage.comparison(published, yours).splitlines()[2:] == [
        "| a | 1.5 | −3 | −4.5 | 1 to 2 | **no** |",
        "| b \\| c | – | 0.25 | – | at most 1 | yes |",
        "| gone | 7 | – | – | anything | – |",
    ]


def test_staging_leaves_out_chapters_that_have_no_page(tmp_path: Path) -> None:
    root = small_book(tmp_path / "root")
    chapter = "book/chapters/01_capacity_allocation/01_capacity_allocation"
    toc = {
        "format": "jb-book",
        "root": "book/intro",
        "parts": [{"caption": "C", "chapters": [{"file": chapter}]}],
    }
    (root / "_toc.yml").write_text(yaml.safe_dump(toc))
    staged = stage.stage_runs({}, tmp_path / "staged", root)
    assert yaml.safe_load((staged / "_toc.yml").read_text()) == {"format": "jb-book", "root": "book/intro"}


def test_staging_refuses_a_run_without_a_page(tmp_path: Path) -> None:
    root, run = small_book(tmp_path / "root"), tmp_path / "run"
    run.mkdir()
    with pytest.raises(GeowallError, match="has no page"):
        stage.stage_runs({"01_capacity_allocation": run}, tmp_path / "staged", root)


def test_cost_line_tells_what_is_known() -> None:
    about = {"minutes_to_read": 9, "needs": "one GPU"}
    costs = {
        "full": {"seconds": 3700, "peak_memory_mb": 812.4, "device": "NVIDIA H200", "cores": 16},
        "quick": {"seconds": 12.2, "peak_memory_mb": 310, "device": "cpu (x86_64)", "cores": 2},
    }
    assert generated.cost_line(about, costs) == (
        "9 min to read · quick run 12 s (2 CPU cores, 310 MB) · "
        "full run 1 h 2 min (NVIDIA H200, 812 MB) · one GPU"
    )
    assert generated.cost_line({}, {}) == ""
