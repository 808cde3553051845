"""
The examples in docstrings, in README and in the docs are tests.

Docstrings hold doctests. On a page, a ``python`` block is code that must run, or a
doctest where it starts with ``>>>``; the blocks of a page run in order and share
their names, and so do the docstrings of a module.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import chdir
from doctest import ELLIPSIS
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.evaluators.doctest import NUMBER
from sybil.parsers.myst import PythonCodeBlockParser, SkipParser
from sybil.parsers.rest import DocTestParser

ROOT = Path(__file__).parent
FLAGS = ELLIPSIS | NUMBER


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run what asks for it in a folder that holds ``examples`` and no more."""
    path = tmp_path_factory.mktemp("page")
    (path / "examples").symlink_to(ROOT / "examples", target_is_directory=True)
    with chdir(path):
        yield path


docstrings = Sybil(
    [DocTestParser(FLAGS)],
    patterns=["src" + n * "/*" + ".py" for n in range(2, 6)],  # ** is one level
    fixtures=["folder"],
)
pages = Sybil(
    [PythonCodeBlockParser(doctest_optionflags=FLAGS), SkipParser()],
    patterns=["README.md", "docs/*.md", "docs/*/*.md"],
    fixtures=["folder"],
)

pytest_collect_file = (docstrings + pages).pytest()
