"""A query and its matches as one picture: the query left, the best match first."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final
from unicodedata import combining, normalize

from unfussy.errors import MissingExtraError

try:
    from PIL import Image, ImageDraw, ImageFont, ImageOps
except ImportError as error:
    raise MissingExtraError("Pillow", "images") from error

__all__ = ["draw_matches"]

_SIDE: Final = 168  # of a picture, pixels
_GAP: Final = 16
_TEXT: Final = 52  # two lines below a picture
_CELL: Final = (_SIDE + _GAP, _SIDE + _TEXT + _GAP)
_COLUMNS: Final = 5  # of matches
_PAPER, _INK, _FAINT, _LINE = "#ffffff", "#1a1a1a", "#5f6368", "#d0d4d9"
# Of many alphabets. The one that Pillow brings has no letters beyond ASCII.
_FONTS: Final = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial.ttf", "arial.ttf")


def draw_matches(query: Path, matches: Sequence[tuple[float, Any, Path]]) -> Any:
    """
    Return a Pillow picture of a query and its matches, in rows of five.

    Args:
        query: The picture that was searched for.
        matches: Scores, labels and pictures, the best first. Where a picture is gone,
            an empty field stands for it.
    """
    columns = min(max(len(matches), 1), _COLUMNS)
    rows = max(-(-len(matches) // _COLUMNS), 1)
    left = _GAP + _CELL[0] + _GAP
    size = left + _GAP + columns * _CELL[0], _GAP + rows * _CELL[1]
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    _draw_picture(sheet, draw, (_GAP, _GAP), query)
    _draw_caption(draw, (_GAP, _GAP), "query", query.stem)
    x = left - _GAP // 2
    draw.line((x, _GAP, x, size[1] - _GAP), fill=_LINE, width=2)
    for i, (score, label, path) in enumerate(matches):
        row, column = divmod(i, _COLUMNS)
        corner = left + _GAP + column * _CELL[0], _GAP + row * _CELL[1]
        _draw_picture(sheet, draw, corner, path)
        _draw_caption(draw, corner, f"{score:.3f}", str(label))
    return sheet


def _draw_picture(sheet: Any, draw: Any, corner: tuple[int, int], path: Path) -> None:
    x, y = corner
    picture = _thumbnail(path)
    if picture is None:
        draw.rectangle((x, y, x + _SIDE - 1, y + _SIDE - 1), outline=_LINE, width=2)
        middle = x + _SIDE // 2, y + _SIDE // 2
        draw.text(middle, "picture not found", _FAINT, _font(14), anchor="mm")
        return
    width, height = picture.size
    sheet.paste(picture, (x + (_SIDE - width) // 2, y + (_SIDE - height) // 2))


def _draw_caption(draw: Any, corner: tuple[int, int], title: str, text: str) -> None:
    x, y = corner
    _draw_line(draw, (x, y + _SIDE + 6), title, 18, _INK)
    _draw_line(draw, (x, y + _SIDE + 30), text, 14, _FAINT)


def _draw_line(
    draw: Any, corner: tuple[int, int], text: str, size: int, color: str
) -> None:
    font = _font(size)
    text = text if _has_letters(font) else _to_ascii(text)
    shown = text
    while len(text) > 1 and draw.textlength(shown, font) > _SIDE:
        text = text[:-1]
        shown = f"{text.rstrip()}..."
    draw.text(corner, shown, color, font)


@cache
def _font(size: int) -> Any:
    for name in _FONTS:
        with suppress(OSError):
            return ImageFont.truetype(name, size)
    return ImageFont.load_default(size)


def _has_letters(font: Any) -> bool:
    return isinstance(font.path, str)


def _to_ascii(text: str) -> str:
    """Return *text* without accents, and "?" for what is no letter of ASCII then."""
    bare = "".join(x for x in normalize("NFKD", text) if not combining(x))
    return bare.encode("ascii", "replace").decode()


def _thumbnail(path: Path) -> Any:
    try:
        with Image.open(path) as picture:
            upright = ImageOps.exif_transpose(picture).convert("RGB")
    except (OSError, ValueError, SyntaxError):
        return None
    return ImageOps.contain(upright, (_SIDE, _SIDE), Image.Resampling.LANCZOS)
