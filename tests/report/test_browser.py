"""The site as a person meets it: opened from its folder in Chromium."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from armillary.lab import catalogue

from .conftest import MARKUP

ROWS = catalogue.rows()


def shown(page) -> list[str]:
    return page.eval_on_selector_all("#cards > li:not([hidden])", "cards => cards.map(c => c.dataset.slug)")


def test_search_as_one_types(page, site):
    page.goto(site.url("index.html"))
    assert len(shown(page)) == len(ROWS) + 1
    page.get_by_role("searchbox", name="Search").press_sequentially("Linear ATTENTION optim")
    found = shown(page)
    assert "one-step-gd" in found
    for slug in found:
        row = ROWS[slug]
        text = page.locator(f"[data-slug={slug}]").get_attribute("data-m") or ""
        assert all(
            w in f"{row.title} {row.claim} {slug} {text}".lower() for w in ("linear", "attention", "optim")
        )
    assert page.locator("#shown").inner_text() == str(len(found))
    page.locator("[name=q]").fill("m_coherence")  # a method's name
    assert "gradient-coherence" in shown(page)
    page.locator("[name=q]").fill("no such paper anywhere")
    assert shown(page) == []
    assert page.locator(".arm-none").is_visible()
    page.locator(".arm-none button").click()
    assert len(shown(page)) == len(ROWS) + 1


def test_filters_combine_and_live_in_the_address(page, site):
    page.goto(site.url("index.html"))
    page.locator("[name=subject]").select_option("dynamics")
    page.locator("[name=year]").select_option("2023")
    of_both = {r.slug for r in ROWS.values() if r.subject == "dynamics" and r.year == 2023}
    assert set(shown(page)) == of_both
    page.locator("[name=verdict][value=planned]").check()
    assert set(shown(page)) == {s for s in of_both if ROWS[s].status == "planned"}
    page.locator("[name=sort]").select_option("title")
    address = page.url
    assert "subject=dynamics" in address
    assert "verdict=planned" in address
    before = shown(page)
    assert before == sorted(before, key=lambda s: ROWS[s].title.lower())
    page.goto("about:blank")
    page.goto(address)
    assert shown(page) == before
    assert page.locator("[name=subject]").input_value() == "dynamics"
    page.locator(".arm-filters [type=reset]").click()
    assert len(shown(page)) == len(ROWS) + 1
    assert "subject" not in page.url
    page.goto(site.url("index.html#tag=sgd"))
    assert set(shown(page)) == {r.slug for r in ROWS.values() if "sgd" in r.tags}


def test_order(page, site):
    page.goto(site.url("index.html#sort=year"))
    years = page.eval_on_selector_all("#cards > li", "cards => cards.map(c => Number(c.dataset.y))")
    assert years == sorted(years, reverse=True)
    page.goto(site.url("index.html"))
    page.reload()
    dates = page.eval_on_selector_all("#cards > li", "cards => cards.map(c => c.dataset.d)")
    assert dates == sorted(dates, reverse=True)
    assert dates[0]


def test_keyboard_alone_finds_and_opens_a_paper(page, site):
    page.goto(site.url("index.html"))
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "q":
            break
    assert page.evaluate("document.activeElement.name") == "q"
    page.keyboard.type("perceptron")
    first, *rest = shown(page)
    page.keyboard.press("ArrowDown")
    focused = "document.activeElement.closest('li').dataset.slug"
    assert page.evaluate(focused) == first
    if rest:
        page.keyboard.press("ArrowDown")
        assert page.evaluate(focused) == rest[0]
        page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.name") == "q"
    page.keyboard.press("Escape")
    assert len(shown(page)) == len(ROWS) + 1
    page.keyboard.type("logistic-to-perceptron")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/papers/logistic-to-perceptron.html")


def test_the_search_of_the_whole_site_works_from_a_folder(page, site):
    page.goto(site.url("guides/verdicts.html"))
    assert not any("search_index" in url for url in page.requests)  # loaded when it is first needed
    page.locator(".md-search__input").click()
    page.keyboard.type("lanczos", delay=30)
    page.locator(".md-search-result__item a").first.wait_for()
    found = page.eval_on_selector_all(".md-search-result__item a", "links => links.map(a => a.href)")
    assert any("api/measure.html" in link for link in found)


def test_from_a_server_the_index_of_the_search_waits_until_it_is_needed(browser, site):
    handler = partial(SimpleHTTPRequestHandler, directory=str(site.path))
    handler.log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        context = browser.new_context()
        page = context.new_page()
        requests = []
        page.on("request", lambda r: requests.append(r.url))
        page.goto(f"http://127.0.0.1:{server.server_port}/index.html", wait_until="networkidle")
        assert not any("search_index" in url for url in requests)
        page.locator(".md-search__input").click()
        page.keyboard.type("lanczos", delay=30)
        page.locator(".md-search-result__item a").first.wait_for()
        assert all(url.startswith(f"http://127.0.0.1:{server.server_port}/") for url in requests)
        context.close()
        server.shutdown()


def test_a_title_with_markup_shows_as_text(page, site):
    page.goto(site.url("papers/own-claim.html"))
    assert page.locator("h1").inner_text() == MARKUP
    assert page.title() == f"{MARKUP} - armillary"
    page.goto(site.url("index.html#q=own-claim"))
    assert page.locator("[data-slug=own-claim] a").inner_text() == MARKUP
    assert page.locator("#cards b").count() == 0


def test_the_catalogue_is_light_and_fast(page, site):
    weights = {}

    def weigh(url):
        path = Path(unquote(urlparse(url).path))
        if url.startswith("file:") and "/figures/" not in url:
            weights[path.name] = path.stat().st_size

    page.on("request", lambda r: weigh(r.url))
    times = []
    for _ in range(3):
        page.goto(site.url("index.html"), wait_until="load")
        end = "performance.getEntriesByType('navigation')[0].loadEventEnd"
        page.wait_for_function(f"{end} > 0")
        times.append(page.evaluate(end))
    assert sum(weights.values()) < 700_000, weights
    assert min(times) < 1000, times
    assert page.eval_on_selector_all("#cards img:not([loading=lazy])", "all => all.length") == 0


def test_copy_buttons_stand_by_the_commands(page, site):
    page.goto(site.url("papers/one-step-gd.html"))
    commands = page.locator(".arm-commands pre")
    assert commands.count() == 3
    assert page.locator(".arm-commands .md-code__button").count() == 3


def test_without_scripts_the_catalogue_and_a_paper_can_be_read(browser, site):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site.url("index.html"))
    assert page.locator("#cards > li").count() == len(ROWS) + 1
    assert page.locator(".arm-filters").is_hidden()
    assert page.locator(".arm-catalogue noscript").is_visible()
    page.locator("[data-slug=one-step-gd] a").click()
    page.wait_for_url("**/papers/one-step-gd.html")
    assert page.locator(".arm-figure img").is_visible()
    assert page.locator(".arm-check").first.is_visible()
    context.close()


def test_nothing_moves_for_who_asks_for_less_motion(browser, site):
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    seconds = """names => [...document.querySelectorAll("*")].flatMap(element => {
        const style = getComputedStyle(element)
        return names.flatMap(name => style[name].split(",").map(parseFloat)) })"""
    for name in ("index.html", "papers/one-step-gd.html"):
        page.goto(site.url(name))
        found = page.evaluate(seconds, ["transitionDuration", "animationDuration"])
        assert max(found) < 0.01
        assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    context.close()


PAGES = (
    "index.html", "papers/one-step-gd.html", "papers/own-claim.html", "papers/niw-meta.html", "subjects/index.html",
    "subjects/in_context.html", "subjects/dynamics.html", "nucleus/index.html", "nucleus/landscaping-lmc.html", "guides/verdicts.html",
    "api/losses.html", "news.html",
)  # fmt: skip


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_contrast_alternative_texts_and_the_rest_of_wcag(browser, site, scheme, width):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text()
    rules = "{resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa']}"
    broken = []
    for name in PAGES:
        page.goto(site.url(name))
        page.add_style_tag(content="#cards li { content-visibility: visible !important }")
        page.evaluate(axe)
        for rule in page.evaluate(f"axe.run(document, {rules})")["violations"]:
            broken += [(name, rule["id"], node["html"][:120]) for node in rule["nodes"][:3]]
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{name} is {wide} wide on a screen of {width}"
    context.close()
    assert broken == []
