"""The tree is the architecture: groups, folders, packages and imports agree with each other."""

import ast
from pathlib import Path

import dlreg
from dlreg.config.options import conf_dir, options
from dlreg.config.schema import GROUPS

PACKAGE = Path(dlreg.__file__).parent
TECHNIQUES = (
    "init",
    "norm",
    "optimizer",
    "schedule",
    "loss",
    "attack",
    "pretrain",
    "reg",
    "aug",
    "model",
    "data",
    "log",
)
WINGS = ("commands", "landscape", "study", "report", "run", "config")  # from the top down: arrows point down
FRONT = ("cli", "api", "__init__", "__main__")  # who calls dlreg: the shell and Python; nothing of the house calls them
SEAMS = {
    ("reg", "model"),
    ("reg", "data"),
    ("reg", "attack"),
    ("aug", "reg"),
    ("pretrain", "model"),
    ("pretrain", "reg"),
    ("aug", "model"),
}  # the only roads between technique packages
BASES = {
    "data": ("base", "normalize", "task"),
    "reg": ("base",),
    "schedule": ("base",),
}  # all that config and the loop know


def imports(path):
    """Every `dlreg.` module that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("dlreg."))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "dlreg":
            for alias in node.names:
                inner = PACKAGE.joinpath(*node.module.split(".")[1:], alias.name)
                is_module = inner.is_dir() or inner.with_suffix(".py").is_file()
                yield f"{node.module}.{alias.name}" if is_module else node.module


def places():
    """`(file, wing or package or root module, imported names split at the dots)` of the whole package."""
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if place not in FRONT:
            yield path, place, [name.split(".")[1:] for name in imports(path) if name != "dlreg"]


def test_group_is_folder_is_package():
    folders = {p.name for p in conf_dir().iterdir() if p.is_dir()} - {"hydra", "study"}
    assert folders == set(GROUPS) == set(TECHNIQUES)
    for group in GROUPS:
        assert (PACKAGE / group / "__init__.py").is_file()
        assert options(group), f"conf/{group} is empty"


def test_the_house_has_few_doors():
    root = [p.name for p in PACKAGE.glob("*.py")]
    assert len(root) <= 14, root
    packages = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert packages == {*WINGS, *TECHNIQUES}


def test_wings_import_downward_only():
    for path, place, names in places():
        if place in WINGS:
            for name in names:
                if name[0] in WINGS:
                    assert WINGS.index(name[0]) >= WINGS.index(place), f"{path} imports {'.'.join(name)}"
        elif place not in TECHNIQUES:
            assert not {name[0] for name in names} & {*WINGS, *TECHNIQUES}, f"{path} of the root imports {names}"


def test_technique_packages_import_downward_only():
    for path, place, names in places():
        if place in TECHNIQUES:
            for name in names:
                assert name[0] not in WINGS, f"{path} imports {'.'.join(name)}"
                if name[0] in TECHNIQUES and name[0] != place:
                    assert (place, name[0]) in SEAMS, f"{path} imports {'.'.join(name)}"


def test_no_circles():
    """Not even inside a wing, and not behind a function: what is imported late to break a circle is one."""
    graph = {}
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        graph[name] = {n.removeprefix("dlreg.") for n in imports(path)} - {name}
    done, open_ = set(), []

    def visit(name):
        assert name not in open_, " -> ".join([*open_[open_.index(name) :], name])
        if name not in done:
            open_.append(name)
            for other in graph.get(name, ()):
                visit(other)
            open_.pop()
            done.add(name)

    for name in graph:
        visit(name)


def test_nobody_calls_the_front():
    for path, _, names in places():
        assert not {name[0] for name in names} & {*FRONT}, path


def test_the_loop_knows_no_technique():
    for file in ("loop.py", "step.py", "batches.py"):
        for name in imports(PACKAGE / "run" / file):
            parts = name.split(".")[1:]
            if parts and parts[0] in TECHNIQUES:
                assert parts[1] in BASES.get(parts[0], ()), name


def test_only_build_instantiates():
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert "hydra.utils" not in text, path
        if path.name not in ("build.py", "cli.py"):
            assert "import_module" not in text, path


def test_files_stay_small_and_say_what_they_are_for():
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert len(text.splitlines()) <= 250, path
        assert text.startswith('"""'), f"{path} does not say what it is for"


def test_parameter_lists_stay_short():
    """Five at most where dlreg calls itself; a technique's keyword-only hyperparameters are the user's."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                given = [*node.args.posonlyargs, *node.args.args]
                if path.parent.name not in TECHNIQUES:
                    given += node.args.kwonlyargs
                names = [a.arg for a in given if a.arg not in ("self", "cls")]
                assert len(names) <= 5, f"{path}: {node.name}({', '.join(names)})"
