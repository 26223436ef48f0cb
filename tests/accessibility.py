"""Pages as axe (Deque's accessibility checker) sees them in headless Chromium. Skips where there is
no Chromium.
"""

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
AXE = importlib.util.find_spec("axe_playwright_python")  # for its axe.min.js alone
# Width in pixels, and Blink's number of the preferred colours.
VIEWS = {"light and wide": (1280, 1), "dark and narrow": (380, 0)}
RUN = """
axe.run(document).then(found => {
  const seen = {
    violations: found.violations.map(one => ({
      id: one.id, impact: one.impact, nodes: one.nodes.map(node => node.html.slice(0, 200))})),
    passes: found.passes.map(one => one.id),
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    wider: document.documentElement.scrollWidth - innerWidth,
  };
  document.documentElement.innerHTML =
    "<body><pre>" + encodeURIComponent(JSON.stringify(seen)) + "</pre></body>";
});
"""


def seen_by_axe(page, tmp_path, view):
    """What axe finds in a page, and whether the page is dark and wider than the window."""
    if CHROMIUM is None:
        pytest.skip("no Chromium")
    if AXE is None:
        pytest.skip("no axe_playwright_python")
    width, colours = VIEWS[view]
    axe = (Path(AXE.submodule_search_locations[0]) / "axe.min.js").read_text()
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
    checked = tmp_path / "checked.html"
    checked.write_text(f"{text}<script>{axe}</script><script>{RUN}</script>")
    words = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    words += [f"--user-data-dir={tmp_path / 'chromium'}", f"--window-size={width},900"]
    words += [f"--blink-settings=preferredColorScheme={colours}", "--virtual-time-budget=30000"]
    done = subprocess.run([*words, checked.as_uri()], capture_output=True, text=True, timeout=120)
    (answer,) = re.findall(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL)
    return json.loads(unquote(answer))


def check(page, tmp_path, view):
    """Nothing serious; and the page is no wider than its window."""
    seen = seen_by_axe(page, tmp_path, view)
    assert [one for one in seen["violations"] if one["impact"] in ("serious", "critical")] == []
    assert {"color-contrast", "image-alt", "html-has-lang"} & set(seen["passes"])
    assert seen["dark"] == view.startswith("dark")
    assert seen["wider"] <= 0
