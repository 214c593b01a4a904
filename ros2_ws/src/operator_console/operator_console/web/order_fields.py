# SPDX-License-Identifier: Apache-2.0
"""What a person says of a new run: its name, task, method, budget and help."""

from __future__ import annotations

from nicegui import ui

from operator_console.core.run_order import RunOrder
from operator_console.web.interface import Offers
from whetstone_common.core.run_session import EVALUATE_EVERY_MIN

_DEFAULT_TASK = "pick_place"
_MINUTES = 19.0


class OrderFields:
    """Input fields of a run; tasks and methods come when they are known."""

    def __init__(self) -> None:
        """Build them where the caller is."""
        self._offers: Offers | None = None
        with ui.row().classes("w-full no-wrap"):
            self._name = ui.input("name").props("for=run-name").classes("w-1/3")
            self._task = ui.select([], label="task").classes("w-1/3")
            self._method = ui.select([], label="method", on_change=self._say_about).classes("w-1/3")
        with ui.row().classes("w-full no-wrap"):
            self._minutes = _number("robot time [min], 0: no bound", _MINUTES, "run-minutes")
            self._steps = _number("control steps, 0: no bound", 0, "run-steps")
            self._evaluate = _number("evaluate every [min], 0: never", EVALUATE_EVERY_MIN, "run-evaluate")
            self._seed = _number("seed", 0, "run-seed")
        self._prior = ui.input("folder of demonstrations, or of a run, to learn from as well (may be empty)")
        self._prior.classes("w-full")
        self._helped = ui.checkbox("the simulator's scripted operator takes over before a failure", value=True)
        self._about = ui.label("asks which methods there are").classes("text-xs text-grey")

    @property
    def has_offers(self) -> bool:
        """Whether tasks and methods are known."""
        return self._offers is not None

    def show_offers(self, offers: Offers) -> None:
        """Offer what this computer can train, or say why it can train nothing."""
        self._offers = offers
        names = [offer.name for offer in offers.methods]
        task = _DEFAULT_TASK if _DEFAULT_TASK in offers.tasks else next(iter(offers.tasks), None)
        self._task.set_options(list(offers.tasks), value=task)
        self._method.set_options(names, value=offers.default if offers.default in names else None)
        self._say_about()

    def _say_about(self) -> None:
        """Say what the chosen method does, and what it needs."""
        if self._offers is None:
            return
        offer = next((each for each in self._offers.methods if each.name == self._method.value), None)
        needs = f"; needs {', '.join(offer.needs)}" if offer is not None and offer.needs else ""
        said = f"{offer.name} {offer.summary}{needs}" if offer is not None else ""
        self._about.set_text(self._offers.problem or said)

    def order(self) -> RunOrder:
        """The run that the fields say."""
        return RunOrder(
            name=self._name.value.strip(),
            task=self._task.value or "",
            method=self._method.value or "",
            minutes=float(self._minutes.value or 0.0),
            max_steps=int(self._steps.value or 0),
            operator="scripted" if self._helped.value else "none",
            evaluate_every_min=float(self._evaluate.value or 0.0),
            prior=self._prior.value.strip(),
            seed=int(self._seed.value or 0),
        )


def _number(label: str, value: float, name: str) -> ui.number:
    return ui.number(label, value=value, min=0).props(f"for={name}").classes("w-1/4")
