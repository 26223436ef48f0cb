"""The service's life: it starts, is overloaded, loses its processes, and ends; nothing accepted is
lost without a word.
"""

import base64
import contextlib
import signal
import socket
import stat
import threading
import time

import httpx
import numpy as np
import psutil
import pytest
from serving.services import IMAGES, RAW, ROOT, TOKEN, Running

from vintk_jax import export, serve
from vintk_jax.errors import UserError
from vintk_jax.serving import opening


@pytest.fixture(scope="module")
def exported(workdir, tmp_path_factory):
    """The same model as a folder of the Hugging Face layout."""
    folder = tmp_path_factory.mktemp("exported") / "tiny-hub"
    words = ["--config=configs/export.py", f"--workdir={workdir}", f"--config.folder={folder}"]
    words.append("--config.formats=('huggingface',)")
    with contextlib.chdir(ROOT):
        export.main(["export", *words])
    return folder


@pytest.fixture(scope="module")
def guarded(exported):
    """A service of the exported folder that asks for a token, with a short queue."""
    running = Running(
        exported,
        "--config.limits.queue=8",
        "--config.limits.seconds=3",
        "--config.http.name=hub",
        token=TOKEN,
    )
    yield running
    running.end()


def post(running, count=1, **options):
    """The answer to so many images."""
    content = IMAGES[:count].tobytes()
    return running.client.post("/predict?top=1", content=content, headers=RAW, **options)


def test_the_token(guarded):
    """Everything but health asks for it; browsers may give it as a password."""
    address = guarded.address
    basic = base64.b64encode(f"any:{TOKEN}".encode()).decode()
    right = [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Basic {basic}"]
    wrong = ["", TOKEN, f"Bearer {TOKEN}x", "Basic !!!", f"Basic {TOKEN}", "Digest a"]
    for path in ("/", "/page.js", "/about", "/metrics", "/v2", "/v2/models/hub", "/nothing"):
        assert httpx.get(address + path).status_code == 401
    answer = httpx.post(f"{address}/predict", content=IMAGES[:1].tobytes(), headers=RAW)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic")
    for word in right:
        assert httpx.get(f"{address}/about", headers={"Authorization": word}).status_code == 200
    for word in wrong:
        assert httpx.get(f"{address}/about", headers={"Authorization": word}).status_code == 401
    for path in ("/v2/health/live", "/v2/health/ready"):
        assert httpx.get(address + path).status_code == 200
        assert httpx.get(address + path, headers={"Host": "10.0.0.7"}).status_code == 200
    assert TOKEN not in guarded.said()


def test_an_exported_folder(guarded, service):
    """Answers as the workdir's service does, budgets included."""
    for words in ({}, {"max_cost": 0.2}, {"length": "4"}):
        there, here = (running.predict(IMAGES[:8], **words) for running in (guarded, service))
        assert [one["length"] for one in there] == [one["length"] for one in here]
        found, wanted = ([one["probabilities"] for one in both] for both in (there, here))
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_an_overload(guarded):
    """While the worker is stuck: what was accepted gets 504 in time, what is too much 429 at once;
    when it goes on, all is as before.
    """
    (worker,) = guarded.children("worker")
    worker.suspend()
    answers = []
    try:
        threads = [
            threading.Thread(target=lambda: answers.append(post(guarded, 4))) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.4)
        begun = time.monotonic()
        refused = post(guarded)
        assert refused.status_code == 429, refused.text
        assert int(refused.headers["retry-after"]) >= 1
        assert time.monotonic() - begun < 1.5
        assert post(guarded, 9).status_code == 413
        for thread in threads:
            thread.join()
        assert [answer.status_code for answer in answers] == [504, 504]
    finally:
        worker.resume()
    begun = time.monotonic()
    assert post(guarded, 8).status_code == 200
    assert time.monotonic() - begun < 5


def test_a_worker_that_dies(guarded):
    """Those who wait are told, health says so, another takes its place."""
    (worker,) = guarded.children("worker")
    worker.suspend()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(post(guarded)))
    thread.start()
    time.sleep(0.3)
    worker.kill()
    thread.join()
    assert answers[0].status_code == 503
    assert "retry-after" in answers[0].headers
    ready = guarded.client.get("/v2/health/ready")
    assert (ready.status_code, ready.json()["ready"]) == (503, False)
    assert guarded.client.get("/v2/health/live").status_code == 200
    assert post(guarded).status_code == 503
    guarded.wait_until_ready()
    assert post(guarded).status_code == 200
    assert "vintk_worker_starts_total 2.0" in guarded.client.get("/metrics").text


