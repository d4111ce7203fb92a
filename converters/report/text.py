"""Names and numbers as a report shows them."""

from __future__ import annotations

import re
from pathlib import Path

from converters.text_table import printable

_PUNCTUATION = re.compile(r"[\\`*\[\]<>|~&#$]|(?<!\w)_|_(?!\w)|!(?=\[)")
_PATH = re.compile(r"(?<![^\s'\"(=,:])(?:~[\w.-]*)?/?(?:[^\s/'\"()=,:]+/)+[^\s/'\"()=,:]*")


def escape(text: str) -> str:
    """Text in Markdown that is nothing but text: no markup, no HTML, no line of a table, no control character."""
    return _PUNCTUATION.sub(lambda found: "\\" + found[0], printable(text))


def code(text: str) -> str:
    """Text as a code span, of a table's cell too."""
    found = printable(text).replace("|", "\\|")
    longest = max((len(ticks) for ticks in re.findall("`+", found)), default=0)
    fence = "`" * (longest + 1)
    space = " " if longest else ""
    return f"{fence}{space}{found or ' '}{space}{fence}"


def without_folders(text: str) -> str:
    """Paths of this machine as file names: a report is passed on. Names in a network, such as `/model/conv`, stay."""
    return _PATH.sub(lambda found: _file_name(found[0]), text)


def argument(text: str) -> str:
    """An argument of a command, such as `--key=/home/x/y.pem`, with the path in it as a file name."""
    option, equals, value = text.partition("=") if text.startswith("--") else ("", "", text)
    return f"{option}{equals}{_file_name(value)}" if "/" in value else text


def _file_name(path: str) -> str:
    """The name alone where the path is one of this machine: its first folder exists."""
    place = Path(path)
    first = Path(*place.parts[: 1 + place.is_absolute()])
    return place.name if path[0] in "~." or first.exists() else path


def number(value: float) -> str:
    """Four significant digits at most."""
    return f"{value:.4g}"


def milliseconds(seconds: float | None) -> str:
    """Seconds as milliseconds, without the unit; a dash where there is no figure."""
    if seconds is None:
        return "-"
    return f"{1000 * seconds:.3g}" if seconds < 0.9995 else f"{1000 * seconds:,.0f}"


def shortened(text: str, most: int) -> str:
    """With what is too much taken from the middle: the ends of a layer's name tell it from others."""
    if len(text) <= most:
        return text
    head = (most - 3) // 2
    return text[:head] + "..." + text[len(text) - (most - 3 - head) :]


def plain(text: str, most: int) -> str:
    """Text for a plot: letters that every font has, and not too many."""
    return shortened(printable(text).encode("ascii", "backslashreplace").decode("ascii"), most)
