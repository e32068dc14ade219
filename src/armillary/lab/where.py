"""`--where`: which rows of the store, as a SQL expression over its columns.

SQL may also read files (`study IN (SELECT … FROM read_csv(…))`), so only columns, literals, operators and a list of
harmless functions are let through, before anything is parsed. Nothing is ever evaluated as Python.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from armillary.lab.errors import InputError, nearest

if TYPE_CHECKING:
    import polars as pl

_FUNCTIONS, _KEYWORDS = (
    frozenset(words.split())
    for words in (
        """
        abs ceil floor round sqrt exp ln log log2 log10 log1p pow power sign mod least greatest coalesce
        nullif if ifnull lower upper length char_length octet_length left right replace starts_with ends_with
        strpos reverse trim ltrim rtrim concat array_length array_mean array_sum array_min array_max array_get
        array_contains cast try_cast date isnan
        """,
        """
        and or not in like ilike rlike regexp between is null true false case when then else end div as
        varchar text string float double real int integer bigint boolean escape distinct
        """,
    )
)
_TOKENS = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--|/\*|[^\W\d]\w*|\d[\w.]*(?:e[+-]?\d+)?|\S""", re.IGNORECASE
)
_REFUSED = {*";$`@#\\{}'\"", "--", "/*"}
"""What has no place in an expression on columns, or could hide a piece of it from this reading: a comment, an escape,
a quotation mark without its partner."""
MAX_LENGTH = 4000
MAX_JOINS = 100
"""A chain of some 500 `||` overflows the parser's stack, which ends the process."""


def names(expression: str) -> list[str]:
    """The columns that an expression speaks of.

    **Raises:** `InputError` naming what is not allowed.
    """
    if len(expression) > MAX_LENGTH:
        raise InputError(f"--where: {len(expression)} characters; expected at most {MAX_LENGTH}")
    if expression.count("||") > MAX_JOINS:
        raise InputError(f"--where: more than {MAX_JOINS} texts joined by ||")
    tokens = _TOKENS.findall(expression)
    found: dict[str, None] = {}
    for token, following in zip(tokens, [*tokens[1:], ""]):
        quoted = token[0] == '"' and len(token) > 1
        if token in _REFUSED:
            raise InputError(f"--where: {token!r} has no place in an expression on columns")
        if not (quoted or token[0].isalpha() or token[0] == "_"):
            continue
        name = token[1:-1].replace('""', '"') if quoted else token
        known = not quoted and name.lower() in _FUNCTIONS | _KEYWORDS
        if following == "(" and not known:
            raise InputError(
                f"--where: function {name!r} is not allowed; {nearest(name.lower(), sorted(_FUNCTIONS))}"
            )
        if not known:
            found[name] = None
    return list(found)


def where(table: "pl.DataFrame", expression: str, columns: Iterable[str] | None = None) -> "pl.DataFrame":
    """The rows for which a SQL expression over the columns holds.

    **Arguments:**

    - `columns`: the names that may stand in it; by default the table's.

    **Raises:** `InputError` naming what is not understood.
    """
    import polars as pl

    there = list(table.columns if columns is None else columns)
    for name in names(expression):
        if name not in there:
            raise InputError(f"--where: no column {name!r}; {nearest(name, there, what='columns')}")
    try:
        return table.filter(pl.sql_expr(expression))
    except (Exception, pl.exceptions.PanicException) as error:
        raise InputError(f"--where {expression!r}: {(str(error).splitlines() or ['?'])[0]}") from None
