"""Each gate of `make check` fails on what it is there to stop."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def run(*command, cwd=ROOT, text=""):
    done = subprocess.run(
        [BIN / command[0], *command[1:]], cwd=cwd, input=text.encode(), capture_output=True, check=False
    )
    return done.returncode, (done.stdout + done.stderr).decode()


@pytest.mark.parametrize(
    ("file", "source", "rule"),
    [
        ("edge_runtime/x.py", "import os\n", "F401"),
        ("edge_runtime/x.py", '"""A."""\n\nprint("x")\n', "T201"),
        ("edge_runtime/x.py", '"""A."""\n\ntry:\n    pass\nexcept Exception:\n    pass\n', "BLE001"),
    ],
)
def test_the_linter_refuses(file, source, rule):
    code, said = run("ruff", "check", "--stdin-filename", file, "-", text=source)
    assert code == 1 and rule in said


def test_the_formatter_refuses():
    code, _ = run("ruff", "format", "--check", "--stdin-filename", "edge_runtime/x.py", "-", text="x = { 'a':1 }\n")
    assert code == 1


def test_the_type_checker_refuses_a_function_without_types(tmp_path):
    (tmp_path / "untyped.py").write_text("def f(x):\n    return x\n")
    config = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(tmp_path / "cache")]
    code, said = run("mypy", *config, str(tmp_path / "untyped.py"))
    assert code == 1 and "no-untyped-def" in said


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("edge_runtime/domain.py", "import edge_runtime.cli"),
        ("edge_runtime/receive/server.py", "import edge_runtime.report.sr"),
        ("edge_runtime/compose.py", "import torch"),
        ("edge_runtime/receive/pdu.py", "import numpy"),
    ],
)
def test_the_import_contract_refuses(tmp_path, file, line):
    for package in ("edge_runtime", "converters", "benchmarks"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / file).open("a") as source:
        source.write(f"\n{line}\n")
    code, said = run("lint-imports", "--no-cache", cwd=tmp_path)
    assert code == 1 and "BROKEN" in said


def test_a_warning_fails_a_test(tmp_path):
    (tmp_path / "test_canary.py").write_text("import warnings\n\n\ndef test_it():\n    warnings.warn('canary')\n")
    code, said = run("pytest", "-q", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path), str(tmp_path))
    assert code == 1 and "canary" in said
