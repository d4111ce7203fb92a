"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]], indent: str = "  ") -> list[str]:
    """Lines with aligned columns: to the left, and to the right where every cell of a column begins with a digit.

    What is not printable in a cell becomes `?`: names come from files.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    columns = list(zip(header, *rows, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]
    numbers = [bool(rows) and all(cell[:1] in "0123456789-+" for cell in column[1:]) for column in columns]
    lines = []
    for row in (header, *rows):
        cells = [c.rjust(w) if n else c.ljust(w) for c, w, n in zip(row, widths, numbers, strict=True)]
        lines.append((indent + "  ".join(cells)).rstrip())
    return lines


def printable(text: str) -> str:
    """The text with `?` for each character that steers a terminal instead of being shown."""
    return "".join(c if c.isprintable() else "?" for c in text)


def size(count: int) -> str:
    """Bytes for a reader: `812 B`, `45.1 kB`, `46.8 MB` (powers of 1000)."""
    if count < 1000:
        return f"{count} B"
    if count < 1_000_000:
        return f"{count / 1000:.1f} kB"
    return f"{count / 1_000_000:.1f} MB"
