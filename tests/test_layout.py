"""The tree is the architecture: groups, folders, packages and imports agree with each other."""

import ast
from pathlib import Path

import dlreg
from dlreg.config.build import GROUPS, conf_dir
from dlreg.config.compose import options

PACKAGE = Path(dlreg.__file__).parent
TECHNIQUES = ("init", "norm", "optimizer", "schedule", "reg", "aug", "model", "data")
SEAMS = {
    ("reg", "model"),
    ("reg", "data"),
    ("aug", "reg"),
    ("aug", "model"),
}  # the only roads between technique packages
UPPER = ("run", "study", "report", "config", "commands", "cli", "ui")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_group_is_folder_is_package():
    folders = {p.name for p in conf_dir().iterdir() if p.is_dir()} - {"hydra", "study"}
    assert folders == set(GROUPS) == set(TECHNIQUES)
    for group in GROUPS:
        assert (PACKAGE / group / "__init__.py").is_file()
        assert options(group), f"conf/{group} is empty"


def test_technique_packages_import_downward_only():
    for package in TECHNIQUES:
        for path in (PACKAGE / package).rglob("*.py"):
            for name in imports(path):
                parts = name.split(".")
                if parts[0] != "dlreg" or len(parts) < 2 or parts[1] == package:
                    continue
                assert parts[1] not in UPPER, f"{path.name} imports {name}"
                if parts[1] in TECHNIQUES:
                    assert (package, parts[1]) in SEAMS, f"{path.name} imports {name}"


def test_train_knows_no_technique():
    for name in imports(PACKAGE / "run" / "loop.py"):
        parts = name.split(".")
        if parts[0] == "dlreg" and len(parts) > 1 and parts[1] in TECHNIQUES:
            assert parts[1:3] in (["data", "base"], ["data", "normalize"], ["reg", "base"]), name


def test_only_build_instantiates():
    for path in PACKAGE.rglob("*.py"):
        assert not any("instantiate" in name for name in imports(path)), path
        if path.name != "build.py":
            assert "importlib.import_module" not in path.read_text(), path


def test_files_stay_small():
    long = {p.name: n for p in PACKAGE.rglob("*.py") if (n := len(p.read_text().splitlines())) > 400}
    assert not long
