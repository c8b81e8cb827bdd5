"""The pages in a real browser, where there is one: no text is cut, covered or off the screen, at three widths and in both themes."""

import json
import re
import shutil
import subprocess
from html import escape, unescape

import pytest

from comflp import report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

WIDTHS = (360, 800, 1280)
MEASURE = """<script>
function boxes(frame) {
  const page = frame.contentDocument, width = frame.contentWindow.innerWidth, faults = [], seen = [];
  page.querySelectorAll("details").forEach(part => part.open = true);
  if (page.documentElement.scrollWidth > width) faults.push(`the page is ${page.documentElement.scrollWidth} wide`);
  const texts = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode, holder = node.parentElement, said = node.data.trim();
    const head = holder.closest("thead");
    if (!said || holder.closest("title") || !holder.checkVisibility() || head && getComputedStyle(head).clipPath != "none") continue;
    const range = page.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) {
      const window = holder.closest(".scroll")?.getBoundingClientRect();
      if (box.width < 1 || window && box.right > window.right) continue;
      const drawing = holder.closest("svg"), edge = drawing ? drawing.getBoundingClientRect() : null;
      if (!holder.closest(".scroll") && (box.left < -0.5 || box.right > width + 0.5)) faults.push(`off the screen: ${said}`);
      if (edge && (box.left < edge.left - 1.5 || box.right > edge.right + 1.5 || box.top < edge.top - 1.5 || box.bottom > edge.bottom + 1.5))
        faults.push(`cut by its figure: ${said}`);
      seen.push([box.top, box.bottom, box.left, box.right, said, node]);
    }
  }
  for (const scroll of page.querySelectorAll("header .scroll, #models .scroll, #candidates .scroll"))
    if (scroll.scrollWidth > scroll.clientWidth + 1) faults.push(`columns off the screen: ${scroll.getAttribute("aria-label")}`);
  seen.sort((one, other) => one[0] - other[0]);
  for (let i = 0; i < seen.length; i++)
    for (let j = i + 1; j < seen.length && seen[j][0] < seen[i][1] - 3; j++) {
      const high = Math.min(seen[i][1], seen[j][1]) - seen[j][0], wide = Math.min(seen[i][3], seen[j][3]) - Math.max(seen[i][2], seen[j][2]);
      if (high > 3 && wide > 1 && seen[i][5] !== seen[j][5]) faults.push(`one covers the other: ${seen[i][4]} / ${seen[j][4]}`);
    }
  return {texts: seen.length, faults: [...new Set(faults)], colour: getComputedStyle(page.documentElement).backgroundColor};
}
addEventListener("load", () => document.body.setAttribute("data-seen", JSON.stringify([...document.querySelectorAll("iframe")].map(boxes))));
</script>"""


def browse(pages, directory, *more):
    """What each page is like at each width, and what the console says."""
    frames = "".join(f'<iframe width="{width}" height="900" style="border:0" srcdoc="{escape(page, quote=True)}"></iframe>'
                     for page in pages for width in WIDTHS)
    (directory / "page.html").write_text(f'<!doctype html><meta charset="utf-8">{MEASURE}<body>{frames}</body>', encoding="utf-8")
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
         f"--user-data-dir={directory / 'profile'}", "--enable-logging=stderr", "--window-size=1400,1000", *more,
         "--dump-dom", (directory / "page.html").as_uri()],
        capture_output=True, text=True, timeout=300,
    )
    seen = re.search(r'data-seen="([^"]*)"', done.stdout)
    assert seen, done.stderr
    return json.loads(unescape(seen[1])), [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize(("colour", "more"), [("rgb(253, 253, 251)", ()), ("rgb(20, 22, 26)", ("--force-dark-mode",))])
def test_no_text_is_cut_covered_or_off_the_screen(experiment, two_stacks, recipe, tmp_path, colour, more):
    documents = [report.build(experiment, recipe=recipe, max_increase=200.0), report.build(two_stacks, recipe=recipe)]
    found, messages = browse([report.html.page(document) for document in documents], tmp_path, *more)
    assert messages == []
    assert [(WIDTHS[number % 3], part["faults"]) for number, part in enumerate(found) if part["faults"]] == []
    assert all(part["texts"] > 300 and part["colour"] == colour for part in found)


def test_the_measuring_finds_what_is_wrong(tmp_path):
    wrong = ('<main><p style="width:900px;white-space:nowrap">far too long for a telephone, as anybody can see who looks at it there</p>'
             '<svg width="100" height="20"><text x="90" y="15">cut</text><text x="5" y="15">one</text><text x="8" y="15">two</text></svg></main>')
    [narrow, *_], _ = browse([wrong], tmp_path)
    kinds = " ".join(narrow["faults"])
    assert all(kind in kinds for kind in ("wide", "off the screen", "cut by its figure: cut", "one covers the other: one / two"))
