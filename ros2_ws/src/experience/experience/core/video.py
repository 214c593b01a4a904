# SPDX-License-Identifier: Apache-2.0
"""MP4 files: a run of frames appended to one file, each at its place in time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

# In order of preference; a build of FFmpeg may lack the first.
_CODECS = (("libx264", "h264"), ("libsvtav1", "av1"), ("mpeg4", "mpeg4"))
# A key frame every second picture, so that any frame is found quickly.
_KEY_FRAME_DISTANCE = 2


def codec() -> tuple[str, str]:
    """Encoder and name of the codec that this build offers.

    Raises:
        RuntimeError: None of the known ones.
    """
    for encoder, name in _CODECS:
        if encoder in av.codecs_available:
            return encoder, name
    raise RuntimeError(f"FFmpeg has none of {', '.join(encoder for encoder, _ in _CODECS)}")


class VideoFile:
    """An MP4 file that grows frame by frame."""

    def __init__(self, path: Path, fps: int, height: int, width: int) -> None:
        """Open a file for RGB frames of height x width pixels."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.frames = 0
        self.bytes = 0
        self._container = av.open(str(path), mode="w")
        encoder, _ = codec()
        self._stream = self._container.add_stream(encoder, rate=fps)
        self._stream.height, self._stream.width = height, width
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, fps)
        self._stream.codec_context.gop_size = _KEY_FRAME_DISTANCE
        # One thread: encoding must not take the cores that the robot needs.
        self._stream.codec_context.thread_count = 1
        if encoder == "libx264":
            self._stream.options = {"crf": "20", "preset": "veryfast"}

    def append(self, image: np.ndarray) -> None:
        """Add a uint8 RGB frame [H, W, 3]."""
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts = self.frames
        self._mux(frame)
        self.frames += 1

    def close(self) -> None:
        """Write what is left and close."""
        self._mux(None)
        self._container.close()

    def discard(self) -> None:
        """Close without writing what is left; the file is of no use."""
        self._container.close()

    def _mux(self, frame: av.VideoFrame | None) -> None:
        packets = self._stream.encode(frame)
        self.bytes += sum(packet.size for packet in packets)
        self._container.mux(packets)
