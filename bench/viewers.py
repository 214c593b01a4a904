# SPDX-License-Identifier: Apache-2.0
"""What viewers of the operator console cost the ring, from the first image on the wire to the chunk on the wire."""

from __future__ import annotations

import numpy as np
from figures import Figure, summarise
from serving import CAMERAS, Client, start_ring
from stage import stage, start_script, wait_known, wait_until_quiet

from harness.browser import free_port
from harness.until import until
from harness.world import World

GROUP = "Viewers of the operator console (null model, two cameras of 224 px, a request every 50 ms)"
VIEWERS, BAR_MS = 20, 1.0
_SIZE_PX, _PAUSE_S, _WARM_UP = 224, 0.045, 20


def run(*, laps: int) -> list[Figure]:
    """Laps of the ring with a console that nobody looks at, and with one that 20 pages look at."""
    with stage() as world:
        names = start_ring(world, _SIZE_PX, CAMERAS[:2])
        port = free_port()
        world.node(
            "operator_console",
            "console_node",
            parameters={"port": port, "robot_file": str(world.folder / "robot.yaml")},
        )
        for name in (*names, "console_node"):
            wait_known(world.watcher, name, ("STARTING", "READY", "HOLDING"))
        client = Client(world.domain_id, CAMERAS[:2], _SIZE_PX)
        try:
            client.introduce()
            wait_until_quiet(world, 1.0)
            alone = _laps(client, laps)
            _open_pages(world, port)
            watched = _laps(client, laps)
        finally:
            client.close()
    base = summarise(GROUP, "ring, console without viewers", "ms", alone)
    seen = summarise(GROUP, f"ring, {VIEWERS} viewers", "ms", watched, baseline=base)
    more = summarise(GROUP, f"what {VIEWERS} viewers add at the median", "ms", [seen.p50 - base.p50], bar=BAR_MS)
    return [base, seen, more]


def _open_pages(world: World, port: int) -> None:
    pages = start_script(world, "viewer_pages", f"http://127.0.0.1:{port}", str(VIEWERS))
    until(lambda: "open" in pages.tail(), 60.0, f"{VIEWERS} pages are open")


def _laps(client: Client, count: int) -> list[float]:
    """Durations [ms] of laps that brought a chunk."""
    laps = []
    for _ in range(count + _WARM_UP):
        laps.append(1e3 * client.lap())
        client.pause(_PAUSE_S)
    good = np.array(laps[_WARM_UP:])
    return good[np.isfinite(good)].tolist()
