"""The site on this machine, built again when something changes."""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from armillary.lab.catalogue import PAPERS
from armillary.lab.errors import InputError
from armillary.report.site import builder


class _Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_: object) -> None:
        pass

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()


def serve(
    out: Path, own: Iterable[str | Path] = (), *, port: int = 8000, say: Callable[[str], None] = print
) -> None:
    """Build the site, serve it to this machine alone, and build it again when a source changes. Ctrl-C ends it.

    **Raises:** `InputError` as `build` does, or if the port is taken.
    """
    own = list(own)
    seen = _state(own)  # before it is built: what changes meanwhile is noticed
    built = builder.build(out, own)
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), partial(_Quiet, directory=str(built.path)))
    except OSError as error:
        raise InputError(f"--port {port}: {error.strerror}; choose another") from None
    say(
        f"http://127.0.0.1:{server.server_port}/ ({built.papers} papers, {built.seconds:.0f} s); Ctrl-C ends it"
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        while True:
            time.sleep(1)
            if (now := _state(own)) != seen:
                seen = now
                say(_again(out, own))
    finally:
        server.shutdown()
        server.server_close()


def _again(out: Path, own: Iterable[str | Path]) -> str:
    """Build in a fresh interpreter, which sees changed code as well as changed words."""
    command = [sys.executable, "-m", "armillary.cli", "site", "build", "--out", str(out)]
    command += [word for path in own for word in ("--with", str(path))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return f"not built again: {done.stderr.strip().splitlines()[-1]}"
    return "built again; reload the page"


def _state(own: Iterable[str | Path]) -> dict[Path, int]:
    """When each file that the site is made of was last changed."""
    roots = [builder.docs(), builder.HERE, PAPERS]
    paths = [p for root in roots for p in root.rglob("*") if "__pycache__" not in p.parts]
    found = {}
    for path in [*paths, *map(Path, own)]:
        with contextlib.suppress(OSError):
            found[path] = path.stat().st_mtime_ns
    return found
