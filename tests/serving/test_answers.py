"""A real service and a real client: answers are those of `Predictor`, whichever way they are asked
for.
"""

import io
import json
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image
from serving.services import CLASSES, IMAGES, RAW, ROOT

from vintk_jax.adaptive import assigner_files
from vintk_jax.adaptive.budget_choice import Point
from vintk_jax.inference.engine import Engine
from vintk_jax.inference.plans import Plans
from vintk_jax.inference.predictor import Predictor


@pytest.fixture(scope="module")
def predictor(workdir):
    """The model itself."""
    return Predictor.load(workdir)


@pytest.fixture(scope="module")
def wanted(workdir, predictor):
    """Probabilities and lengths that the engine gives at the service's own budget."""
    assigner, calibration = assigner_files.read(workdir / "assign", predictor.identity)
    own: Point = calibration.assigned[1]
    plan = assigner.at(own).plan(Plans(predictor))
    block = Engine(plan, predictor.shape, (1, 8)).all(IMAGES)
    return block.probabilities, [plan.steps[step].name for step in block.steps]


def encoded(image, kind="png", **options):
    """A picture file."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **options)
    return stream.getvalue()


def test_bare_pixels(service, wanted):
    """At the service's own budget: the same lengths, the same probabilities."""
    probabilities, lengths = wanted
    assert len(set(lengths)) > 1
    answers = service.predict(IMAGES)
    assert [answer["length"] for answer in answers] == lengths
    np.testing.assert_allclose([one["probabilities"] for one in answers], probabilities, atol=1e-5)
    for answer, row in zip(answers, probabilities):
        assert answer["class"] == CLASSES[row.argmax()]
        assert answer["grid"] == [round(int(answer["length"]) ** 0.5)] * 2
        assert answer["waited_ms"] >= 0
        assert answer["run_ms"] > 0


@pytest.mark.parametrize("length", ["1", "4", "16", "longest"])
def test_one_length(service, predictor, length):
    """No assigner is asked: `Predictor`'s answers at that length."""
    answers = service.predict(IMAGES, length=length)
    name = "16" if length == "longest" else length
    assert {answer["length"] for answer in answers} == {name}
    found = np.array([answer["probabilities"] for answer in answers])
    np.testing.assert_allclose(found, np.asarray(predictor(IMAGES, name)), atol=1e-5)


