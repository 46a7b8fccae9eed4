"""The layers of the package: each imports only from those below it."""

import ast
import graphlib
from pathlib import Path

import colorjax

ROOT = Path(colorjax.__file__).parent
FLOORS = (
    {"lab", "damage", "terminal", "__version__"},
    {"files", "models", "parallel"},
    {"images", "display"},
    {"data", "runs", "evaluation"},
    {"report", "colorize", "export"},
    {"training", "serve"},
    {"commands"},
    {"main", "cli", "benchmark"},
    {"__init__"},
)
FORBIDDEN = {
    "data": {"models", "parallel"},
    **{key: {"training", "evaluation", "data"} for key in ("colorize", "export", "serve")},
    "evaluation": {"training", "report"},
}


def _floor(package):
    return next(number for number, floor in enumerate(FLOORS) if package in floor)


def _imported(path):
    """The names below colorjax that a file imports, at its top or in a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name.split(".")[1:] for name in names if name.split(".")[0] == "colorjax")


def _module(parts):
    """The file of an imported name: a module, a package, or the file that defines it."""
    for path in (ROOT.joinpath(*parts), ROOT.joinpath(*parts[:-1])):
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.exists():
                return file
    raise AssertionError(f"colorjax.{'.'.join(parts)} is not defined in the package")


def test_a_package_imports_only_from_floors_below_its_own():
    wrong = []
    for path in sorted(ROOT.rglob("*.py")):
        package = path.relative_to(ROOT).parts[0].removesuffix(".py")
        for names in _imported(path) if package not in ("__init__", "cli") else ():
            other = names[0] if names else "__init__"
            allowed = other == package or (
                _floor(other) < _floor(package) and other not in FORBIDDEN.get(package, ())
            )
            if not allowed:
                wrong.append(f"{path.relative_to(ROOT)} imports {other}")
    assert not wrong


def test_no_modules_import_each_other_in_a_circle():
    imports = {path: set(map(_module, _imported(path))) - {path} for path in ROOT.rglob("*.py")}
    graphlib.TopologicalSorter(imports).prepare()
