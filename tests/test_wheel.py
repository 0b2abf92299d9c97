"""The wheel: all that runs is in it, nothing else is, and the program works from it, far from the checkout."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
WRAPPER = "omicard_relay/_data/postfix/bounce-pipe/omicard-bounce"


def run(*words, folder, **more):
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False, **more)
    assert done.returncode == 0, done.stderr or done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "-q")
    run(sys.executable, "-m", "pip", "wheel", str(ROOT), *options, "-w", str(folder), folder=folder)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def place(wheel, tmp_path_factory):
    """A new environment that has this wheel, and of all others what this very environment has."""
    folder = tmp_path_factory.mktemp("place")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    options = ("--no-deps", "--no-index", "--disable-pip-version-check", "-q")
    run(sys.executable, "-m", "pip", "--python", str(python), "install", *options, str(wheel), folder=folder)
    # A path in a .pth file is not searched for further .pth files: the checkout's own editable install stays out.
    (packages,) = (folder / "venv" / "lib").glob("python3*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


@pytest.fixture
def program(place):
    """Runs the installed program in a folder that is no checkout."""

    def call(*words, **more):
        return run(str(place / "venv" / "bin" / "omicard-relay"), "--lang", "en", *words, folder=place, **more)

    return call


def test_the_wheel_holds_the_package_and_its_data_alone(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    roots = {name.split("/")[0] for name in names}
    assert {root for root in roots if not root.endswith(".dist-info")} == {"omicard_relay"}
    assert not [name for name in names if "__pycache__" in name or "/tests/" in name or "/lab/" in name]
    for folder in ("policies", "postfix"):
        shipped = {
            f"omicard_relay/_data/{path.relative_to(ROOT)}"
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert shipped <= set(names), shipped - set(names)


def test_the_program_is_the_installed_one(place):
    words = (str(place / "venv" / "bin" / "python"), "-c", "import omicard_relay; print(omicard_relay.__file__)")
    assert Path(run(*words, folder=place).strip()).is_relative_to(place)


def test_classify_finds_the_rules(program):
    (row,) = program("classify", "--jsonl", input='{"id": 1, "text": "552 5.2.2 mailbox is full"}\n').splitlines()
    found = json.loads(row)
    assert (found["code"], found["action"]) == ("901", "return")
    assert "901" in program("classify", "552 5.2.2 mailbox is full")


def test_a_new_store_gets_its_tables(program, place):
    (place / "relay.toml").write_text('data_dir = "data"\n')
    program("--config", "relay.toml", "db", "upgrade")
    assert (place / "data" / "relay.db").exists()
    program("--config", "relay.toml", "report")


def test_postfix_show_finds_the_snippets(program, place):
    (place / "show.toml").write_text('[return_path]\ndomain = "bounces.example.com"\n')
    shown = program("--config", "show.toml", "postfix", "show")
    for name in ("content-filter", "reinject", "bounce-lmtp", "bounce-pipe"):
        assert name in shown


def test_the_wrapper_of_the_bounce_pipe_can_be_started(place):
    (installed,) = (place / "venv" / "lib").glob(f"python3*/site-packages/{WRAPPER}")
    assert installed.stat().st_mode & 0o111 == 0o111
    done = subprocess.run([installed, "/nowhere/omicard-relay"], input=b"mail", capture_output=True, check=False)
    assert done.returncode == 75
