"""The page, served, and somebody who looks at it."""

import pytest

from tests.models.multimodals import small_generator
from unfussy.app import launch


def pytest_configure(config):
    # Gradio counts its calls with an option that pandas is going to drop.
    filtered = "ignore:'future.no_silent_downcasting':DeprecationWarning"
    config.addinivalue_line("filterwarnings", filtered)


@pytest.fixture(scope="session")
def browser():
    from tests.app.browsing import chromium  # noqa: PLC0415 - skips where it is missing

    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def generator():
    return small_generator()


@pytest.fixture(scope="session")
def serving(generator):
    with launch(generator) as serving:
        yield serving


@pytest.fixture(scope="session")
def window(browser):
    """Return what keeps the files that every visit needs, so that they are quick."""
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        yield context


@pytest.fixture
def visitor(window, serving):
    from tests.app.browsing import Visitor  # noqa: PLC0415 - as above

    with window.new_page() as page:
        visitor = Visitor(page, serving.url)
        yield visitor
        assert visitor.complaints == []
