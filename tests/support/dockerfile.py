"""What is wrong with a Dockerfile, as far as that can be seen without building it."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

from dockerfile_parse import DockerfileParser

INSTRUCTIONS = {
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "ONBUILD", "RUN",
    "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
}  # fmt: skip
_VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)")


def problems(text: str, ignore: str, root: Path) -> list[str]:
    """What a build, or a careful reader, would refuse. `ignore` is the .dockerignore; `root` the build context."""
    steps = [(s["instruction"], s["value"]) for s in DockerfileParser(fileobj=io.BytesIO(text.encode())).structure]
    steps = [(name, value) for name, value in steps if name != "COMMENT"]
    found = [f"unknown instruction {name}" for name, _ in steps if name not in INSTRUCTIONS]
    found += _undeclared(steps) + _copies(steps, ignore, root)
    last = dict(steps[_last_stage(steps) :])
    if last.get("USER", "root").split(":")[0] in ("root", "0"):
        found.append("the image runs as root")
    for name in ("HEALTHCHECK", "EXPOSE", "STOPSIGNAL", "VOLUME", "ENTRYPOINT"):
        if name not in last:
            found.append(f"no {name}")
    for name in ("ENTRYPOINT", "CMD"):
        if name in last and not _is_exec_form(last[name]):
            found.append(f"{name} starts a shell, which keeps signals to itself")
    if "HEALTHCHECK" in last and not _is_exec_form(last["HEALTHCHECK"].partition("CMD")[2]):
        found.append("HEALTHCHECK starts a shell")
    return found


def _last_stage(steps: list[tuple[str, str]]) -> int:
    return max(i for i, (name, _) in enumerate(steps) if name == "FROM")


def _is_exec_form(value: str) -> bool:
    try:
        words = json.loads(value)
    except ValueError:
        return False
    return isinstance(words, list) and all(isinstance(word, str) for word in words)


def _undeclared(steps: list[tuple[str, str]]) -> list[str]:
    """Variables that no ARG or ENV of the stage declares; FROM sees only the ARGs before the first FROM."""
    found: list[str] = []
    before_from: set[str] = set()
    declared: set[str] | None = None
    for name, value in steps:
        if name == "FROM":
            found += [f"FROM uses undeclared {v}" for v in _VARIABLE.findall(value) if v not in before_from]
            declared = {"PATH"}
        elif name == "ARG" and declared is None:
            before_from.add(value.partition("=")[0])
        elif name != "HEALTHCHECK":
            known = declared if declared is not None else before_from
            found += [f"{name} uses undeclared {v}" for v in _VARIABLE.findall(value) if v not in known]
            if name == "ARG":
                known.add(value.partition("=")[0])
            if name == "ENV":
                known.update(re.findall(r"(\w+)=", value))
    return found


def _copies(steps: list[tuple[str, str]], ignore: str, root: Path) -> list[str]:
    found: list[str] = []
    stages = {value.split()[-1] for name, value in steps if name == "FROM" and " AS " in value.upper()}
    for value in (value for name, value in steps if name in ("COPY", "ADD")):
        words = value.split()
        origin = next((w.partition("=")[2] for w in words if w.startswith("--from=")), None)
        if origin is not None:
            found += [] if origin in stages else [f"COPY from the unknown stage {origin}"]
            continue
        for word in [w for w in words if not w.startswith("--")][:-1]:
            path = root / word
            inside = [path, *path.rglob("*.py")] if path.is_dir() else [path]
            if not path.exists():
                found.append(f"COPY of {word}, which does not exist")
            found += [
                f"COPY of {p.relative_to(root)}, which .dockerignore leaves out"
                for p in inside
                if is_ignored(p.relative_to(root).as_posix(), ignore)
            ]
    return found


def is_ignored(path: str, ignore: str) -> bool:
    """Whether a .dockerignore leaves a path out: the last line that matches it, or a folder above it, decides."""
    parts = path.split("/")
    prefixes = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    ignored = False
    for line in (line.strip() for line in ignore.splitlines()):
        if line and not line.startswith("#"):
            pattern = _regex(line.lstrip("!").strip("/"))
            if any(pattern.fullmatch(prefix) for prefix in prefixes):
                ignored = not line.startswith("!")
    return ignored


def _regex(pattern: str) -> re.Pattern[str]:
    tokens = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(tokens.get(t, re.escape(t)) for t in re.split(r"(\*\*/|\*\*|\*|\?)", pattern)))
