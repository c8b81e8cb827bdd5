"""The page in a real browser, where there is one: no console errors, nothing wider than a phone's screen, both themes."""

import re
import shutil
import subprocess

import pytest

from comflp import report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

MEASURE = """<script>
const style = getComputedStyle(document.documentElement);
document.body.setAttribute("data-seen", [innerWidth, document.documentElement.scrollWidth, style.backgroundColor].join("|"));
</script>"""


@pytest.fixture(scope="module")
def page(experiment):
    return report.html.page(report.build(experiment))


def browse(page, directory, width, *more):
    """(inner width, width of the content, colour of the page, console messages) as the browser has them."""
    (directory / "page.html").write_text(page.replace("</body>", f"{MEASURE}</body>"), encoding="utf-8")
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
         f"--user-data-dir={directory / 'profile'}", "--enable-logging=stderr", f"--window-size={width},900", *more,
         "--dump-dom", (directory / "page.html").as_uri()],
        capture_output=True, text=True, timeout=120,
    )
    seen = re.search(r'data-seen="([^"]*)"', done.stdout)
    assert seen, done.stderr
    inner, content, colour = seen[1].split("|")
    return int(inner), int(content), colour, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("width", [390, 1280])
def test_loads_without_console_errors_and_fits_the_screen(page, tmp_path, width):
    inner, content, _, messages = browse(page, tmp_path, width)
    assert messages == []
    assert inner <= max(width, 500)
    assert content <= inner


def test_dark_where_the_reader_wants_dark(page, tmp_path):
    colours = []
    for name, more in (("light", ()), ("dark", ("--force-dark-mode",))):
        (tmp_path / name).mkdir()
        colours.append(browse(page, tmp_path / name, 800, *more)[2])
    assert colours == ["rgb(253, 253, 251)", "rgb(20, 22, 26)"]
