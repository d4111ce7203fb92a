"""Makes the trees of /sys that stand beside their tests as text."""

from __future__ import annotations

from pathlib import Path

TREES = Path(__file__).parents[1] / "unit/telemetry/gpu/trees"


def plant(name: str, root: Path) -> Path:
    """The tree `name` under `root`. A file that answers with an error is a folder: reading it raises OSError."""
    for line in (TREES / f"{name}.txt").read_text().splitlines():
        path, sign, text = line.partition(" -> ") if " -> " in line else line.partition(" = ")
        target = root / path.removesuffix(" !")
        target.parent.mkdir(parents=True, exist_ok=True)
        if sign == " -> ":
            target.symlink_to(text)
        elif sign == " = ":
            target.write_text(f"{text}\n")
        else:
            target.mkdir()
    return root
