"""The house as it is drawn: imports point down, libraries stay behind their fences, the pure floors do nothing but compute.

Every check is a function from a module's text to its faults, and each is tried on a made-up bad module: a check that cannot
fail is worth nothing.
"""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "omicard_relay"

#: Floor by floor, from the ground; neighbours on one floor do not know each other.
FLOORS = [
    {"mail"},
    {"tables", "wire"},
    {"steering", "scrub", "bounce", "classify", "signing"},
    {"store"},
    {"services"},
    {"cli"},
]
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}
PURE = {"mail", "wire", *FLOORS[2]}

#: Library -> the only part of the package that may import it.
FENCES = {
    "sqlalchemy": "store",
    "alembic": "store",
    "sqlite3": "store",
    "asyncio": "services",
    "aiosmtpd": "services",
    "aiosmtplib": "services",
    "uvloop": "services",
    "click": "cli",
    "rich": "cli",
    "tomllib": "tables",
}
#: The laboratory is a program of its own, with its own servers; it knows no SQL and reads no tables by itself.
LAB_FENCES = {"sqlalchemy", "alembic", "sqlite3", "click", "tomllib"}

#: Modules whose only use is the clock, chance, the outside, or telling it.
IMPURE = {"time", "random", "secrets", "os", "socket", "subprocess", "shutil", "tempfile", "logging", "sys"}
#: What is allowed all the same, and why.
EXCUSED = {("omicard_relay/bounce/readers/flufl.py", "logging"): "it silences a library that logs by itself"}
#: Calls of these names reach the clock or the disk, whatever they are called on.
IMPURE_METHODS = {
    "now", "utcnow", "today", "localtime",
    "open", "read_text", "read_bytes", "write_text", "write_bytes", "exists", "is_file", "is_dir", "iterdir", "glob",
    "rglob", "stat", "mkdir", "unlink", "touch", "cwd", "home",
}  # fmt: skip
IMPURE_CALLS = {"open", "input", "print", "exec", "eval", "breakpoint", "__import__"}

LINE_LIMIT = 350


@dataclass(frozen=True)
class Module:
    """One module: its path below the checkout, and its text."""

    path: str
    text: str

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def part(self) -> str:
        """`store` for omicard_relay/store/engine.py; empty for what stands in the package itself."""
        parts = self.path.split("/")
        return parts[1] if len(parts) > 2 else ""


def imports(module: Module) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that is imported, at the top or late, also by name."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            # `from omicard_relay import store` imports a part, too.
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and _name(node.func).endswith("import_module") and node.args:
            yield node.lineno, _beginning(node.args[0])


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _beginning(node: ast.expr) -> str:
    """What is fixed at the start of a text."""
    if isinstance(node, ast.JoinedStr) and node.values:
        return _beginning(node.values[0])
    return str(node.value) if isinstance(node, ast.Constant) else "?"


# --- the checks -------------------------------------------------------------------------------------------------------


def upward(module: Module) -> list[str]:
    """Imports of the package that do not point down."""
    faults = []
    for line, name in imports(module):
        if name.startswith("."):
            faults.append(f"{module.path}:{line}: {name} is relative; write the full name")
        parts = name.split(".")
        if parts[0] in ("lab", "tests", "integration", "benchmarks"):
            faults.append(f"{module.path}:{line}: the package must not know {parts[0]}")
        if parts[0] != PACKAGE or len(parts) < 2 or parts[1] not in LEVEL or parts[1] == module.part:
            continue
        if not module.part and module.path.endswith("__main__.py"):
            continue  # the program's door
        if LEVEL[parts[1]] >= LEVEL.get(module.part, 0):
            faults.append(f"{module.path}:{line}: {module.part or PACKAGE} must not import {parts[1]}")
    return faults


def strays(module: Module) -> list[str]:
    """Parts of the package that stand on no floor."""
    known = module.part in LEVEL or (not module.part and Path(module.path).name in ("__init__.py", "__main__.py"))
    return [] if known else [f"{module.path}: stands on no floor"]


