"""`planner.whatif`: the controls of a scenario as widgets, beside what they come to."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from shlex import quote
from typing import Any

from planner.catalog import Catalog
from planner.errors import PlannerError
from planner.notebook.cards import cards_html
from planner.notebook.controls import Control, Menu, Slider, Switch, Value, given
from planner.notebook.model import Answer, WhatIf
from planner.notebook.own import Asked
from planner.results.notebook import html_of
from planner.results.result import Result
from planner.scenario import LoadedScenario

_REMEDY = "install what notebooks need: pip install 'planner[notebook]'"


def whatif(
    scenario: str | PathLike[str] | LoadedScenario,
    *,
    sets: Asked | None = None,
    catalog: Catalog | None = None,
) -> Panel:
    """Return a panel of controls over a scenario, which is simulated again as they move.

    Sliders and menus follow from the scenario: traffic, machines, nodes, formats, speculation,
    prices, techniques. The simulation runs in the kernel of the notebook; the figures keep their
    place. What a combination makes impossible is said in the panel.

    >>> planner.whatif("scenarios/quickstart.yaml")                      # doctest: +SKIP
    >>> planner.whatif(scenario, sets={                                  # doctest: +SKIP
    ...     "pools.chat.engine.maximum_sequences": (64, 512),
    ...     "prices.power.electricity": ("0.04 USD/kWh", "0.20 USD/kWh"),
    ...     "pools.chat.router": ["round_robin", "power_of_two", "least_loaded"],
    ... })

    Args:
        scenario: a file, or a scenario already loaded.
        sets: controls of your own by path, as `--set` writes it: a tuple of two makes a slider from
            one to the other, a list makes a menu. They replace those of the same path.
        catalog: models, chips, nodes and prices; by default the shipped one.

    Raises:
        PlannerError: the scenario has faults, a control makes no sense, or the packages of the
            extra `notebook` are missing.
    """
    try:
        import anywidget  # noqa: F401, without it plotly has no figure that changes in place
        import ipywidgets  # noqa: F401
    except ImportError as error:
        raise PlannerError(f"{error}; {_REMEDY}") from None
    return Panel(WhatIf(scenario, sets=sets, catalog=catalog))


class Panel:
    """Controls on the left, four numbers and three figures beside them.

    Args:
        model: what stands behind it; it can be driven without the panel.
    """

    def __init__(self, model: WhatIf) -> None:
        import ipywidgets as widgets

        from planner.notebook.charts import Charts

        self.model = model
        self.answer = Answer({}, model.start, "", 0.0)
        """Of the controls as they are."""
        self._shown: Result = model.start
        self._charts = Charts(model.start)
        self._widgets = {control.key: _widget(control) for control in model.controls}
        self._cards, self._message = widgets.HTML(), widgets.HTML()
        self._resetting = False
        for widget in self._widgets.values():
            widget.observe(self._on_change, names="value")
        back = widgets.Button(description="Back to the start", icon="undo")
        back.on_click(lambda _: self.reset())
        groups = dict.fromkeys(control.group for control in model.controls)
        controls = widgets.Accordion(
            children=[self._group(group) for group in groups], titles=tuple(groups)
        )
        controls.selected_index = 0
        left = widgets.VBox([controls, back], layout={"width": "340px", "flex": "0 0 auto"})
        right = widgets.VBox([self._charts.figure], layout={"flex": "1 1 0", "min_width": "0"})
        body = widgets.HBox([left, right], layout={"align_items": "flex-start", "grid_gap": "12px"})
        self.box = widgets.VBox([self._cards, self._message, body])
        """The widget itself, to place it among others."""
        self._render()

    @property
    def result(self) -> Result | None:
        """The result of the controls as they are; None where they make none possible."""
        return self.answer.result

    @property
    def figure(self) -> Any:
        """The plotly figure."""
        return self._charts.figure

    @property
    def cards(self) -> str:
        """The HTML of the four numbers."""
        return str(self._cards.value)

    @property
    def message(self) -> str:
        """The HTML of what was simulated, or of why it cannot be."""
        return str(self._message.value)

    def values(self) -> dict[str, Value]:
        """Return the value of every control by its key."""
        return {key: widget.value for key, widget in self._widgets.items()}

    def move(self, key: str, value: Value) -> None:
        """Move a control, as a hand would.

        Raises:
            ControlError: there is no such control, or it has no such value.
        """
        control = self.model.control(key)
        self._widgets[key].value = _shown_value(control, control.checked(value))

    def reset(self) -> None:
        """Put every control back to where it started, with one simulation."""
        self._resetting = True
        for control in self.model.controls:
            self._widgets[control.key].value = _shown_value(control, control.start)
        self._resetting = False
        self._update()

    def _on_change(self, change: Mapping[str, Any]) -> None:
        if not self._resetting:
            self._follow(change)
            self._update()

    def _follow(self, change: Mapping[str, Any]) -> None:
        """Move what stood where it started before the change to where it starts now."""
        now = self.values()
        key = next(key for key, widget in self._widgets.items() if widget is change["owner"])
        before = now | {key: change["old"]}
        self._resetting = True
        for control in self.model.controls:
            starts = [_shown_value(control, given(control, each).start) for each in (before, now)]
            if starts[0] != starts[1] and now[control.key] == starts[0]:
                self._widgets[control.key].value = starts[1]
        self._resetting = False

    def _update(self) -> None:
        self.answer = self.model.answer(self.values())
        if self.answer.result is not None:
            self._shown = self.answer.result
            self._charts.show(self._shown)
        self._render()

    def _render(self) -> None:
        stale = self.answer.result is None
        self._cards.value = cards_html(self._shown, self.model.start, stale=stale)
        self._message.value = _message(self.answer, self.model, self._shown)

    def _group(self, group: str) -> Any:
        import ipywidgets as widgets

        rows = [
            _row(control, self._widgets[control.key])
            for control in self.model.controls
            if control.group == group
        ]
        return widgets.VBox(rows, layout={"overflow": "hidden"})

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.box._repr_mimebundle_(**options)


def _shown_value(control: Control, value: Value) -> Value:
    return int(value) if isinstance(control, Slider) and control.is_whole else value


def _widget(control: Control) -> Any:
    import ipywidgets as widgets

    wide = {"width": "auto"}
    if isinstance(control, Switch):
        return widgets.Checkbox(value=control.start, description=control.label, indent=False)
    if isinstance(control, Menu):
        choices = [(title, choice) for choice, title in control.shown()]
        return widgets.Dropdown(options=choices, value=control.start, layout=wide)
    kind = widgets.IntSlider if control.is_whole else widgets.FloatSlider
    number = int if control.is_whole else float
    decimals = max(0, len(f"{control.step:.10f}".rstrip("0").partition(".")[2]))
    return kind(
        value=number(control.start),
        min=number(control.low),
        max=number(control.high),
        step=number(control.step),
        readout_format="d" if control.is_whole else f".{decimals}f",
        layout=wide,
    )


def _row(control: Control, widget: Any) -> Any:
    """Return a widget under its label, which has the unit."""
    import ipywidgets as widgets

    if isinstance(control, Switch):
        return widget
    unit = f" [{control.unit}]" if isinstance(control, Slider) and control.unit else ""
    label = widgets.Label(f"{control.label}{unit}", layout={"height": "20px", "margin": "4px 0 0"})
    return widgets.VBox([label, widget], layout={"overflow": "hidden"})


def _message(answer: Answer, model: WhatIf, shown: Result) -> str:
    """Return what cannot be, or what was simulated and how to repeat it on the command line."""
    if answer.error:
        return (
            '<div class="planner-what-if"><div class="planner-error"><b>Not possible.</b> '
            f"{html_of(answer.error)}</div></div>"
        )
    arrived = int(shown.frames.classes["arrived"].sum())
    if not answer.values:
        text = f"Move a control, and {arrived:,} requests are simulated again."
    elif answer.is_simulated:
        text = f"{arrived:,} requests simulated in {answer.seconds:.2f} s."
    else:
        text = f"Billed again in {answer.seconds:.2f} s: prices move no request."
    return (
        f'<div class="planner-what-if"><div class="planner-note">{text} '
        f"{_command(answer, model)}</div></div>"
    )


def _command(answer: Answer, model: WhatIf) -> str:
    moved = [f"--set {text}" for text in model.options(answer.values)]
    switched = [key for key in answer.values if isinstance(model.control(key), Switch)]
    parts = []
    if moved:
        written = " ".join(_quoted(each) for each in (*model.applied, *moved))
        text = html_of(f"{quote(model.path)} {written}")
        parts.append(f"The same: <code>planner run {text}</code>")
    if switched:
        names = ", ".join(model.control(key).label for key in switched)
        parts.append(f"Without {html_of(names)}, which no option says.")
    return " ".join(parts)


def _quoted(layer: str) -> str:
    """Return an option as a shell takes it: an assignment, or else the name of an override."""
    option, _, text = layer.partition(" ")
    return f"{option} {quote(text)}" if option == "--set" else f"--override {quote(layer)}"
