"""One built site for all the tests of a run, whichever process comes first, and a browser that looks at it."""

import fcntl
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

MARKUP = "<b>Bold</b> & <script>document.title = 'caught'</script> claim"
STORY = """# Left out

## What they say together

The claim of [one](../papers/one-step-gd.md) and *another*, $a^2$, in one figure:

![Learned above theory](../figures/one-step-gd.svg)
"""
CHROMIUM = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@dataclass(frozen=True)
class Site:
    path: Path
    seconds: float
    warnings: list[str]
    home: Path

    def url(self, page: str) -> str:
        name, _, rest = page.partition("#")
        return (self.path / name).as_uri() + (f"#{rest}" if rest else "")


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Site:
    """The catalogue's site with a study of one's own in it, whose title is full of markup, recorded first.

    The subject of surveys has an introduction.
    """
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if shared.name.startswith("popen-") else shared
    folder, told = shared / "site", shared / "site.json"
    with open(shared / "site.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not told.exists():
            told.write_text(json.dumps(_build(shared, folder)))
    found = json.loads(told.read_text())
    return Site(folder, found["seconds"], found["warnings"], shared / "site-home")


def _build(shared: Path, folder: Path) -> dict:
    from armillary import api
    from armillary.report.site import build, builder

    docs = shutil.copytree(builder.docs(), shared / "docs")
    (docs / "subjects").mkdir(exist_ok=True)
    (docs / "subjects" / "surveys.md").write_text(STORY)
    own = shared / "own_claim.py"
    original = (Path(__file__).parents[1] / "studies" / "descent.py").read_text()
    own.write_text(
        original.replace(
            "Gradient descent on a quadratic converges below twice the inverse curvature.", MARKUP
        )
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARMILLARY_HOME", str(shared / "site-home"))
        patch.setattr(builder, "docs", lambda: docs)
        api.record(own)
        shutil.rmtree(shared / "site-home" / "runs", ignore_errors=True)
        before = os.times()
        built = build(folder, [own])
        cpu = sum(os.times()[:4]) - sum(before[:4])  # a busy machine's clock says nothing of the build
    return {"seconds": cpu, "warnings": built.warnings}


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium, driven by Playwright."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.fail("no Chromium: apt-get install chromium (`make test` does)")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=list(CHROMIUM))
        yield opened
        opened.close()


@pytest.fixture
def page(browser):
    """An empty page, which must neither complain in the console nor ask another host for anything."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(20_000)
    complaints, requests = [], []
    opened.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    opened.on("pageerror", lambda e: complaints.append(str(e)))
    opened.on("request", lambda r: requests.append(r.url))
    opened.requests = requests
    yield opened
    context.close()
    assert complaints == []
    assert [u for u in requests if not u.startswith(("file:", "data:", "about:", "blob:"))] == []
