"""The page in a headless Chromium: an image dropped in, the answer read, the slider moved, a bad
file refused.
"""

import numpy as np
import pytest
from PIL import Image
from serving import chromium
from serving.services import IMAGES


@pytest.fixture(scope="module")
def browser(service):
    """A browser at the service's page."""
    if chromium.binary() is None:
        pytest.skip("no Chromium: .ci/run installs Debian's")
    browser = chromium.Chromium()
    browser.open(f"{service.address}/")
    browser.wait_for("document.querySelector('#budget')?.hidden === false")
    yield browser
    browser.close()


@pytest.fixture
def files(tmp_path):
    """Two pictures that run at different lengths, and a file that is none."""
    Image.fromarray(IMAGES[0]).save(tmp_path / "first.png")
    Image.fromarray(np.repeat(IMAGES[20], 3, axis=1)).save(tmp_path / "wide.png")
    (tmp_path / "bad.png").write_bytes(b"no picture <img src=x onerror=alert(1)>")
    return tmp_path


def item(number):
    """JavaScript for the n-th answer."""
    return f"document.querySelectorAll('#answers > li')[{number}]"


def drawn(browser, number):
    """The colours of a card's picture, in one text."""
    return browser.ask(f"{item(number)}.querySelector('canvas').toDataURL()")


def test_images_are_answered(browser, service, files):
    """What the page shows is what /predict says; the grid is drawn over the picture; a file that is
    no image says why.
    """
    browser.ask("document.querySelector('#clear').click()")
    browser.give_files("#files", files / "first.png", files / "bad.png")
    browser.wait_for("document.querySelectorAll('[data-state=answered]').length === 1")
    browser.wait_for("document.querySelectorAll('[data-state=error]').length === 1")
    answered = "document.querySelector('[data-state=answered]')"
    content = (files / "first.png").read_bytes()
    wanted = service.client.post(
        "/predict?top=5", content=content, headers={"Content-Type": "image/png"}
    ).json()["answers"][0]
    text = browser.ask(f"{answered}.innerText")
    assert text.startswith(wanted["class"])
    assert f"{wanted['length']} tokens" in text
    assert " ms" in text
    assert browser.ask(f"{answered}.querySelectorAll('meter').length") == 5
    shown = browser.ask(f"{answered}.querySelector('meter').value")
    assert shown == pytest.approx(wanted["probability"], abs=1e-6)
    told = browser.ask("document.querySelector('[data-state=error] [role=alert]').innerText")
    assert "Expected an image" in told
    assert browser.ask("document.querySelectorAll('#answers img').length") == 0


def test_the_token_grid(browser, files):
    """Is drawn over the picture, and taken away by its box."""
    browser.ask("document.querySelector('#clear').click()")
    browser.ask("document.querySelector('#longest').checked = false")
    browser.give_files("#files", files / "wide.png")
    browser.wait_for("document.querySelectorAll('[data-state=answered]').length === 1")
    browser.ask(
        "document.querySelector('#cost').value = 2;"
        "for (const kind of ['input', 'change'])"
        " document.querySelector('#cost').dispatchEvent(new Event(kind))"
    )
    browser.wait_for(f"{item(0)}.dataset.length === '16'")
    with_grid = drawn(browser, 0)
    browser.ask("document.querySelector('#grid').click()")
    without = drawn(browser, 0)
    assert with_grid != without
    # The middle of the wide picture, as the model sees it, and white lines of a grid of 4 x 4.
    browser.ask("document.querySelector('#grid').click()")
    line = "getContext('2d').getImageData(112, 50, 1, 1).data"
    assert browser.ask(f"[...{item(0)}.querySelector('canvas').{line}].join()").startswith("255")


def test_the_slider_by_keyboard(browser, files):
    """At its ends all images run at the shortest and at the longest length; the words beside it say
    what to expect.
    """
    browser.ask("document.querySelector('#clear').click()")
    browser.give_files("#files", files / "first.png", files / "wide.png")
    browser.ask("document.querySelector('#cost').focus()")
    for key, length, share in (("Home", "1", "100% at 1 tokens"), ("End", "16", "100% at 16 to")):
        browser.press(key)
        browser.wait_for(
            "[...document.querySelectorAll('#answers > li')].map((one) => one.dataset.length)"
            f".join() === '{length},{length}'"
        )
        assert share in browser.ask("document.querySelector('#expected').value")
    assert "points lost" in browser.ask("document.querySelector('#cost').ariaValueText")


def test_the_longest_length_beside_it(browser, files):
    """On demand; by the keyboard."""
    browser.ask("document.querySelector('#clear').click()")
    browser.ask(
        "document.querySelector('#cost').value = 0;"
        "document.querySelector('#cost').dispatchEvent(new Event('input'))"
    )
    browser.give_files("#files", files / "first.png")
    browser.wait_for("document.querySelectorAll('[data-length=\"1\"]').length === 1")
    assert browser.ask("document.querySelector('.longest')") is None
    browser.ask("document.querySelector('#longest').focus()")
    browser.press(" ", "Space")
    browser.wait_for("document.querySelector('.longest')?.innerText.includes('16 tokens')")
    browser.press(" ", "Space")
    browser.wait_for("document.querySelector('.longest') === null")


def test_it_fits_a_narrow_screen_in_the_dark(browser):
    """Nothing is wider than 320 pixels; dark colours where they are asked for."""
    light = browser.ask("getComputedStyle(document.body).backgroundColor")
    browser.call(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}]
    )
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=320,
        height=600,
        deviceScaleFactor=1,
        mobile=False,
    )
    assert browser.ask("getComputedStyle(document.body).backgroundColor") != light
    assert browser.ask("document.documentElement.scrollWidth") <= 320


def test_nothing_is_asked_of_anybody_else(browser, service):
    """All that was loaded came from the service, and its policy hindered nothing."""
    loaded = browser.ask("performance.getEntriesByType('resource').map((one) => one.name).join()")
    assert loaded
    assert all(name.startswith((f"{service.address}/", "blob:")) for name in loaded.split(",")), (
        loaded
    )
    # The refused file is the one thing that the console tells of.
    told = [one for one in browser.complaints if "status of 4" not in one.get("text", "")]
    assert not told


def test_images_ahead_of_the_model(browser, service, files):
    """Dropped in before the page knows what is served, they are answered once it does."""
    late = (
        "const now = window.fetch; const held = new Promise((go) => { window.learn = go; });"
        "window.fetch = async (...words) => {"
        " if (words[0] === '/about') await held;"
        " return now(...words); };"
    )
    script = browser.call("Page.addScriptToEvaluateOnNewDocument", source=late)["identifier"]
    browser.open(f"{service.address}/?ahead")
    browser.wait_for("Boolean(window.learn && document.querySelector('#files'))")
    browser.wait_for("document.readyState === 'complete'")
    browser.give_files("#files", files / "first.png")
    browser.wait_for("document.querySelectorAll('[data-state=asking]').length === 1")
    browser.ask("window.learn()")
    browser.wait_for("document.querySelectorAll('[data-state=answered]').length === 1")
    browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)
    assert not [one for one in browser.complaints if "exception" in one]


def test_a_warning_when_the_world_changes(browser, service):
    """The page says what the metrics say."""
    black = np.zeros((60, 32, 32, 3), np.uint8)
    for _ in range(7):
        service.predict(black)
    browser.open(f"{service.address}/?again")
    browser.wait_for("document.querySelector('#drift')?.hidden === false")
    assert "differ from those" in browser.ask("document.querySelector('#drift').innerText")
