"""What is compiling, what runs, how long is left: live on a terminal, plain lines otherwise."""

import sys
import threading
import time
from typing import Any, Self


class Progress:
    """A listener for `lab.sweep`, writing to stderr."""

    LINE_SECONDS = 10.0

    def __init__(self, *, show: bool | None = None):
        """`show`: None shows on a terminal only; True also writes plain lines where there is none."""
        terminal = sys.stderr.isatty()
        self.live = terminal and show is not False
        self.plain = not terminal and show is True
        self.lock = threading.Lock()
        self.bar: Any = None
        self.total = self.done = self.reused = 0
        self.slug = ""
        self.compiling: list[str] = []
        self.nodes = self.out = 0
        self.left: float | None = None
        self.guessed = False
        self.start = self.told = time.monotonic()
        self.ended = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def __call__(self, event: str, **info: Any) -> None:
        """Take note of one event of a sweep."""
        with self.lock:
            if event == "start":
                self.slug, self.total, self.reused = info["slug"], info["total"], info["reused"]
                self.done = self.reused
                self.left, self.start = None, time.monotonic()
                if self.plain:
                    self.ended = threading.Event()
                    threading.Thread(target=self._lines, args=(self.ended,), daemon=True).start()
            elif event == "compile":
                self.compiling.append(info["group"].settings)
            elif event == "compiled":
                self.compiling.remove(info["group"].settings)
            elif event == "chunk":
                self.done, self.left = info["done"], info["left"]
                self.guessed, self.told = False, time.monotonic()
            elif event == "forecast":
                self.left, self.guessed = info["seconds"], True
            elif event == "nodes":
                self.nodes, self.out = info["nodes"], info["out"]
            elif event == "note":
                self._note(info["words"])
            elif event == "end":
                self._stop()
                return
            if self.live:
                self._show_bar()

    def _words(self) -> str:
        parts = [f"{self.done}/{self.total} runs"]
        if self.reused:
            parts.append(f"{self.reused} from the store")
        if self.compiling:
            parts.append(f"compiling {self.compiling[0]}".strip()[:60])
        if self.nodes:
            parts.append(f"{self.out} chunks out on {self.nodes} node{'s' if self.nodes > 1 else ''}")
        return ", ".join(parts)

    def _note(self, words: str) -> None:
        """A line that stays: something went wrong and was mended."""
        line = f"{self.slug}: {words}"
        if self.bar is not None:
            from rich.text import Text

            self.bar.console.print(Text(line))
        elif self.live or self.plain:
            print(line, file=sys.stderr, flush=True)

    def _lines(self, ended: threading.Event) -> None:
        while not ended.wait(self.LINE_SECONDS):
            spent = duration(time.monotonic() - self.start)
            print(f"{self.slug}: {self._words()}, {spent}{self._left()}", file=sys.stderr, flush=True)

    def _left(self) -> str:
        if self.left is None:
            return ""
        if self.guessed:
            return f", about {duration(self.left)} of computing, by its size"
        return f", about {duration(max(0.0, self.left - (time.monotonic() - self.told)))} left"

    def _show_bar(self) -> None:
        if self.bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar
            from rich.text import Text

            class Left(ProgressColumn):
                def render(_, task: Any) -> Text:
                    return Text(self._left().removeprefix(", "))

            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[words]}"),
                TimeElapsedColumn(),
                Left(),
            )
            self.bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self.task = self.bar.add_task(self.slug, total=self.total, completed=self.done, words="")
            self.bar.start()
        self.bar.update(
            self.task,
            description=self.slug,
            total=self.total,
            completed=self.done,
            words=self._words(),
        )

    def _stop(self) -> None:
        self.ended.set()
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def duration(seconds: float) -> str:
    """A length of time as a person says it."""
    for unit, size, most in (("s", 1, 120), ("min", 60, 120 * 60), ("h", 3600, 72 * 3600)):
        if seconds < most:
            return f"{seconds / size:.{1 if unit == 'h' and seconds < 10 * size else 0}f} {unit}"
    return f"{seconds / 86400:,.0f} days"