def fences(module: Module) -> list[str]:
    """Libraries outside of their fence."""
    return [
        f"{module.path}:{line}: {name.split('.')[0]} belongs in {FENCES[name.split('.')[0]]}/"
        for line, name in imports(module)
        if FENCES.get(name.split(".")[0], module.part) != module.part
    ]


def lab_fences(module: Module) -> list[str]:
    """Libraries that the laboratory has no use for, and parts of the package below the command line that know it."""
    return [
        f"{module.path}:{line}: {name.split('.')[0]} is not for the laboratory"
        for line, name in imports(module)
        if name.split(".")[0] in LAB_FENCES
    ]


def impure(module: Module) -> list[str]:
    """Clock, chance and the outside in a floor that only computes."""
    if module.part not in PURE:
        return []
    faults = [
        f"{module.path}:{line}: {name} in a floor that only computes"
        for line, name in imports(module)
        if name.split(".")[0] in IMPURE and (module.path, name.split(".")[0]) not in EXCUSED
    ]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            called = node.func.id if isinstance(node.func, ast.Name) else ""
            if method in IMPURE_METHODS or called in IMPURE_CALLS:
                faults.append(f"{module.path}:{node.lineno}: {method or called}() in a floor that only computes")
    return faults


def untidy(module: Module) -> list[str]:
    """No docstring, no `__all__`, a name in it that is not there, or too long."""
    if "/migrations/versions/" in module.path or module.path.endswith("/migrations/env.py"):
        return []  # Alembic runs them; nobody imports them
    faults = [] if ast.get_docstring(module.tree) else [f"{module.path}: has no docstring"]
    length = module.text.count("\n")
    if length > LINE_LIMIT:
        faults.append(f"{module.path}: has {length} lines, more than {LINE_LIMIT}; split it")
    exported, names = None, set()
    for node in module.tree.body:
        match node:
            case ast.Assign(targets=targets, value=value):
                names |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
                if any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets):
                    exported = ast.literal_eval(value)
            case ast.AnnAssign(target=ast.Name(id=name), value=value):
                names.add(name)
                if name == "__all__" and value is not None:
                    exported = ast.literal_eval(value)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names |= {alias.asname or alias.name for alias in aliases}
            case ast.If():
                names |= {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
    if exported is None:
        faults.append(f"{module.path}: has no __all__")
    elif unknown := set(exported) - names:
        faults.append(f"{module.path}: __all__ names what is not there: {', '.join(sorted(unknown))}")
    return faults


# --- the house --------------------------------------------------------------------------------------------------------


def modules(folder: str) -> list[Module]:
    return [
        Module(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]


OURS = modules(PACKAGE)
LAB = modules("lab")


def test_the_house_is_looked_at():
    assert len(OURS) > 100
    assert len(LAB) > 10
    assert {module.part for module in OURS} == {"", *LEVEL}


@pytest.mark.parametrize("check", [upward, strays, fences, impure, untidy], ids=lambda check: check.__name__)
def test_the_package_keeps_the_rules(check: Callable[[Module], list[str]]):
    assert [fault for module in OURS for fault in check(module)] == []


def test_every_excuse_is_needed():
    found = {(module.path, name.split(".")[0]) for module in OURS for _, name in imports(module)}
    assert set(EXCUSED) <= found


def test_the_laboratory_keeps_its_fences():
    assert [fault for module in LAB for fault in lab_fences(module)] == []


def test_the_laboratory_is_documented_too():
    assert [module.path for module in LAB if not ast.get_docstring(module.tree)] == []


# --- each check on a bad module ---------------------------------------------------------------------------------------

HEAD = '"""A module."""\n\n__all__: list[str] = []\n'
BAD = [
    (upward, "wire/x.py", "from omicard_relay.store.engine import Store"),
    (upward, "wire/x.py", "import omicard_relay.tables.toml"),
    (upward, "classify/x.py", "from omicard_relay.bounce import MailReader"),
    (upward, "classify/x.py", "from omicard_relay import services"),
    (upward, "mail/x.py", "def late():\n    from omicard_relay.wire import lines"),
    (upward, "store/x.py", "import importlib\nimportlib.import_module('omicard_relay.cli.root')"),
    (upward, "store/x.py", "from importlib import import_module\nimport_module(f'omicard_relay.cli.{1}')"),
    (upward, "store/x.py", "from . import engine"),
    (upward, "store/x.py", "from lab import postfix"),
    (
        upward,
        "store/x.py",
        "if True:\n    try:\n        import omicard_relay.services.follow\n    except ImportError:\n        pass",
    ),
    (upward, "__init__.py", "from omicard_relay.mail import Reply"),
    (strays, "helpers/x.py", ""),
    (strays, "util.py", ""),
    (fences, "services/x.py", "import sqlalchemy as sa"),
    (fences, "services/x.py", "from sqlalchemy.orm import Session"),
    (fences, "cli/x.py", "import asyncio"),
    (fences, "cli/x.py", "def late():\n    import uvloop"),
    (fences, "store/x.py", "import aiosmtpd.smtp"),
    (fences, "services/x.py", "from click import echo"),
    (fences, "classify/x.py", "import tomllib"),
    (fences, "__init__.py", "import rich.table"),
    (impure, "classify/x.py", "import time"),
    (impure, "mail/x.py", "from os import environ"),
    (impure, "wire/x.py", "import socket"),
    (impure, "signing/x.py", "from secrets import token_bytes"),
    (impure, "scrub/x.py", "import random"),
    (impure, "bounce/x.py", "from datetime import datetime\nNOW = datetime.now()"),
    (impure, "bounce/x.py", "import datetime\nNOW = datetime.datetime.utcnow()"),
    (impure, "bounce/x.py", "from datetime import date\nNOW = date.today()"),
    (impure, "steering/x.py", "TEXT = open('/etc/passwd').read()"),
    (impure, "steering/x.py", "from pathlib import Path\nTEXT = Path('x').read_text()"),
    (impure, "steering/x.py", "from pathlib import Path\nTEXT = Path('x').open()"),
    (impure, "wire/x.py", "print('hello')"),
    (untidy, "store/x.py", "!A = 1"),
    (untidy, "store/x.py", "!'''Docstring only.'''"),
    (untidy, "store/x.py", "!__all__ = []"),
    (untidy, "store/x.py", "!'''D.'''\n__all__ = ['missing']"),
    (untidy, "store/x.py", "\n" * LINE_LIMIT),
    (lab_fences, "../lab/x.py", "import sqlalchemy"),
    (lab_fences, "../lab/x.py", "from click import echo"),
]


@pytest.mark.parametrize(("check", "path", "text"), BAD)
def test_a_check_finds_what_it_is_for(check, path, text):
    text = text[1:] + "\n" if text.startswith("!") else HEAD + text + "\n"
    assert len(check(Module(f"{PACKAGE}/{path}", text))) >= 1


GOOD = [
    (upward, "cli/x.py", "from omicard_relay.services.follow import Follower\nfrom omicard_relay import __version__"),
    (upward, "store/x.py", "from omicard_relay.store.schema import metadata\nfrom omicard_relay.mail import Reply"),
    (upward, "__main__.py", "from omicard_relay.cli import main"),
    (fences, "store/x.py", "import sqlalchemy as sa\nfrom alembic import command"),
    (fences, "services/relay/x.py", "import asyncio"),
    (impure, "services/x.py", "import time\nfrom datetime import datetime\nNOW = datetime.now()"),
    (impure, "bounce/x.py", "from datetime import datetime\nimport re\nWHEN = datetime.fromisoformat('2026-01-01')"),
    (untidy, "store/x.py", ""),
    (untidy, "store/migrations/versions/0002.py", "!A = 1"),
    (lab_fences, "../lab/x.py", "import asyncio"),
]


@pytest.mark.parametrize(("check", "path", "text"), GOOD)
def test_a_check_lets_the_rest_be(check, path, text):
    text = text[1:] + "\n" if text.startswith("!") else HEAD + text + "\n"
    assert check(Module(f"{PACKAGE}/{path}", text)) == []
