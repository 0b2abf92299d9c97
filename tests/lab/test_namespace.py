"""The namespace: what is inside, and that nothing outlives it."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import namespace
from lab.namespace import enter, inside, mount_short, obstacle
from omicard_relay.mail import RelayError

from .conftest import command


@pytest.fixture
def mark() -> str:
    """A number of seconds that no other process sleeps: it names this test's daemon."""
    return f"{100_000 + os.getpid()}.{time.monotonic_ns()}"


@pytest.fixture
def run(
    needs_namespace: None, environment: dict[str, str], tmp_path: Path, mark: str
) -> Iterator[subprocess.Popen[str]]:
    """A program in the namespace that has left a daemon behind; `patient` ignores the first Ctrl-C."""
    yield from _started(environment, tmp_path, mark, "polite")


@pytest.fixture
def patient_run(
    needs_namespace: None, environment: dict[str, str], tmp_path: Path, mark: str
) -> Iterator[subprocess.Popen[str]]:
    yield from _started(environment, tmp_path, mark, "patient")


def _started(environment: dict[str, str], folder: Path, mark: str, mode: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command(folder, "daemons", mark, mode), stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    # The daemon has been started, but between fork and exec it still has its parent's command line, or none.
    assert _reached(lambda: len(_alive(f"sleep {mark}")) == 1)
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def _alive(mark: str) -> list[str]:
    """The command lines of processes that carry the mark, wherever they run: the namespace's are seen from outside."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if mark in line:
                found.append(line)
    return found


def _gone(mark: str) -> bool:
    return _reached(lambda: not _alive(mark))


def _reached(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_the_program_runs_inside_and_its_exit_status_comes_out(
    needs_namespace: None, environment: dict[str, str], tmp_path: Path
) -> None:
    result = subprocess.run(
        command(tmp_path, "daemons", "0", "status"), capture_output=True, text=True, env=environment, check=False
    )
    assert (result.returncode, result.stdout) == (7, f"True {namespace.DNS_ADDRESS}\n"), result.stderr


def test_the_first_ctrl_c_lets_the_program_say_goodbye_and_takes_its_daemons_along(
    run: subprocess.Popen[str], mark: str
) -> None:
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate(timeout=20)
    assert (output, run.returncode) == ("goodbye\n", 3)
    assert _gone(mark)


def test_the_second_ctrl_c_ends_at_once(patient_run: subprocess.Popen[str], mark: str) -> None:
    assert patient_run.stdout is not None
    patient_run.send_signal(signal.SIGINT)
    assert patient_run.stdout.readline() == "goodbye\n"
    patient_run.send_signal(signal.SIGINT)
    assert patient_run.wait(timeout=20) == 128 + signal.SIGINT
    assert _gone(mark)


def test_sigterm_ends_all(run: subprocess.Popen[str], mark: str) -> None:
    run.send_signal(signal.SIGTERM)
    assert run.wait(timeout=20) == 128 + signal.SIGTERM
    assert _gone(mark)


def test_kill_9_of_the_caller_leaves_no_process(run: subprocess.Popen[str], mark: str) -> None:
    run.kill()
    run.wait()
    assert _gone(mark)


def test_the_machine_outside_keeps_its_resolver(
    needs_namespace: None, environment: dict[str, str], tmp_path: Path
) -> None:
    before = Path("/etc/resolv.conf").read_bytes(), Path("/proc/self/mounts").read_bytes()
    subprocess.run(command(tmp_path, "daemons", "0", "status"), capture_output=True, env=environment, check=False)
    assert (Path("/etc/resolv.conf").read_bytes(), Path("/proc/self/mounts").read_bytes()) == before


def test_without_root_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(RelayError, match="sudo"):
        enter(["anything"], tmp_path)
    assert "sudo" in str(obstacle())


def test_a_machine_that_refuses_namespaces_is_told_of_the_capability(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(namespace, "_UNSHARE", ["sh", "-c", "echo Operation not permitted >&2; exit 1"])
    with pytest.raises(RelayError, match=r"Operation not permitted.*SYS_ADMIN"):
        enter(["anything"], tmp_path)


def test_outside_nothing_can_be_mounted(tmp_path: Path) -> None:
    assert not inside()
    with pytest.raises(RelayError, match="inside the lab's namespace"):
        mount_short(tmp_path)


def test_a_link_that_leads_nowhere_and_a_closed_folder_are_no_obstacle(
    needs_namespace: None, environment: dict[str, str], tmp_path: Path
) -> None:
    result = subprocess.run(
        command(tmp_path, "mounts", str(tmp_path)), capture_output=True, text=True, env=environment, check=False
    )
    assert result.stdout == "0 True True\nours\n", result.stderr
    assert not (tmp_path / "cellar" / "gone").exists()


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        pytest.param("hosts: files dns", None, id="plain already"),
        pytest.param("hosts:\tfiles", None, id="files only"),
        pytest.param(
            "hosts: files mymachines resolve [!UNAVAIL=return] dns", "hosts: files dns", id="systemd-resolved"
        ),
        pytest.param("hosts: files mdns4_minimal [NOTFOUND=return] dns", "hosts: files dns", id="mdns"),
    ],
)
def test_look_ups_by_daemons_of_the_machine_are_taken_out(hosts: str, expected: str | None) -> None:
    text = f"passwd: files systemd\n{hosts}\nservices: db files\n"
    changed = namespace._plain_switch(text)
    assert changed == (None if expected is None else text.replace(hosts, expected))
