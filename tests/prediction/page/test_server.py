"""The page's server, asked over HTTP."""

from __future__ import annotations

import base64
import http.client
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samsod.data.decoding.images import Bytes, cv2
from samsod.prediction.page import demo as demo_module
from samsod.prediction.page.server import PageServer
from samsod.utils.errors import UserError
from tests.places import HANG
from tests.prediction.films import moving
from tests.prediction.page.conftest import Serve


def ask(
    server: PageServer, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes, Any]:
    """Status, body and headers of an answer; a body that is not bytes is sent as JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=HANG)
    kind = {} if body is None or isinstance(body, bytes) else {"Content-Type": "application/json"}
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    try:
        connection.request(method, path, data, {**kind, **(headers or {})})
        response = connection.getresponse()
        return response.status, response.read(), response.headers
    finally:
        connection.close()


def predict(server: PageServer, wanted: Any, **headers: str) -> tuple[int, Any]:
    status, body, _ = ask(server, "POST", "/predict", wanted, headers)
    return status, json.loads(body)


def photo(seed: int = 0, height: int = 40, width: int = 56) -> Bytes:
    return moving(1, seed, height, width)[0]


def sent(image: Bytes, ending: str = ".png") -> str:
    """An image with red first, as the page sends it."""
    return base64.b64encode(cv2.imencode(ending, np.ascontiguousarray(image[..., ::-1]))[1].tobytes()).decode()


def received(uri: str) -> Bytes:
    kind, data = uri.split(",")
    assert kind in ("data:image/png;base64", "data:image/jpeg;base64")
    image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return image.astype(np.uint8, copy=False)


def test_a_prediction_is_the_predictors(serve: Serve) -> None:
    server = serve()
    images = {"rgb": photo(0), "thermal": photo(1)}
    status, answer = predict(server, {"images": {name: sent(image) for name, image in images.items()}})
    assert status == 200 and (answer["width"], answer["height"]) == (56, 40) and answer["seconds"] > 0
    result = server.demo.predictor.predict(**images)
    assert list(answer["maps"]) == ["final", "fusion", "rgb", "thermal"]
    assert np.array_equal(received(answer["maps"]["final"]), result.grey())
    for name, values in result.streams.items():
        assert np.array_equal(received(answer["maps"][name]), np.rint(values * 255))
    for name, image in images.items():
        assert np.abs(received(answer["images"][name])[..., ::-1].astype(int) - image).mean() < 12  # as a JPEG


def test_the_page_asks_nobody_else(serve: Serve) -> None:
    server = serve(missing=True)
    status, body, headers = ask(server, "GET", "/")
    text = body.decode()
    assert status == 200 and "http" not in text.split("</title>")[1] and "src=" not in text and "{settings}" not in text
    assert "default-src 'none'" in headers["Content-Security-Policy"] and headers["X-Content-Type-Options"] == "nosniff"
    settings = json.loads(text.split('<script type="application/json" id="settings">')[1].split("</script>")[0])
    assert settings["modalities"] == ["rgb", "thermal"] and settings["allow_missing"] and settings["examples"] == []


@pytest.mark.parametrize("given", [("rgb",), ("depth", "thermal"), ("rgb", "depth", "thermal")])
def test_three_modalities_and_missing_ones(serve: Serve, given: tuple[str, ...]) -> None:
    server = serve("rgb", "depth", "thermal", missing=True)
    status, answer = predict(server, {"images": {name: sent(photo(len(name))) for name in given}})
    assert status == 200 and list(answer["images"]) == list(given)
    assert [name for name in answer["maps"] if name not in ("final", "fusion")] == list(given)


def test_examples(serve: Serve, pairs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_module, "MOST_EXAMPLES", 5)
    server = serve(examples=pairs_folder)
    assert [item.stem for item in server.demo.examples] == ["000", "003", "006", "009"]
    status, answer = predict(server, {"example": 2})
    paths = {name: pairs_folder / folder / "006.png" for name, folder in (("rgb", "RGB"), ("thermal", "T"))}
    assert status == 200
    assert np.array_equal(received(answer["maps"]["final"]), server.demo.predictor.predict(**paths).grey())
    status, body, headers = ask(server, "GET", "/examples/2/thermal")
    assert (status, headers["Content-Type"]) == (200, "image/jpeg") and body.startswith(b"\xff\xd8")
    for path in ("/examples/4/rgb", "/examples/0/depth", "/examples/0/..%2f..%2fetc", "/etc/passwd", "/%2e%2e/x"):
        status, body, _ = ask(server, "GET", path)
        assert status == 404 and set(json.loads(body)) == {"error"}
    assert predict(server, {"example": -1})[0] == 404
    (pairs_folder / "RGB" / "009.png").write_bytes(b"no image")
    assert predict(server, {"example": 3})[0] == 400 and ask(server, "GET", "/examples/3/rgb")[0] == 400
    with pytest.raises(UserError, match=r"no folder of rgb images in it \(RGB or Img or Imgs\)$"):
        serve(examples=pairs_folder / "RGB")


def test_what_is_no_image_is_refused_in_a_sentence(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    good = sent(photo())
    cut = base64.b64encode(base64.b64decode(good)[:-200]).decode()
    huge = base64.b64encode(base64.b64decode(good)[:16] + (40_000).to_bytes(4, "big") * 2 + bytes(99)).decode()
    text = base64.b64encode(b"#!/bin/sh\n").decode()
    noise = sent(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8))
    for status, images, message in (
        (400, {"rgb": good, "thermal": text}, "the thermal image: not an image OpenCV can read, or a damaged one"),
        (400, {"rgb": cut, "thermal": good}, "the rgb image: the image is truncated: the file ends before the image"),
        (400, {"rgb": good, "thermal": ""}, "the thermal image: the file is empty"),
        (400, {"rgb": good}, "no thermal image: the model takes rgb, thermal"),
        (400, {}, "no image: expected one of each of rgb, thermal"),
        (400, {"rgb": good, "depth": good}, "depth: the model takes rgb, thermal"),
        (400, {"rgb": good, "../../x": good}, "../../x: the model takes rgb, thermal"),
        (400, {"rgb": "é" * 8, "thermal": good}, "the rgb image: expected base64"),
        (400, {"rgb": 1, "thermal": good}, "images: expected a file in base64 for each modality"),
        (413, {"rgb": huge, "thermal": good}, "the rgb image has 40000x40000 pixels; at most 50 million"),
        (413, {"rgb": noise, "thermal": good}, "the rgb image has 0.1 MiB; at most 0"),
    ):
        found = predict(server, {"images": images})
        assert found[0] == status and found[1]["error"].startswith(message), found
        assert "/tmp" not in found[1]["error"] and "Traceback" not in found[1]["error"]

    def fail(**images: Any) -> None:
        raise ZeroDivisionError("of the program's own")

    monkeypatch.setattr(server.demo.predictor, "predict", fail)
    found = predict(server, {"images": {"rgb": good, "thermal": good}})
    assert found == (500, {"error": "the prediction failed; the server's terminal says more"})


def test_requests_that_are_none(serve: Serve) -> None:
    server = serve(limit=20_000)
    as_json = {"Content-Type": "application/json"}
    for status, body, headers in (
        (400, b"{", as_json),
        (400, b"[" * 20_000, as_json),
        (400, b"[]", as_json),
        (400, b'{"images": {}, "example": 1}', as_json),
        (404, b'{"example": true}', as_json),
        (415, b"rgb=1", {"Content-Type": "application/x-www-form-urlencoded"}),
        (413, bytes(200_000), as_json),
        (411, b"", as_json),
    ):
        found, answer, sent_back = ask(server, "POST", "/predict", body, headers)
        assert found == status and list(json.loads(answer)) == ["error"], (status, answer)
        assert sent_back["Content-Type"] == "application/json"
    assert [ask(server, method, path)[0] for method, path in (("PUT", "/"), ("HEAD", "/"), ("POST", "/"))] == [
        501,
        501,
        404,
    ]
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=HANG) as raw:
        raw.sendall(b'nonsense "\r\n\r\n')
        assert b'{"error": ' in raw.recv(10_000)
    with socket.create_connection(("127.0.0.1", server.server_port)) as raw:  # goes away in the middle
        head = ["POST /predict HTTP/1.1", "Host: localhost", "Content-Type: application/json", "Content-Length: 99"]
        raw.sendall("\r\n".join([*head, "", "{"]).encode())
    assert ask(server, "GET", "/")[0] == 200


def test_other_sites_are_refused(serve: Serve) -> None:
    server = serve()
    for headers, status in (
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:8000"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "[::1"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "localhost:9000"}, 200),
        ({"Host": "LOCALHOST"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
        ({"Host": "localhost:1", "Origin": "http://evil.example"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:2"}, 403),
        ({"Host": "localhost:1", "Origin": "null"}, 403),
    ):
        found, body, _ = ask(server, "GET", "/", headers=headers)
        assert found == status, headers
        assert status == 200 or list(json.loads(body)) == ["error"]


def test_several_requests_at_once(serve: Serve) -> None:
    server = serve()
    seeds = range(6)
    wanted = [{"images": {"rgb": sent(photo(seed)), "thermal": sent(photo(seed + 9))}} for seed in seeds]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda one: predict(server, one), wanted))
    for seed, (status, answer) in zip(seeds, answers, strict=True):
        alone = server.demo.predictor.predict(rgb=photo(seed), thermal=photo(seed + 9))
        assert status == 200 and np.array_equal(received(answer["maps"]["final"]), alone.grey())
    for _ in range(8):
        assert server.slots.acquire(blocking=False)
    status, answer = predict(server, wanted[0])
    assert status == 503 and "try again" in answer["error"]
    for _ in range(8):
        server.slots.release()


def test_large_images_are_shown_smaller(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_module, "LARGEST", 28)
    status, answer = predict(serve(), {"images": {"rgb": sent(photo()), "thermal": sent(photo(1))}})
    assert status == 200 and answer["width"] == 56
    assert received(answer["maps"]["final"]).shape == (20, 28) == received(answer["images"]["rgb"]).shape[:2]


def test_a_port_that_cannot_be_had(serve: Serve) -> None:
    server = serve()
    port = server.server_port
    with pytest.raises(UserError, match=rf"^port {port} of 127\.0\.0\.1 is in use; choose another with --port"):
        PageServer(server.demo, port=port)
    with pytest.raises(UserError, match=r"^port 8000 of no\.such\.invalid cannot be listened at: "):
        PageServer(server.demo, host="no.such.invalid")
