# SPDX-License-Identifier: Apache-2.0
"""Row 16: wrong images are refused on their header, and never decoded."""

from __future__ import annotations

import resource
import struct
from array import array

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_policy.core.images import ImageRules, check_compressed, check_raw, compressed_to_rgb, fit, raw_to_rgb
from whetstone_common.core.pixels import ImageError

RULES = ImageRules()
PIXELS = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
DATA = array("B", PIXELS.tobytes())
JPEG = cv2.imencode(".jpg", PIXELS)[1].tobytes()
PNG = cv2.imencode(".png", np.ascontiguousarray(PIXELS[:, :, ::-1]))[1].tobytes()


def png_header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG whose header promises anything, with nothing behind it."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + b"\0\0\0\0" + b"\0\0\0\0IEND\xaeB`\x82"


def jpeg_of_size(width: int, height: int, depth: int = 8, components: int = 3) -> bytes:
    """The small JPEG with another frame header."""
    at = JPEG.index(b"\xff\xc0")
    frame = struct.pack(">BHHB", depth, height, width, components)
    return JPEG[: at + 4] + frame + JPEG[at + 10 :]


BAD_RAW = {
    "mono8 with the data of colours": (48, 64, "mono8", 64, DATA),
    "rgba8 without its alpha": (48, 64, "rgba8", 256, DATA),
    "bgra8 with the step of bgr8": (48, 64, "bgra8", 192, DATA),
    "yuyv with the data of colours": (48, 64, "yuv422_yuy2", 128, DATA),
    "yuyv of an odd width": (48, 63, "yuv422_yuy2", 192, DATA),
    "YUV 4:2:0": (48, 64, "nv12", 192, DATA),
    "8UC3": (48, 64, "8UC3", 192, DATA),
    "rgb16": (48, 64, "rgb16", 384, DATA),
    "16UC1": (48, 64, "16UC1", 128, DATA),
    "bayer": (48, 64, "bayer_rggb8", 64, DATA),
    "no encoding": (48, 64, "", 192, DATA),
    "long encoding": (48, 64, "x" * 10_000, 192, DATA),
    "upper case": (48, 64, "RGB8", 192, DATA),
    "step too small": (48, 64, "rgb8", 191, DATA),
    "step zero": (48, 64, "rgb8", 0, DATA),
    "step of another width": (48, 64, "rgb8", 200, DATA),
    "step huge": (48, 64, "rgb8", 2**32 - 1, DATA),
    "height zero": (0, 64, "rgb8", 192, DATA),
    "width zero": (48, 0, "rgb8", 192, DATA),
    "too small": (2, 2, "rgb8", 6, DATA[:12]),
    "too high": (100_000, 64, "rgb8", 192, DATA),
    "too wide": (48, 100_000, "rgb8", 300_000, DATA),
    "bomb": (30_000, 30_000, "rgb8", 90_000, DATA),
    "empty": (48, 64, "rgb8", 192, array("B")),
    "one byte short": (48, 64, "rgb8", 192, DATA[:-1]),
    "one byte long": (48, 64, "rgb8", 192, DATA + array("B", [0])),
    "half": (48, 64, "rgb8", 192, DATA[: len(DATA) // 2]),
    "swapped sides": (64, 48, "rgb8", 192, DATA),
}
BAD_COMPRESSED = {
    "empty": b"",
    "one byte": b"\xff",
    "text": b"not an image at all",
    "gif": b"GIF89a" + bytes(100),
    "JPEG cut in half": JPEG[: len(JPEG) // 2],
    "JPEG without its end": JPEG[:-2],
    "JPEG start only": JPEG[:2] + JPEG[-2:],
    "JPEG of 30000 x 30000": jpeg_of_size(30_000, 30_000),
    "JPEG of no size": jpeg_of_size(0, 0),
    "12-bit JPEG": jpeg_of_size(64, 48, depth=12),
    "4-component JPEG": jpeg_of_size(64, 48, components=4),
    "JPEG with a segment beyond its end": JPEG[:4] + b"\xff\xff" + JPEG[6:],
    "PNG of 30000 x 30000": png_header(30_000, 30_000),
    "PNG with nothing in it": png_header(64, 48),
    "16-bit PNG": cv2.imencode(".png", PIXELS.astype(np.uint16))[1].tobytes(),
    "16-bit grey PNG": cv2.imencode(".png", PIXELS[:, :, 0].astype(np.uint16))[1].tobytes(),
    "PNG cut in half": PNG[: len(PNG) // 2],
    "PNG header only": PNG[:20],
}


@pytest.mark.parametrize("case", BAD_RAW)
def test_when_a_raw_image_is_wrong_expect_refusal(case: str) -> None:
    height, width, encoding, step, data = BAD_RAW[case]
    with pytest.raises(ImageError):
        raw_to_rgb(height, width, encoding, step, data, RULES)


@pytest.mark.parametrize("case", BAD_COMPRESSED)
def test_when_a_compressed_image_is_wrong_expect_refusal(case: str) -> None:
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError):
        compressed_to_rgb(array("B", BAD_COMPRESSED[case]), RULES)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 50 * 1024


def test_when_there_are_more_bytes_than_allowed_expect_refusal_before_a_copy() -> None:
    with pytest.raises(ImageError, match="at most"):
        check_compressed(JPEG, ImageRules(max_bytes=len(JPEG) - 1))


@pytest.mark.parametrize(
    ("encoding", "order"), [("rgb8", [0, 1, 2]), ("bgr8", [2, 1, 0]), ("rgba8", [0, 1, 2, 3]), ("bgra8", [2, 1, 0, 3])]
)
def test_when_the_order_of_colours_is_known_expect_rgb_and_no_alpha(encoding: str, order: list[int]) -> None:
    with_alpha = np.dstack([PIXELS, np.full((48, 64), 77, np.uint8)])
    sent = np.zeros((48, 300), np.uint8)  # rows are padded
    sent[:, : 64 * len(order)] = with_alpha[:, :, order].reshape(48, -1)
    rgb = raw_to_rgb(48, 64, encoding, 300, array("B", sent.tobytes()), RULES)
    assert (rgb == PIXELS).all()
    assert (fit(rgb, 48, 64) == PIXELS).all() and fit(rgb, 48, 64).flags.c_contiguous


@pytest.mark.parametrize("encoding", ["mono16", "16UC1", "nv12", "8UC3"])
def test_when_the_encoding_is_not_accepted_expect_those_that_are(encoding: str) -> None:
    with pytest.raises(ImageError, match=f"'{encoding}' is not accepted.* rgb8, bgr8, rgba8, bgra8"):
        check_raw(48, 64, encoding, 192, DATA, RULES)


def yuv(rgb: np.ndarray) -> np.ndarray:
    """Y, U, V of uint8 RGB [..., 3], by ITU-R BT.601 as webcams send them: Y in 16..235."""
    from_rgb = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255.0
    return np.rint(rgb @ from_rgb.T + [16.0, 128.0, 128.0]).astype(np.uint8)


@pytest.mark.parametrize(
    ("encoding", "order"),
    [("yuv422_yuy2", "YUYV"), ("yuyv", "YUYV"), ("yuv422", "UYVY"), ("uyvy", "UYVY")],
)
def test_when_a_webcam_sends_yuv_expect_its_colours(encoding: str, order: str) -> None:
    pairs = np.random.default_rng(1).integers(0, 255, (48, 32, 1, 3), dtype=np.uint8).repeat(2, axis=2)
    y, u, v = np.moveaxis(yuv(pairs), -1, 0)
    quads = {"YUYV": (y[..., 0], u[..., 0], y[..., 1], v[..., 0]), "UYVY": (u[..., 0], y[..., 0], v[..., 0], y[..., 1])}
    sent = np.zeros((48, 140), np.uint8)  # rows are padded
    sent[:, :128] = np.stack(quads[order], axis=-1).reshape(48, 128)
    rgb = raw_to_rgb(48, 64, encoding, 140, array("B", sent.tobytes()), RULES)
    assert np.abs(rgb.astype(int) - pairs.reshape(48, 64, 3)).max() <= 4


def test_when_a_camera_sees_no_colours_expect_its_grey_in_all_three() -> None:
    grey = PIXELS[:, :, 0]
    seen = [raw_to_rgb(48, 64, "mono8", 64, array("B", grey.tobytes()), RULES)]
    seen.append(compressed_to_rgb(cv2.imencode(".png", grey)[1].tobytes(), RULES))
    assert all((image == grey[:, :, None]).all() and image.shape == (48, 64, 3) for image in seen)
    jpeg = compressed_to_rgb(cv2.imencode(".jpg", np.full_like(grey, 90))[1].tobytes(), RULES)
    assert jpeg.shape == (48, 64, 3) and np.abs(jpeg.astype(int) - 90).max() <= 2


def test_when_a_png_has_alpha_expect_its_colours() -> None:
    bgra = np.dstack([PIXELS[:, :, ::-1], np.full((48, 64), 77, np.uint8)])
    assert (compressed_to_rgb(cv2.imencode(".png", bgra)[1].tobytes(), RULES) == PIXELS).all()


def test_when_rows_are_padded_expect_the_padding_gone() -> None:
    padded = np.zeros((48, 200), np.uint8)
    padded[:, :192] = PIXELS.reshape(48, 192)
    assert (raw_to_rgb(48, 64, "rgb8", 200, array("B", padded.tobytes()), RULES) == PIXELS).all()


def test_when_a_png_is_whole_expect_its_pixels_to_the_bit() -> None:
    assert (compressed_to_rgb(array("B", PNG), RULES) == PIXELS).all()


def test_when_a_jpeg_is_padded_with_zeros_expect_it_decoded_in_rgb() -> None:
    flat = np.zeros((48, 64, 3), np.uint8)
    flat[:, :] = (200, 30, 30)
    encoded = cv2.imencode(".jpg", flat[:, :, ::-1])[1].tobytes()
    decoded = compressed_to_rgb(encoded + bytes(16), RULES)
    assert np.abs(decoded.astype(int) - flat).max() < 12


def test_when_the_size_is_right_expect_no_change_of_pixels() -> None:
    assert (fit(PIXELS, 48, 64) == PIXELS).all()


def test_when_the_aspect_differs_expect_the_centre_kept() -> None:
    wide = np.zeros((40, 80, 3), np.uint8)
    wide[:, 20:60] = 255
    assert (fit(wide, 20, 20) == 255).all()
    assert fit(wide, 20, 20, crop="none").min() == 0


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_when_bytes_of_a_jpeg_or_png_are_mutated_expect_pixels_of_the_right_shape_or_refusal(
    data: st.DataObject,
) -> None:
    content = bytearray(data.draw(st.sampled_from([JPEG, PNG])))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        image = compressed_to_rgb(bytes(content), RULES)
    except ImageError:
        return
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["rgb8", "bgr8", "rgba8", "bgra8", "mono8", "yuyv", "uyvy"]),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=300),
)
@settings(max_examples=500, deadline=None)
def test_when_a_raw_header_is_arbitrary_expect_an_image_of_that_header_or_refusal(
    height: int, width: int, encoding: str, step: int, data: bytes
) -> None:
    try:
        image = raw_to_rgb(height, width, encoding, step, data, RULES)
    except ImageError:
        return
    assert image.shape == (height, width, 3)
