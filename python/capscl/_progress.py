"""How far a training is: a line on a terminal, or in a notebook."""

from __future__ import annotations

import math
import sys
import time
from typing import Any, Dict, Optional

_EVERY_SECONDS = 0.2


def _in_notebook() -> bool:
    if "IPython" not in sys.modules:
        return False
    shell = sys.modules["IPython"].get_ipython()
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


def _clock(seconds: float) -> str:
    whole = int(round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"


def progress_line(m: Dict[str, Any]) -> str:
    """A step in words, from what `on_epoch` gets too."""
    share = m["images_done"] / m["images_total"] if m["images_total"] else 0
    filled = int(20 * share)
    parts = [f"epoch {m['epoch']} [{'#' * filled}{'.' * (20 - filled)}]"]
    if not math.isnan(m["loss"]):
        parts.append(f"loss {m['loss']:.4f}, error {m['train_error_percent']:.2f} %")
    if m["images_per_second"] and not math.isnan(m["images_per_second"]):
        parts.append(f"{m['images_per_second']:.0f} images/s")
    if not math.isnan(m["seconds_left"]):
        parts.append(f"{_clock(m['seconds_left'])} left")
    return ", ".join(parts)


def epoch_line(m: Dict[str, Any]) -> str:
    """An epoch's results in words."""
    parts = [
        f"epoch {m['epoch']}: loss {m['loss']:.4f}",
        f"training error {m['train_error_percent']:.2f} %",
    ]
    for name in ("validation", "test"):
        error = m[f"{name}_error_percent"]
        if not math.isnan(error):
            parts.append(f"{name} error {error:.2f} %")
    return ", ".join(parts) + f" ({_clock(m['seconds'])})"


class Progress:
    """Shows nothing of its own accord where neither a terminal nor a notebook is there to see it.

    wanted True: epochs are printed anywhere; False: nothing is.
    """

    def __init__(self, wanted: Optional[bool]) -> None:
        self._notebook = wanted is not False and _in_notebook()
        terminal = sys.stderr is not None and sys.stderr.isatty()
        self._live = wanted is not False and (terminal or self._notebook)
        self._prints = bool(wanted) or self._live
        self._shown = 0.0
        self._lines: list[str] = []
        self._display: Any = None
        self._width = 0

    @property
    def is_live(self) -> bool:
        """Steps are worth reporting."""
        return self._live

    def due(self) -> bool:
        """Enough time has passed since a step was shown."""
        return self._live and time.monotonic() - self._shown >= _EVERY_SECONDS

    def step(self, metrics: Dict[str, Any]) -> None:
        self._shown = time.monotonic()
        self._put(progress_line(metrics))

    def epoch(self, metrics: Dict[str, Any]) -> None:
        if not self._prints:
            return
        line = epoch_line(metrics)
        if self._notebook:
            self._lines.append(line)
            self._put("")
        else:
            self._clear()
            print(line, file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """A line that the user should read."""
        if not self._prints:
            return
        if self._notebook:
            self._lines.append(text)
            self._put("")
        else:
            self._clear()
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._live:
            if self._notebook and self._display is not None:
                self._put("")
            else:
                self._clear()

    def _clear(self) -> None:
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
            self._width = 0

    def _put(self, line: str) -> None:
        if not self._notebook:
            sys.stderr.write("\r" + line.ljust(self._width))
            sys.stderr.flush()
            self._width = len(line)
            return
        from IPython.display import display

        text = "\n".join(self._lines + ([line] if line else []))
        data = {"text/plain": text}
        if self._display is None:
            self._display = display(data, raw=True, display_id=True)
        else:
            self._display.update(data, raw=True)
