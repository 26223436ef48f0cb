"""A headless Chromium, driven by its own protocol (Chrome DevTools) over a WebSocket."""

import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import websocket


def binary():
    """Where it is; None without one."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Chromium:
    """A browser with one page.

    Attributes:
        complaints: errors and warnings that the page or the browser wrote to the console.
    """

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [
                binary(),
                "--headless=new",
                "--no-sandbox",  # containers run as root
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--remote-debugging-port=0",
                "--remote-allow-origins=*",
                f"--user-data-dir={self._folder.name}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.complaints = []
        self._count = 0
        port_file = Path(self._folder.name) / "DevToolsActivePort"
        port, path = self.until(lambda: _two_lines(port_file))
        self._socket = websocket.create_connection(f"ws://127.0.0.1:{port}{path}", timeout=30)
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        attached = self._send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "DOM", "Log", "Network"):
            self.call(f"{domain}.enable")

    def until(self, condition, seconds=30):
        """What a condition comes to; it has to, in time."""
        begun = time.monotonic()
        while not (found := condition()):
            assert time.monotonic() - begun < seconds
            time.sleep(0.03)
        return found

    def _send(self, method, session=None, **parameters):
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        self._socket.send(json.dumps(message | ({"sessionId": session} if session else {})))
        while True:
            said = json.loads(self._socket.recv())
            if said.get("id") == self._count:
                assert "error" not in said, said
                return said["result"]
            if said.get("method") == "Log.entryAdded":
                self.complaints.append(said["params"]["entry"])
            if said.get("method") == "Runtime.exceptionThrown":
                self.complaints.append(said["params"]["exceptionDetails"])

    def call(self, method, **parameters):
        """A method of the protocol, for the page."""
        return self._send(method, self._session, **parameters)

    def open(self, address):
        """Go to an address."""
        self.call("Page.navigate", url=address)

    def ask(self, expression):
        """What an expression of JavaScript comes to."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_for(self, expression):
        """Until it is true."""
        return self.until(lambda: self.ask(expression))

    def give_files(self, selector, *paths):
        """Choose files as a person would."""
        document = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def press(self, key, code=None):
        """A key, down and up."""
        numbers = {"Home": 36, "End": 35, "ArrowRight": 39, "ArrowLeft": 37, "Tab": 9, " ": 32}
        common = {"key": key, "code": code or key, "windowsVirtualKeyCode": numbers[key]}
        text = {"text": key} if key == " " else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def close(self):
        """End it."""
        self._socket.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()


def _two_lines(file):
    lines = file.read_text().split() if file.exists() else []
    return lines if len(lines) == 2 else None
