"""A real browser, and a service for it."""

import shutil

import pytest

from tests.serve.conftest import run, start  # noqa: F401 - fixtures
from tests.waiting import HANG

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def browser():
    sync = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install -e '.[dev]'")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def url(run, start, tmp_path_factory):  # noqa: F811 - fixtures
    folder = tmp_path_factory.mktemp("page")
    with start(folder, run.path, "--workers", 1, "--batch-workers", 1, "--log-url", "none") as service:
        yield service.url


@pytest.fixture
def open_page(browser, url):
    """Return a function that opens the page; fails at the end if the page had an error or a blocked request."""
    messages, contexts = [], []

    def open_(**settings):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(1_000 * HANG)
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("console", lambda message: messages.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: messages.append(request.url) if not request.url.startswith(url) else None)
        page.goto(url)
        page.get_by_role("heading", name="Why").wait_for()
        return page

    yield open_
    for context in contexts:
        context.close()
    expected = "status of 422"  # the tests send invalid input, and the browser logs the status
    blobs = f"blob:{url}"
    assert [text for text in messages if expected not in text and not text.startswith((blobs, "data:"))] == []
