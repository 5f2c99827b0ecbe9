"""The house rules that a reader relies on: the import order, what `import stepmark` costs, what a package shows."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import stepmark

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "stepmark"
# fmt: off
ORDER = [
    "types", "errors", "records", "steps", "precision", "grading", "problems", "engine", "policies", "rewards",
    "formats", "labels", "budget", "search", "learn", "evaluate", "loop", "report", "serve", "cli",
]
# fmt: on
"""A module imports only from what stands before it here, and from its own folder."""
MODULES = sorted(SOURCE.rglob("*.py"))
PACKAGES = sorted(path for path in SOURCE.rglob("__init__.py") if path.parent != SOURCE)


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import in a file, those within functions and `if TYPE_CHECKING` too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute, so that this test can follow them"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def test_every_part_has_its_place_in_the_order() -> None:
    parts = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in MODULES} - {"__init__"}
    assert parts <= set(ORDER)


def test_imports_go_up_the_order_only() -> None:
    """So there are no cycles, and the lower parts can be read, tested and used without the higher ones."""
    wrong = []
    for path in MODULES:
        own = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        for line, name in imported(path):
            assert not name.startswith("recipes"), f"{path}:{line}: recipes use stepmark, not the other way round"
            if not name.startswith("stepmark.") or own == "__init__" or name == "stepmark.__version__":
                continue
            part = name.split(".")[1]
            if part != own and ORDER.index(part) > ORDER.index(own):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("command", ["import stepmark", "from stepmark.cli import main; main(['--help'])"])
def test_torch_waits_until_it_is_needed(command: str) -> None:
    """torch takes seconds to import: neither the package nor its help may."""
    heavy = "{'torch', 'transformers', 'numpy', 'sympy', 'altair', 'rich', 'tyro'}"
    script = f"import sys; {command}; assert not {heavy} & sys.modules.keys(), {heavy} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


@pytest.mark.parametrize("path", PACKAGES, ids=dotted)
def test_all_is_what_a_package_shows(path: Path) -> None:
    """A package's `__init__` is its index: `__all__` names what it defines or takes from its own modules, no more."""
    name = dotted(path)
    visible = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            own = f"{node.module}.".startswith(f"{name}.")
            visible |= {alias.asname or alias.name for alias in node.names if own}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            visible.add(node.name)
        elif isinstance(node, ast.Assign):
            visible |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            visible.add(node.target.id)
    package = importlib.import_module(name)
    assert sorted(getattr(package, "__all__", [])) == sorted(shown for shown in visible if not shown.startswith("_"))
    assert all(hasattr(package, shown) for shown in visible)


def test_a_wheel_holds_the_whole_package(tmp_path: Path) -> None:
    """Modules, the typing marker, and the data that `stepmark demo` needs from an installation: model, templates."""
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    listing = [sys.executable, "-m", "zipfile", "--list", str(next(tmp_path.glob("*.whl")))]
    packed = subprocess.run(listing, check=True, capture_output=True, text=True).stdout
    names = {line.split()[0] for line in packed.splitlines()[1:]}
    files = {
        path.relative_to(SOURCE.parent).as_posix()
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files <= names, files - names
    assert f"stepmark-{stepmark.__version__}.dist-info/licenses/LICENSE" in names
