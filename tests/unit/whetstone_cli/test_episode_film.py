# SPDX-License-Identifier: Apache-2.0
"""Which pictures of an episode a film has, with and without the third camera."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vla_interfaces.msg import EpisodeEvent

from whetstone_cli.cli.episode_film import EpisodeFilm
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import to_time

FRONT, SPECTATOR = "camera/front/image_raw", "camera/spectator/image_raw/compressed"
MS = 1_000_000


class Graph:
    """Stands in for a node: what is said on a topic is heard at once.

    Attributes:
        listeners: Callback by topic.
    """

    def __init__(self) -> None:
        self.listeners: dict[str, Callable[[bytes], None]] = {}

    def create_subscription(self, _kind: Any, topic: str, callback: Any, _profile: Any, *, raw: bool) -> None:
        """Keep the callback of serialised messages."""
        assert raw
        self.listeners[topic] = callback

    def front(self, stamp_ms: int, grey: int) -> None:
        """A picture of the policy's camera."""
        header = Header(stamp=to_time(stamp_ms * MS))
        data = bytes([grey] * 12)
        self.listeners[FRONT](
            serialize_message(Image(header=header, height=2, width=2, encoding="rgb8", step=6, data=data))
        )

    def spectator(self, stamp_ms: int, data: bytes) -> None:
        """A picture of the third camera."""
        header = Header(stamp=to_time(stamp_ms * MS))
        self.listeners[SPECTATOR](serialize_message(CompressedImage(header=header, format="jpeg", data=data)))


def film_of(graph: Graph, takes: int = 2) -> EpisodeFilm:
    made = EpisodeFilm([("front", FRONT)], takes, qos.RECORD)
    made.listen(graph)  # type: ignore[arg-type]
    return made


def start(film: EpisodeFilm, seed: int = 5) -> None:
    film.on_event(EpisodeEvent(event=EpisodeEvent.STARTED, seed=seed, instruction="go there"))


def end(film: EpisodeFilm, event: int = EpisodeEvent.SUCCEEDED, reason: str = "") -> None:
    film.on_event(EpisodeEvent(event=event, reason=reason))


def greys(views: tuple[np.ndarray, ...]) -> list[int]:
    return [int(view[0, 0, 0]) for view in views]


def test_when_a_camera_sends_jpeg_expect_its_pictures() -> None:
    graph, topic = Graph(), f"{FRONT}/compressed"
    film = EpisodeFilm([("front", topic)], 1, qos.RECORD)
    film.listen(graph)  # type: ignore[arg-type]
    start(film)
    content = cv2.imencode(".jpg", np.full((8, 8, 3), 77, np.uint8))[1].tobytes()
    graph.listeners[topic](serialize_message(CompressedImage(header=Header(stamp=to_time(MS)), data=content)))
    end(film)
    assert greys(film.clips()[5].views[0]) == [pytest.approx(77, abs=2)]


def test_when_a_camera_is_fast_or_repeats_itself_expect_ten_pictures_a_second() -> None:
    graph = Graph()
    film = film_of(graph)
    graph.front(0, 1)
    start(film)
    for tick in range(9):
        graph.front(50 * tick, 10 + tick)
        graph.front(50 * tick, 10 + tick)
    end(film)
    graph.front(900, 99)
    (clip,) = film.clips().values()
    assert greys(clip.views[0]) == [10, 12, 14, 16, 18]
    assert (clip.caption, clip.outcome, clip.good, clip.spectator) == ("go there", "success", True, ())


def test_when_there_is_a_third_camera_expect_its_pictures_each_with_what_the_policy_saw_then() -> None:
    graph = Graph()
    film = film_of(graph)
    start(film)
    graph.spectator(100, b"a")
    for stamp_ms, grey in ((150, 1), (260, 2), (420, 3)):
        graph.front(stamp_ms, grey)
    for stamp_ms, data in ((200, b"b"), (300, b"c"), (430, b"d")):
        graph.spectator(stamp_ms, data)
    end(film)
    (clip,) = film.clips().values()
    assert clip.spectator == (b"a", b"b", b"c", b"d")
    assert greys(clip.views[0]) == [1, 1, 2, 3]


@pytest.mark.parametrize(
    ("event", "reason", "words"),
    [
        (EpisodeEvent.FAILED, "the cube fell", "failure: the cube fell"),
        (EpisodeEvent.TIMED_OUT, "", "failure: out of time"),
        (EpisodeEvent.ABORTED, "vla_node is silent", "aborted: vla_node is silent"),
    ],
)
def test_when_an_episode_fails_expect_the_reason_in_its_outcome(event: int, reason: str, words: str) -> None:
    graph = Graph()
    film = film_of(graph)
    start(film)
    graph.front(0, 1)
    end(film, event, reason)
    clip = film.first_clip(lambda take: not take.is_success)
    assert clip is not None and (clip.outcome, clip.good) == (words, False)


def test_when_more_episodes_run_than_are_kept_expect_the_last_ones() -> None:
    graph = Graph()
    film = film_of(graph)
    for seed in range(4):
        start(film, seed)
        graph.front(1000 * seed, seed)
        end(film)
    assert list(film.clips()) == [2, 3]


def test_when_no_picture_is_wanted_expect_nobody_listening_until_filming_starts() -> None:
    graph = Graph()
    film = film_of(graph, takes=0)
    assert graph.listeners == {}
    start(film)
    end(film)
    assert film.clips() == {}
    film.start(graph)  # type: ignore[arg-type]
    assert set(graph.listeners) == {FRONT, SPECTATOR} and not film.is_heard
    graph.front(0, 1)
    assert film.is_heard
