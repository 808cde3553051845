"""Pages of reports, and the pictures in them."""

import re
import sys
import threading
from html.parser import HTMLParser
from importlib import import_module
from xml.etree import ElementTree as ET

import pytest

from unfussy import UnfussyError
from unfussy._pages import Page
from unfussy._plots import bars, lines, timeline

DRAWN = {
    "bars": lambda: bars(["a <b>", "c"], [1, 2], title="T & t", xlabel="s"),
    "intervals": lambda: bars(
        ["a"], [1.0], intervals=[(0.5, 2.0)], title="T & t", xlabel="s"
    ),
    "lines": lambda: lines(
        {"a": ([1, 2], [3, 4]), "b": ([1], [2])}, title="T & t", xlabel="x", ylabel="y"
    ),
    "logarithmic": lambda: lines(
        {"a": ([1, 1e4], [3, 4e5])}, title="T & t", xlabel="x", ylabel="y", logx=True
    ),
    "timeline": lambda: timeline(
        [("main", 0.0, 0.1, "run"), ("other", 0.1, 0.3, "join")], title="T & t"
    ),
    "no bars": lambda: bars([], [], title="T & t", xlabel="s"),
    "no lines": lambda: lines({}, title="T & t", xlabel="x", ylabel="y"),
    "no timeline": lambda: timeline([], title="T & t"),
}


class Tags(HTMLParser):
    """Notes every tag that is opened, and makes sure that each is closed."""

    VOID = ("meta", "br")

    def __init__(self):
        super().__init__()
        self.seen, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def tags_of(html):
    tags = Tags()
    tags.feed(html)
    assert not tags.open
    return tags.seen


def test_words_titles_cells_and_captions_are_escaped():
    nasty = "<script>alert('1 & 2')</script>"
    page = Page(nasty).text(nasty).heading(nasty).facts({nasty: nasty})

    html = page.table([nasty], [[nasty]], nasty).figure("<svg></svg>", nasty).html()

    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 10


def test_every_tag_of_a_page_is_closed():
    page = Page("T").text("a\n\nb").table(["x", "y"], [[1, "z"]], "c").facts({"n": 1})

    seen = [tag for tag, _ in tags_of(page.figure("<svg></svg>", "d").html())]

    assert seen.count("p") == 2
    assert {"table", "figure", "svg", "dl", "h1"} <= set(seen)


def test_a_page_needs_nothing_from_elsewhere():
    html = Page("T").text("x").html()

    assert not re.search(r"(src|href)=|@import|url\(", html)


@pytest.mark.parametrize(
    ("column", "is_right"),
    [
        ([1, 2.5], True),
        (["1.2 ms", "< 3"], True),
        (["", "4 %"], True),
        (["a", "1"], False),
        (["", ""], False),
        ([True, False], False),
    ],
)
def test_columns_of_numbers_are_right_aligned(column, is_right):
    html = Page("T").table(["x"], [[cell] for cell in column]).html()

    assert ('<td class="n">' in html) is is_right


def test_a_page_is_written_as_utf8(tmp_path):
    path = tmp_path / "page.html"

    Page("T").text("5 µs").write(path)

    assert "5 µs" in path.read_text(encoding="utf-8")


def test_without_matplotlib_a_page_says_once_that_pictures_were_left_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    page = Page("T").picture(DRAWN["bars"]).picture(DRAWN["lines"])

    html = page.html()

    assert html.count("Pictures were left out") == 1
    assert "pip install &#x27;unfussy[plots]&#x27;" in html


@pytest.mark.parametrize("name", DRAWN)
def test_without_matplotlib_an_error_names_the_extra(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    with pytest.raises(UnfussyError, match=r"unfussy\[plots\]"):
        DRAWN[name]()


@pytest.fixture
def matplotlib():
    return pytest.importorskip("matplotlib")


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_is_well_formed_and_says_what_it_is(matplotlib, name):
    root = ET.fromstring(DRAWN[name]())  # noqa: S314 - our own

    assert root.tag.endswith("svg")
    assert root.attrib["aria-label"] == "T & t"


@pytest.mark.parametrize("name", DRAWN)
def test_words_of_a_picture_have_the_colour_of_the_page(matplotlib, name):
    svg = DRAWN[name]()

    assert "currentColor" in svg
    assert "#000000" not in svg
    assert "#010203" not in svg


def test_pictures_in_one_page_share_no_names(matplotlib):
    svgs = [DRAWN[name]() for name in DRAWN]

    names = [name for svg in svgs for name in set(re.findall(r'\bid="([^"]+)"', svg))]

    assert len(names) == len(set(names))


def test_every_name_that_a_picture_refers_to_is_there(matplotlib):
    svg = DRAWN["lines"]()

    names = set(re.findall(r'\bid="([^"]+)"', svg))
    used = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)

    assert {a or b for a, b in used} <= names


def test_drawing_changes_no_settings_and_opens_no_window(matplotlib):
    before = dict(matplotlib.rcParams)

    for draw in DRAWN.values():
        draw()

    assert dict(matplotlib.rcParams) == before
    assert not import_module("matplotlib._pylab_helpers").Gcf.figs


def test_pictures_may_be_drawn_in_any_thread(matplotlib):
    drawn = []
    threads = [
        threading.Thread(target=lambda: drawn.append(DRAWN["lines"]()))
        for _ in range(2)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(drawn) == 2
