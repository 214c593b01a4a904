# SPDX-License-Identifier: Apache-2.0
"""Peak memory of the batch jobs: that of one episode, however many there are.

As a script, one job: `python bench/memory.py export|prior|finetune IN OUT EPISODES`; prints its peak in MB.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from figures import Figure, summarise

GROUP = "Memory of batch jobs (240 x 320 pixels, two cameras, 40 steps)"
_FEW, _MANY = 5, 50
_BAR = 1.1
_STEPS, _SIZE_PX = 40, (240, 320)


def run(model: Path | None) -> list[Figure]:
    """Export and prior with few and many episodes; fine-tuning too where there is a model."""
    from fakes.recordings import recording

    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = recording(folder / "episode.mcap", range(_STEPS), size_px=_SIZE_PX)
        figures += _pair("export", source, folder, "set")
        figures += _pair("prior", folder / "set", folder, "prior")
        if model is not None:
            figures += _pair("finetune", folder / "set", folder, "model")
    return figures


def _pair(kind: str, source: Path, folder: Path, name: str) -> list[Figure]:
    few, many = (_peak_mb(kind, source, folder / f"{name}_{count}", count) for count in (_FEW, _MANY))
    first = summarise(GROUP, f"{kind}: {_FEW} episodes", "MB", [few])
    return [first, summarise(GROUP, f"{kind}: {_MANY} episodes", "MB", [many], baseline=first, bar=_BAR * few)]


def _peak_mb(kind: str, source: Path, out: Path, count: int) -> float:
    if kind != "export":
        source = source.with_name(f"{source.name}_{count}")
    command = [sys.executable, __file__, kind, str(source), str(out), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{kind}: {done.stdout[-500:]} {done.stderr[-1500:]}")
    return float(done.stdout.split()[-1])


def job(kind: str, source: str, out: str, count: int) -> int:
    """One job in this process; its exit code."""
    if kind == "export":
        from whetstone_cli.cli.exporting import export

        export([Path(source)] * count, Path(out), "sim_panda")
        return 0
    if kind == "prior":
        from whetstone_cli.jobs.make_prior import main

        return main([source, out, "--backend=fake", "--candidates=2"])
    from whetstone_cli.jobs.finetune import main as finetune

    return finetune([source, f"--out={out}", "--steps=2", "--threads=1"])


def peak_mb() -> float:
    """Of this process; getrusage would count what the parent had before the program was started."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    code = job(*sys.argv[1:4], int(sys.argv[4]))
    print(peak_mb())
    sys.exit(code)
