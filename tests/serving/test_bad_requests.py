"""Everything that strangers may send: a status and a reason each, and the service goes on."""

import io
import json
import socket
import struct
import threading
import time
import zlib

import numpy as np
import pytest
from PIL import Image
from serving.services import CLASSES, IMAGES, RAW, everything

PIXELS = IMAGES[:1].tobytes()


def png(width=8, height=8):
    """A picture file."""
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(stream, "png")
    return stream.getvalue()


def png_that_says(width, height):
    """A small file whose header promises many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def chunk(kind, content):
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + (chunk(b"IEND", b""))
    )


def tensor(**changes):
    """A body of the Open Inference Protocol, with something changed."""
    one = {"name": "images", "datatype": "UINT8", "shape": [1, 32, 32, 3], "data": [0] * 3072}
    return json.dumps({"inputs": [{**one, **changes}]}).encode()


def with_cost(content):
    """The same with a parameter, which is JSON already."""
    return tensor(parameters={"max_cost": 0}).replace(b'"max_cost": 0', b'"max_cost": ' + content)


def form(content, boundary="b"):
    """A form with one file."""
    head = 'Content-Disposition: form-data; name="f"; filename="x"\r\n\r\n'
    return f"--{boundary}\r\n{head}".encode() + content + f"\r\n--{boundary}--\r\n".encode()


IMAGE = {"Content-Type": "image/png"}
FORM = {"Content-Type": "multipart/form-data; boundary=b"}
JSON = {"Content-Type": "application/json"}
FIELD = 'Content-Disposition: form-data; name="top"\r\n\r\n1\r\n'
MANY_FIELDS = (f"--b\r\n{FIELD}" * 500).encode() + form(png())
DEEP = b'{"inputs":' + b"[" * 100_000

PREDICT = [
    ("nothing", {}, b"", 415, "Content-Type"),
    ("another type", {"Content-Type": "text/html"}, b"<p>", 415, "Content-Type"),
    ("a pickle", {"Content-Type": "application/x-pickle"}, b"\x80\x04.", 415, "Content-Type"),
    ("an address", {"Content-Type": "text/uri-list"}, b"file:///etc/passwd", 415, "Content-Type"),
    ("no image", IMAGE, b"", 400, "empty"),
    ("no picture", IMAGE, b"GIF89a-not", 415, "Expected an image"),
    ("words", IMAGE, b"hello, world", 415, "Expected an image"),
    ("half a picture", IMAGE, png(64, 64)[:90], 422, "can't be read"),
    ("an SVG", {"Content-Type": "image/svg+xml"}, b"<svg/>", 415, "Expected an image"),
    ("PostScript", IMAGE, b"%!PS-Adobe-3.0 EPSF-3.0\n", 415, "Expected an image"),
    ("a huge header", IMAGE, png_that_says(100_000, 100_000), 413, "2,000,000 pixels"),
    ("many pixels", IMAGE, png_that_says(2000, 1001), 413, "2,000,000 pixels"),
    ("no pixels", RAW, b"", 400, "Expected pixels"),
    ("pixels of half an image", RAW, PIXELS[:-1], 400, "3,071 bytes"),
    ("too many images", RAW, PIXELS * 65, 413, "at most 64"),
    ("a large body", RAW, bytes(2_000_001), 413, "2,000,000 bytes"),
    ("no boundary", {"Content-Type": "multipart/form-data"}, form(png()), 400, "form"),
    ("another boundary", FORM, form(png(), "c"), 400, "form"),
    ("a form cut off", FORM, form(png())[:-10], 400, "form"),
    ("a form without files", FORM, f"--b\r\n{FIELD}--b--\r\n".encode(), 400, "at least one file"),
    ("many fields", FORM, MANY_FIELDS, 413, "fewer"),
    (
        "many files",
        FORM,
        form(png()).removesuffix(b"--\r\n") * 0
        + b"".join(form(png(1, 1)).removesuffix(b"--b--\r\n") for _ in range(65))
        + b"--b--\r\n",
        413,
        "at most 64",
    ),
    ("a form of another picture", FORM, form(b"none"), 415, "Expected an image"),
]
QUERIES = [
    ("max_cost=none", "Expected a number"),
    ("max_cost=nan", "Expected a number above 0"),
    ("max_cost=-1", "Expected a number above 0"),
    ("max_cost=0.0001", "No setting is within"),
    ("max_drop=1&max_drop=2", "one for each of 1 images"),
    ("length=17", "Expected a length of 1, 4, 16"),
    ("length=4&max_cost=1", "got both"),
    ("top=0", "at least 1"),
    ("top=%D9%A1", "at least 1"),
    ("max_cots=1", "Did you mean 'max_cost'"),
    ("path=../../etc/passwd", "Expected one of"),
]
INFER = [
    ("no JSON", b"{", 400, "Expected JSON"),
    ("no object", b"[]", 400, "Expected a JSON object"),
    ("deep JSON", DEEP, 400, "too deep"),
    ("NaN", b'{"inputs": NaN}', 400, "no JSON"),
    ("a long number", b'{"inputs": ' + b"9" * 10_000 + b"}", 400, "Expected JSON"),
    ("no inputs", b"{}", 400, "one input"),
    ("inputs of another kind", b'{"inputs": 3}', 400, "to be an array"),
    ("two inputs", b'{"inputs": [{}, {}]}', 400, "got 2"),
    ("another name", tensor(name="x"), 400, "Expected the input images"),
    ("no name", tensor(name=None), 400, "needs a name"),
    ("another type", tensor(datatype="FP32"), 400, "UINT8"),
    ("another shape", tensor(shape=[1, 32, 32]), 400, "[n, 32, 32, 3]"),
    ("a negative shape", tensor(shape=[-1, 32, 32, 3]), 400, "at least one"),
    ("a huge shape", tensor(shape=[2**62, 32, 32, 3]), 413, "at most 64"),
    ("a shape of floats", tensor(shape=[1.0, 32, 32, 3]), 400, "[n, 32, 32, 3]"),
    ("little data", tensor(data=[0] * 3071), 400, "3,072 numbers"),
    ("data of words", tensor(data=["0"] * 3072), 400, "whole numbers"),
    ("data of floats", tensor(data=[0.5] * 3072), 400, "whole numbers"),
    ("large data", tensor(data=[256] * 3072), 400, "from 0 to 255"),
    ("uneven data", tensor(data=[[0], [0, 1]]), 400, "evenly nested"),
    ("no data", tensor(data=None), 400, "to be an array"),
    ("an unknown parameter", tensor(parameters={"x": 1}), 400, "Expected one of"),
    ("a deep parameter", with_cost(b"[" * 984 + b"]" * 984), 400, "short words or numbers"),
    ("many values", with_cost(b"[1" + b",1" * 500_000 + b"]"), 400, "at most 64 values"),
    ("a parameter of a kind", tensor(parameters={"length": 4}), 400, "name of a length"),
]


@pytest.fixture(autouse=True)
def _goes_on(service):
    """After each of them the service answers as before."""
    yield
    assert service.predict(IMAGES[:1], top=1)[0]["class"] in CLASSES


@pytest.mark.parametrize(
    ("headers", "body", "status", "reason"),
    [case[1:] for case in PREDICT],
    ids=[case[0] for case in PREDICT],
)
def test_bodies(service, headers, body, status, reason):
    """POST /predict."""
    answer = service.client.post("/predict", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert reason in answer.json()["error"]


@pytest.mark.parametrize(("query", "reason"), QUERIES)
def test_queries(service, query, reason):
    """What the address asks for."""
    answer = service.client.post(f"/predict?{query}", content=PIXELS, headers=RAW)
    assert answer.status_code == 400, answer.text
    assert reason in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "status", "reason"), [case[1:] for case in INFER], ids=[case[0] for case in INFER]
)
def test_tensors(service, body, status, reason):
    """POST /v2/models/NAME/infer."""
    answer = service.client.post("/v2/models/tiny/infer", content=body, headers=JSON)
    assert answer.status_code == status, answer.text
    assert reason in answer.json()["error"]


def test_words_that_no_encoding_has(service):
    """Half of a surrogate pair comes back as it came, or is told as what it is."""
    body = json.loads(tensor())
    good = json.dumps({**body, "id": "\ud800", "outputs": [{"name": "class"}]})
    post = service.client.post
    answer = post("/v2/models/tiny/infer", content=good, headers=JSON)
    assert (answer.status_code, answer.text.count("ud800")) == (200, 1)
    for wrong in ({"outputs": [{"name": "\ud800"}]}, {"parameters": {"\ud800": 1}}):
        content = json.dumps({**body, **wrong})
        assert post("/v2/models/tiny/infer", content=content, headers=JSON).status_code == 400


def test_an_output_that_there_is_not(service):
    """Is named."""
    body = json.loads(tensor())
    for count, reason in ((1, "logits"), (17, "at most 16")):
        answer = service.client.post(
            "/v2/models/tiny/infer", json={**body, "outputs": [{"name": "logits"}] * count}
        )
        assert answer.status_code == 400
        assert reason in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/predict", 405),
        ("PUT", "/predict", 405),
        ("POST", "/", 405),
        ("OPTIONS", "/predict", 405),
        ("GET", "/nothing", 404),
        ("GET", "/predict/", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404),
        ("GET", "/page/../page.js", 404),
        ("GET", "/..%5c..%5cwindows", 404),
        ("GET", "/style.css%00.html", 404),
        ("GET", "//evil.example/", 404),
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/tiny/versions/1", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("POST", "/v2/models/..%2f..%2fetc/infer", 404),
        ("GET", "http://evil.example/", 421),
    ],
)
def test_addresses(service, method, path, status):
    """Sent as they are written, which libraries would mend."""
    host = "evil.example" if "//evil" in path and path.startswith("http") else "127.0.0.1"
    request = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n"
    answer = service.raw(f"{request}Connection: close\r\n\r\n".encode())
    assert answer.split(b" ", 2)[1] == str(status).encode(), answer
    assert b'"error"' in answer


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:8000"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Host": "[::1].evil.example"}, 421),
        ({"Host": "localhost:evil.example"}, 421),
        ({"Host": "served.example"}, 200),
        ({"Host": "LOCALHOST:1"}, 200),
        ({"Host": "[::1]:80"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
    ],
)
def test_who_asks_by_which_name(service, headers, status):
    """A page of another site, or a name that leads here by a trick, gets nothing."""
    answer = service.client.get("/about", headers=headers)
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


HEAD = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: 127.0.0.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", 400),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX : y\r\n\r\n", 400),
        (HEAD + b"Content-Length: 10\r\nContent-Length: 20\r\n\r\n", 400),
        (HEAD + b"Content-Length: -1\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", 411),
        (HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 400),
        (HEAD + b"Content-Length: 10000000000\r\nExpect: 100-continue\r\n\r\n", 413),
    ],
)
def test_broken_http(service, request_bytes, status):
    """Told by a status, and the connection is closed."""
    answer = service.raw(request_bytes)
    assert answer.split(b" ", 2)[1] == str(status).encode(), answer


def test_a_half_closed_request(service):
    """A sender that ends in the middle of its body is told so."""
    answer = service.raw(HEAD + b"Content-Length: 3072\r\n\r\nabc", half_close=True)
    assert b" 400 " in answer
    assert b"ended before it was whole" in answer
    answer = service.raw(b"POST /predict HT", half_close=True)
    assert b" 400 " in answer


def test_slow_senders(service):
    """A header that isn't done in time, and a body; nobody else waits for them."""

    def slowly(first, rest, pause):
        with socket.create_connection(("127.0.0.1", service.port), 10) as sock:
            sock.sendall(first)
            begun = time.monotonic()
            try:
                for byte in rest:
                    time.sleep(pause)
                    sock.sendall(bytes([byte]))
            except ConnectionError:
                pass
            found.append((everything(sock), time.monotonic() - begun))

    found = []
    cases = [
        (b"GET / HTTP/1.1\r\nX: ", b"a" * 50),
        (HEAD + b"Content-Length: 3072\r\n\r\n", b"a" * 50),
        (b"", b""),
    ]
    threads = [threading.Thread(target=slowly, args=(*case, 0.1)) for case in cases * 3]
    for thread in threads:
        thread.start()
    service.predict(IMAGES[:2])
    for thread in threads:
        thread.join()
    assert len(found) == 9
    for answer, seconds in found:
        # What comes behind the answer of a connection that is closed may be a reset.
        assert answer.startswith(b"HTTP/1.1 408") or not answer
        assert seconds < 20
    assert sum(answer.startswith(b"HTTP/1.1 408") for answer, _ in found) >= 3


