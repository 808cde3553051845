"""
A page of words, tables and pictures: one HTML file that needs nothing beside it.

It follows the reader's light or dark theme, and narrow screens scroll what is wide.
Everything but the pictures is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Final, Self

from unfussy.errors import MissingExtraError

__all__ = ["Page"]


class Page:
    """
    A page that grows from top to bottom; every method but the last two returns it.

    Args:
        title: What it is called, at the top and in the browser.

    Examples:
        >>> page = Page("Speed").text("It is <fast>.").table(["ms"], [[1.5]])
        >>> "It is &lt;fast&gt;." in page.html()
        True
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._parts: list[str] = []
        self._left_out: set[str] = set()

    def text(self, text: str, /) -> Self:
        """Add a paragraph for each block of *text* between empty lines."""
        for block in text.split("\n\n"):
            words = escape(block.strip()).replace(" %", "&nbsp;%")
            self._parts.append(f"<p>{words}</p>")
        return self

    def heading(self, text: str, /) -> Self:
        """Begin a section."""
        self._parts.append(f"<h2>{escape(text)}</h2>")
        return self

    def facts(self, facts: Mapping[str, object], /) -> Self:
        """Add a row of large figures, each with its name below."""
        cells = [
            f"<div><dd>{escape(str(value))}</dd><dt>{escape(name)}</dt></div>"
            for name, value in facts.items()
        ]
        self._parts.append(f'<dl class="facts">{"".join(cells)}</dl>')
        return self

    def table(
        self,
        headers: Sequence[str],
        rows: Sequence[Sequence[object]],
        caption: str = "",
    ) -> Self:
        """
        Add a table; columns of numbers, with a unit or without, are right-aligned.

        Args:
            headers: What the columns are called.
            rows: Their cells; what is no text already is shown as `str` has it.
            caption: What the table shows.
        """
        right = [_is_numeric([row[i] for row in rows]) for i in range(len(headers))]
        head = _cells("th", headers, right)
        body = "".join(f"<tr>{_cells('td', row, right)}</tr>" for row in rows)
        above = f"<caption>{escape(caption)}</caption>" if caption else ""
        self._parts.append(
            f'<div class="wide"><table>{above}<thead><tr>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>"
        )
        return self

    def figure(self, svg: str, caption: str = "") -> Self:
        """Add a picture: SVG text, which is not escaped."""
        below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
        self._parts.append(
            f'<figure><div class="wide">{_without_prolog(svg)}</div>{below}</figure>'
        )
        return self

    def picture(self, draw: Callable[[], str], caption: str = "") -> Self:
        """
        Add what *draw* returns; without the package that it needs, say that instead.

        Args:
            draw: Returns SVG text, and may raise `MissingExtraError`.
            caption: What the picture shows.
        """
        try:
            return self.figure(draw(), caption)
        except MissingExtraError as error:
            words = f"Pictures were left out: {error}."
        if words not in self._left_out:
            self._left_out.add(words)
            self.text(words)
        return self

    def html(self) -> str:
        """Return the page as HTML."""
        title, body = escape(self._title), "\n".join(self._parts)
        return _FRAME.format(title=title, style=_STYLE, body=body)

    def write(self, path: str | PathLike[str], /) -> None:
        """Write the page to a file."""
        Path(path).write_text(self.html(), encoding="utf-8")


def _cells(tag: str, cells: Sequence[object], right: Sequence[bool]) -> str:
    return "".join(
        f'<{tag} class="n">{escape(str(cell))}</{tag}>'
        if is_right
        else f"<{tag}>{escape(str(cell))}</{tag}>"
        for cell, is_right in zip(cells, right)
    )


def _is_numeric(column: Sequence[object]) -> bool:
    said = [cell for cell in column if cell not in {"", None}]
    return bool(said) and all(map(_is_number, said))


def _is_number(cell: object) -> bool:
    if isinstance(cell, Real):
        return not isinstance(cell, bool)
    text = str(cell).lstrip("<>≤≥~+-± ")
    return text[:1].isdigit() or text in {"", "nan", "inf"}


def _without_prolog(svg: str) -> str:
    return svg[max(svg.find("<svg"), 0) :]


_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2733; --soft: #5b6875; --line: #dde3e9;
  --back: #ffffff; --panel: #f5f7f9; --mark: #2f6fb0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ee; --soft: #9aa7b4;
  --line: #323c47; --back: #14191f; --panel: #1c232b; --mark: #79b2ea; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 4rem; color: var(--ink);
  background: var(--back); font: 16px/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, "DejaVu Sans", sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; padding-top: 1.25rem;
  border-top: 1px solid var(--line); }
p { margin: .75rem 0; max-width: 46rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; margin: 1rem 0; min-width: 50%; }
caption { text-align: left; color: var(--soft); padding-bottom: .4rem; }
th { color: var(--soft); font-weight: 600; text-align: left; white-space: nowrap; }
td, th { padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.facts { display: grid; gap: .75rem; margin: 1.25rem 0;
  grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); }
.facts div { background: var(--panel); border-radius: .5rem; padding: .7rem .9rem;
  display: flex; flex-direction: column; }
.facts dd { margin: 0; font-size: 1.3rem; font-weight: 600; color: var(--mark);
  font-variant-numeric: tabular-nums; }
.facts dt { color: var(--soft); font-size: .8rem; }
figure { margin: 1.5rem 0; }
figure svg { display: block; width: 100%; height: auto; min-width: 30rem; }
figcaption { color: var(--soft); font-size: .875rem; margin-top: .4rem; }
@media print { body { max-width: none; } h2, figure, tr { break-inside: avoid; } }
"""

_FRAME: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""
