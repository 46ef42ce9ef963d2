"""Draw `planner run scenarios/quickstart.yaml` as the picture of the README.

    python docs/picture.py             simulate, store the text, draw it
    python docs/picture.py --redraw    draw the stored text again

The text is stored beside the picture, with the terminal's colours: tests compare it with what the
command prints, and the picture with what this script draws. Lines appear one after the other in a
browser; where motion is not wanted, or not supported, all of them are there at once.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

FOLDER = Path(__file__).resolve().parent
SCENARIO = "scenarios/quickstart.yaml"
TEXT = FOLDER / "quickstart.ansi"
PICTURE = FOLDER / "quickstart.svg"
COLUMNS = 100
LINES = 39
"""Of the output: down to the end of the table of latencies."""
LINE_S = 0.05
"""Between one line and the next."""
START_S = 0.6
"""Between the command and its first line."""
_DARK = [(72, 79, 88), (255, 123, 114), (86, 211, 100), (227, 179, 65)]
_MORE = [(121, 192, 255), (210, 168, 255), (86, 212, 221), (177, 186, 196)]
THEME = TerminalTheme((22, 27, 34), (214, 222, 230), [*_DARK, *_MORE])
"""Background, foreground, and the eight colours of a terminal."""
FRAME = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" \
aria-label="What planner run prints for the quickstart">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans \
Mono", monospace; font-size: {char_height}px; line-height: {line_height}px; \
font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 15px; font-family: system-ui, sans-serif; fill: #8b949e; }}
{styles}
@keyframes appear {{ from {{ opacity: 0 }} to {{ opacity: 1 }} }}
@media (prefers-reduced-motion: no-preference) {{
{delays}
}}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" \
height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""The picture around the text, for rich to fill in."""


def printed() -> str:
    """Simulate the quickstart and return what a terminal shows, with its colours."""
    from planner.report.terminal import print_result
    from planner.simulation import load_scenario, run

    console = Console(
        file=io.StringIO(), record=True, width=COLUMNS, force_terminal=True, color_system="standard"
    )
    print_result(run(load_scenario(FOLDER.parent / SCENARIO)), console)
    lines = console.export_text(styles=True).splitlines()
    return "\n".join(line.rstrip() for line in lines[:LINES]) + "\n"


def drawn(text: str) -> str:
    """Return the picture of a text with colours."""
    console = Console(file=io.StringIO(), record=True, width=COLUMNS)
    console.print(Text.assemble(("$ ", "green"), (f"planner run {SCENARIO}", "bold")))
    console.print(Text.from_ansi(text.rstrip("\n")))
    console.print(Text("…", "dim"))
    delays = "\n".join(
        f'text[clip-path="url(#planner-line-{number})"] {{ animation: appear 0.15s '
        f"{START_S + LINE_S * number:.2f}s both }}"
        for number in range(1, text.count("\n") + 2)
    )
    frame = FRAME.replace("{delays}", delays.replace("{", "{{").replace("}", "}}"))
    svg = console.export_svg(
        title="planner", theme=THEME, code_format=frame, unique_id="planner", font_aspect_ratio=0.61
    )
    return re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE)


def main() -> None:
    """Write the text and its picture."""
    if "--redraw" not in sys.argv[1:]:
        TEXT.write_text(printed(), encoding="utf-8", newline="\n")
    PICTURE.write_text(drawn(TEXT.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