def test_a_killed_service_and_its_end(exported):
    """SIGKILL leaves no process behind, and the next one is ready in seconds; SIGTERM lets what was
    accepted finish, and no file of the folder has changed.
    """
    before = {path: path.stat().st_mtime_ns for path in exported.rglob("*")}
    first = Running(exported)
    children = psutil.Process(first.process.pid).children()
    assert len(children) == 2
    first.end(signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive
    second = Running(exported, wait=False)
    assert second.client.get("/v2/health/live").status_code == 200
    assert second.client.get("/v2/health/ready").status_code == 503
    assert post(second).status_code == 503
    second.wait_until_ready()
    (worker,) = second.children("worker")
    worker.suspend()
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(post(second))) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    second.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{second.address}/v2/health/live")
    worker.resume()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200] * 4
    assert second.end() == 0
    assert {path: path.stat().st_mtime_ns for path in exported.rglob("*")} == before


def command(*words):
    """The command in this process."""
    with contextlib.chdir(ROOT):
        serve.main(["serve", *words])


def test_what_cannot_be_served_is_told(workdir, tmp_path, monkeypatch, capsys):
    """One message, ahead of anything else."""
    monkeypatch.delenv("VINTK_SERVE_TOKEN", raising=False)
    with pytest.raises(UserError, match="Expected a token for"):
        command("--config.http.host=0.0.0.0", f"--workdir={workdir}")
    monkeypatch.setenv("VINTK_SERVE_TOKEN", "short")
    with pytest.raises(UserError, match="at least 16"):
        command(f"--workdir={workdir}")
    monkeypatch.delenv("VINTK_SERVE_TOKEN")
    with pytest.raises(UserError, match=r"Expected a token in http\.token_file"):
        command(f"--config.http.token_file={tmp_path / 'none'}")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="Choose another port"):
            command(f"--config.http.port={taken.getsockname()[1]}")
    with pytest.raises(UserError, match="Expected a whole number from 0 to 65,535"):
        command("--config.http.port=70000")
    with pytest.raises(UserError, match=r"Expected limits\.bodies_mb of at least"):
        command("--config.limits.bodies_mb=1")
    with pytest.raises(UserError, match=r"Expected http\.name"):
        command("--config.http.name=a/b")
    command("--dry-run", "--config.http.port=0", f"--workdir={workdir}")
    assert "nothing was loaded" in capsys.readouterr().err


def test_a_folder_without_a_model(tmp_path):
    """The command ends with the worker's reason."""
    running = Running(tmp_path, wait=False)
    assert running.process.wait(60) == 2
    assert "vintk_jax.train" in running.said()
    assert "Traceback" not in running.said()
    running.end()


def test_tokens_and_names(tmp_path):
    """A token is taken without its end of line, and a file's comes before the environment's."""
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(stat.S_IRUSR)
    assert opening.read_token(str(file), "another-token-of-many") == TOKEN
    assert opening.read_token("", f"{TOKEN}\n") == TOKEN
    assert opening.read_token("", "") == ""
    assert opening.name_of(tmp_path / "a b.c", "") == "a-b.c"
    assert opening.name_of(tmp_path, "x-1") == "x-1"
