"""MkDocs hooks: formulas become MathML, which browsers draw without a script or a font of ours; the search has a name."""

import html
import re
from typing import Any

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)

_TABLE = re.compile(r"<table>(.*?)</table>", re.DOTALL)


_ANCHOR = re.compile(r'<span id="(armillary\.[\w.]+)"></span>')


def on_page_content(content: str, *, page: Any, config: Any, **_: Any) -> str:
    """Formulas become MathML. They and tables scroll where they are too wide, with the keyboard too.

    The anchors of methods whose modules bear the same name become known to cross-references.
    """
    from latex2mathml.converter import convert

    for name in _ANCHOR.findall(content):
        config.plugins["autorefs"].register_anchor(page, name, primary=True)

    def replace(match: re.Match[str]) -> str:
        block = match[2] == "["
        formula = convert(html.unescape(match[3]).strip(), display="block" if block else "inline")
        return f'<div class="arm-formula" tabindex="0">{formula}</div>' if block else formula

    content = _FORMULA.sub(replace, content)
    return _TABLE.sub(
        r'<div class="arm-scroll" tabindex="0"><table class="arm-table">\1</table></div>', content
    )


def on_post_page(output: str, **_: Any) -> str:
    """Tell screen readers what the theme's search dialog is."""
    return output.replace(
        'data-md-component="search" role="dialog"',
        'data-md-component="search" role="dialog" aria-label="Search"',
    )