def test_many_connections(service):
    """Beyond the bound they are refused; when some are closed, others come in."""
    open_ones = []
    try:
        for _ in range(60):
            open_ones.append(socket.create_connection(("127.0.0.1", service.port), 10))
        time.sleep(0.2)
        refused = 0
        for sock in open_ones[-10:]:
            sock.settimeout(0.5)
            refused += b" 503 " in everything(sock)
        assert refused == 10
    finally:
        for sock in open_ones:
            sock.close()
    time.sleep(0.1)
    counted = service.client.get("/metrics").text
    assert 'vintk_connections_refused_total{status="503"} ' in counted


def test_bodies_of_many_requests(service):
    """All together they may take so much memory; one more is told to come back."""
    size = 1_900_000
    head = HEAD + f"Content-Length: {size}\r\n\r\n".encode()
    first = socket.create_connection(("127.0.0.1", service.port), 10)
    with first:
        first.sendall(head + bytes(size - 1))
        time.sleep(0.3)
        second = service.raw(head + bytes(size))
        assert b" 429 " in second
        assert b"retry-after" in second.lower()


def test_a_picture_that_takes_all_memory(service):
    """A decoder has a bound of its own; another one takes its place if it dies."""
    stream = io.BytesIO()
    Image.new("I;16", (1400, 1400)).save(stream, "png")
    answer = service.client.post("/predict", content=stream.getvalue(), headers=IMAGE)
    assert answer.status_code in (200, 413)
    killed = service.children("decoder")[0]
    killed.kill()
    time.sleep(0.1)
    answer = service.client.post("/predict?top=1", content=png(), headers=IMAGE)
    assert answer.status_code == 200, answer.text
    assert service.children("decoder")[0].pid != killed.pid


def test_pipelined_requests(service):
    """Are answered in order."""
    one = b"GET /v2/health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    last = b"GET /about HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    answer = service.raw(one * 3 + last)
    assert answer.count(b"HTTP/1.1 200") == 4
    assert answer.index(b'"live"') < answer.index(b'"digest"')


def test_a_sender_that_goes_away(service):
    """Frees its places."""
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", service.port), 10) as sock:
            sock.sendall(HEAD + b"Content-Length: 30720\r\n\r\n" + IMAGES[:10].tobytes())
    begun = time.monotonic()
    while "vintk_queue_images 0.0" not in service.client.get("/metrics").text:
        assert time.monotonic() - begun < 5
        time.sleep(0.02)


def test_noise(service):
    """Bytes of any kind get an answer or a closed connection."""
    rng = np.random.default_rng(0)
    for size in (1, 10, 1000, 30_000):
        service.raw(rng.integers(0, 256, size, np.uint8).tobytes() + b"\r\n\r\n", half_close=True)
        body = rng.integers(0, 256, size, np.uint8).tobytes()
        for kind in (IMAGE, FORM):
            answer = service.client.post("/predict", content=body, headers=kind)
            assert 400 <= answer.status_code < 500
