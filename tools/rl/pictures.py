# SPDX-License-Identifier: Apache-2.0
"""What pictures of results share: colours, one legend below all panels, and a file that is whole or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from whetstone_common.core.outputs import whole_file

# Okabe and Ito's colours, which differ for every kind of colour vision
BLUE, ORANGE, GREEN, PINK, YELLOW, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
GREY = "#666666"
_LEGEND_COLUMNS = 3


def panels(rows: int, columns: int, size_in: tuple[float, float], **shared: bool) -> tuple[Any, Any]:
    """A figure without a screen, and its axes [rows, columns]."""
    # Imported here: a run needs none of it.
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(rows, columns, figsize=size_in, squeeze=False, layout="constrained", **shared)
    return figure, axes


def save(figure: Any, axes: Any, path: Path) -> None:
    """Name every label once below the panels, and write the picture."""
    from matplotlib import pyplot

    named = [panel.get_legend_handles_labels() for panel in axes.flat]
    once = {label: handle for handles, labels in named for handle, label in zip(handles, labels, strict=True)}
    figure.legend(list(once.values()), list(once), loc="outside lower center", ncols=_LEGEND_COLUMNS, fontsize=9)
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=100, format="png", pil_kwargs={"optimize": True})
    pyplot.close(figure)