def test_picture_files(service, predictor):
    """As `infer` reads them: any size and mode, turned as they say; a broken one among them is an
    error in its place.
    """
    rng = np.random.default_rng(1)
    large = rng.integers(0, 256, (90, 70, 3), np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    files = {
        "png": (encoded(large), large),
        "grey": (encoded(large[..., 0]), np.repeat(large[..., :1], 3, axis=2)),
        "broken": (encoded(large)[:500], None),
        "bmp": (encoded(large, "bmp"), large),
        "turned": (encoded(large, exif=turned.tobytes()), np.rot90(large, -1)),
    }
    parts = [("file", (name, content)) for name, (content, _) in files.items()]
    answer = service.client.post("/predict", files=parts, data={"length": "longest"})
    assert answer.status_code == 200, answer.text
    answers = answer.json()["answers"]
    assert "can't be read" in answers[2]["error"]
    for found, (_, pixels) in zip(answers, files.values()):
        if pixels is None:
            continue
        image = predictor.eval_transform(
            {"image": np.ascontiguousarray(pixels), "label": -1}, np.random.default_rng(0)
        )["image"]
        probabilities = np.asarray(predictor(image[None], "16"))[0]
        np.testing.assert_allclose(found["probabilities"], probabilities, atol=1e-5)
    one = service.client.post(
        "/predict?length=longest&top=3",
        content=files["png"][0],
        headers={"Content-Type": "image/png"},
    ).json()
    assert one["answers"][0]["class"] == answers[0]["class"]
    assert next(top["class"] for top in one["answers"][0]["top"]) == answers[0]["class"]
    assert len(one["answers"][0]["top"]) == 3
    assert one["digest"] == answer.json()["digest"]


def test_budgets_by_image(service, predictor):
    """One request, each image with its own: the shortest length, the service's, the longest."""
    costs = [0.2] * 8 + [1.0] * 8 + [0.6] * 8
    answers = service.predict(IMAGES, max_cost=costs)
    lengths = [answer["length"] for answer in answers]
    assert set(lengths[:8]) == {"1"}
    assert set(lengths[8:16]) == {"16"}
    assert lengths[16:] == [one["length"] for one in service.predict(IMAGES[16:])]
    found = np.array([answer["probabilities"] for answer in answers[:8]])
    np.testing.assert_allclose(found, np.asarray(predictor(IMAGES[:8], "1")), atol=1e-5)


def test_the_open_inference_protocol(service, wanted):
    """Metadata, readiness, and tensors both ways, nested and in one list."""
    get = service.client.get
    name = get("/about").json()["name"]
    digest = get("/about").json()["model"]["digest"]
    assert set(get("/v2").json()) == {"name", "version", "extensions"}
    assert get("/v2/health/live").json()["live"] is True
    assert get("/v2/health/ready").json()["ready"] is True
    assert get(f"/v2/models/{name}/ready").json() == {"name": name, "ready": True}
    about = get(f"/v2/models/{name}").json()
    assert about == get(f"/v2/models/{name}/versions/{digest}").json()
    assert about["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, 32, 32, 3]}]
    assert {one["name"] for one in about["outputs"]} >= {"probabilities", "class", "length"}
    assert about["versions"] == [digest]
    tensor = {"name": "images", "datatype": "UINT8", "shape": list(IMAGES.shape)}
    flat = {"id": "42", "inputs": [{**tensor, "data": IMAGES.ravel().tolist()}]}
    nested = {
        "inputs": [{**tensor, "data": IMAGES.tolist()}],
        "outputs": [{"name": "length"}, {"name": "class"}],
    }
    found = service.client.post(f"/v2/models/{name}/infer", json=flat).json()
    assert (found["id"], found["model_name"], found["model_version"]) == ("42", name, digest)
    outputs = {one["name"]: one for one in found["outputs"]}
    probabilities = np.reshape(outputs["probabilities"]["data"], outputs["probabilities"]["shape"])
    np.testing.assert_allclose(probabilities, wanted[0], atol=1e-5)
    assert outputs["length"]["data"] == wanted[1]
    again = service.client.post(f"/v2/models/{name}/versions/{digest}/infer", json=nested).json()
    assert [one["name"] for one in again["outputs"]] == ["length", "class"]
    assert again["outputs"][0] == outputs["length"]
    assert "id" not in again
    longest = {**flat, "parameters": {"length": "longest"}}
    found = service.client.post(f"/v2/models/{name}/infer", json=longest).json()
    lengths = next(one["data"] for one in found["outputs"] if one["name"] == "length")
    assert set(lengths) == {"16"}


def test_many_connections_share_the_engine(service, predictor):
    """Each has the answer to its own image, whoever else asks."""
    wanted = np.asarray(predictor(IMAGES, "16"))
    wrong = []

    def ask(start):
        for i in range(start, start + 30):
            image = IMAGES[i % len(IMAGES)]
            found = service.predict(image[None], length="longest")[0]["probabilities"]
            if not np.allclose(found, wanted[i % len(IMAGES)], atol=1e-5):
                wrong.append(i)

    threads = [threading.Thread(target=ask, args=(7 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_metrics_and_drift(service):
    """Images that are nothing like calibration's are told, in numbers and in words for the page;
    images at a fixed length aren't compared.
    """

    def metrics():
        lines = service.client.get("/metrics").text.splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    before = metrics()
    service.predict(np.repeat(IMAGES, 2, axis=0), length="4")
    after = metrics()
    assert after['vintk_images_total{length="4"}'] - before.get(
        'vintk_images_total{length="4"}', 0
    ) == 2 * len(IMAGES)
    assert after["vintk_drift_images"] == before["vintk_drift_images"]
    assert after["vintk_queue_images"] == 0
    assert after["vintk_ready"] == 1
    assert after['vintk_requests_total{route="predict",status="200"}'] > 0
    assert after["vintk_waited_seconds_count"] >= 2 * len(IMAGES)
    black = np.zeros((60, 32, 32, 3), np.uint8)
    for _ in range(10):
        service.predict(black)
    drift = service.client.get("/about").json()["drift"]
    assert drift["images"] == 400
    assert drift["known"]
    assert drift["beyond"]
    assert drift["lengths"] == pytest.approx(
        1 - {"1": 0.5, "4": 0.3, "16": 0.2}[service.predict(black[:1])[0]["length"]], abs=1e-3
    )
    assert metrics()["vintk_drift_beyond"] == 1


def test_nothing_of_a_request_is_kept(service, workdir):
    """No file is written below the workdir, and no picture's bytes are in what it prints."""
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}
    service.client.post(
        "/predict",
        files={"secret-name": ("secret-file.png", encoded(IMAGES[3]))},
        params={"top": 1},
    )
    service.client.post("/predict", content=b"secret-content", headers={"Content-Type": "image/x"})
    assert {path: path.stat().st_mtime_ns for path in workdir.rglob("*")} == before
    assert "secret" not in service.said()


def test_the_client_of_the_docs(service, tmp_path):
    """docs/service.md's first program, word for word but for the port."""
    page = (ROOT / "docs" / "service.md").read_text()
    program = page.split("```python\n")[1].split("```")[0]
    (tmp_path / "digit.png").write_bytes(encoded(IMAGES[2]))
    done = subprocess.run(
        [sys.executable, "-c", program.replace(":8000", f":{service.port}")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    wanted = service.predict(IMAGES[2:3], max_cost=0.5)[0]
    name, probability, length, _ = done.stdout.split()
    assert (name, length) == (wanted["class"], wanted["length"])
    assert float(probability) == pytest.approx(wanted["probability"], abs=1e-5)


def test_json_is_plain(service):
    """An answer is JSON that any reader takes: no NaN, no infinity."""
    content = IMAGES[:1].tobytes()
    text = service.client.post("/predict?max_drop=inf", content=content, headers=RAW).text

    def refuse(constant):
        raise AssertionError(constant)

    json.loads(text, parse_constant=refuse)
