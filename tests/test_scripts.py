"""The scripts of a checkout: found from anywhere, clear when something is missing, never half done.

`python3` is a stand-in here that makes environments which only pretend to install, so that no test
needs a network; the real installation is what runs this suite.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
BASH: Final = shutil.which("bash")
TIMEOUT_SECONDS: Final = 60

pytestmark = pytest.mark.skipif(BASH is None, reason="needs bash")

# `-m venv FOLDER` makes a folder whose python is this same stand-in; `-m pip` does what $FAKE_PIP
# says, then leaves an `oln` that prints its arguments. All else is the interpreter's.
STAND_IN: Final = f"""#!{BASH}
here="$(cd "$(dirname "$0")" && pwd)"
case "$1 $2" in
"-m venv")
    [ "${{FAKE_VENV:-works}}" = works ] || {{ echo "ensurepip is not available"; exit 1; }}
    mkdir -p "$3/bin" && echo > "$3/pyvenv.cfg" && cp "$0" "$3/bin/python" ;;
"-m pip")
    echo pip >> "$CALLS"
    [ "${{FAKE_PIP:-works}}" = works ] || {{ echo "ERROR: no matching distribution"; exit 1; }}
    printf '#!{BASH}\\necho "oln $*"\\n' > "$here/oln" && chmod +x "$here/oln" ;;
"-m ruff" | "-m mypy" | "-m pytest")
    shift
    echo "$*" >> "$CALLS"
    echo "closing line of $1"
    [ "$1" != "${{FAKE_FAILS:-}}" ] ;;
*) exec "{sys.executable}" "$@" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the scripts need, with a blank in its path, and the stand-in beside it."""
    root = tmp_path / "a checkout"
    shutil.copytree(ROOT / "scripts", root / "scripts")
    (root / ".ci").mkdir()
    shutil.copy2(ROOT / ".ci" / "run", root / ".ci" / "run")
    shutil.copy2(ROOT / "pyproject.toml", root)
    stand_in = tmp_path / "bin" / "python3"
    stand_in.parent.mkdir()
    stand_in.write_text(STAND_IN, encoding="utf-8")
    stand_in.chmod(0o755)
    return root


def call(script: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    parent = next(folder for folder in script.parents if (folder / "bin" / "python3").exists())
    base = {
        "PATH": f"{parent / 'bin'}:{os.environ['PATH']}",
        "CALLS": str(parent / "calls"),
        "HOME": str(parent),
    }
    return subprocess.run(
        [str(script), *arguments],
        env=base | environment,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def installations(root: Path) -> int:
    calls = root.parent / "calls"
    return calls.read_text(encoding="utf-8").split().count("pip") if calls.exists() else 0


def test_run_without_arguments_is_the_demo_and_passes_arguments_on(checkout: Path) -> None:
    first = call(checkout / "scripts" / "run")
    assert (first.returncode, first.stdout) == (0, "oln demo\n")
    assert "Installing" in first.stderr
    second = call(checkout / "scripts" / "run", "--json", "data add", "*")
    assert (second.stdout, second.stderr) == ("oln --json data add *\n", "")
    assert installations(checkout) == 1


def test_run_works_through_links_from_any_folder(checkout: Path) -> None:
    (checkout.parent / "links").mkdir()
    relative = checkout.parent / "links" / "relative"
    relative.symlink_to(Path("..") / "a checkout" / "scripts" / "run")
    twice = checkout.parent / "twice"
    twice.symlink_to(relative)
    result = call(twice, "status", CDPATH="/")
    assert (result.returncode, result.stdout) == (0, "oln status\n")
    assert (checkout / ".venv").is_dir()


def test_the_environment_may_lie_elsewhere(checkout: Path) -> None:
    elsewhere = checkout.parent / "else" / "where"
    assert call(checkout / "scripts" / "run", OLN_VENV=str(elsewhere)).returncode == 0
    assert (elsewhere / "bin" / "oln").exists()
    assert not (checkout / ".venv").exists()


def test_changed_project_settings_are_installed_again(checkout: Path) -> None:
    call(checkout / "scripts" / "run")
    with (checkout / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    assert call(checkout / "scripts" / "run").returncode == 0
    assert installations(checkout) == 2


def test_a_failed_installation_says_why_and_does_not_pass_later(checkout: Path) -> None:
    failed = call(checkout / "scripts" / "run", FAKE_PIP="fails")
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert "ERROR: no matching distribution" in failed.stderr
    assert "install.log" in failed.stderr
    assert call(checkout / "scripts" / "run", FAKE_PIP="fails").returncode == 1
    assert call(checkout / "scripts" / "run").stdout == "oln demo\n"
    assert not (checkout / ".venv.lock").exists()


def test_a_failed_reinstallation_invalidates_what_was_there(checkout: Path) -> None:
    call(checkout / "scripts" / "run")
    with (checkout / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    assert call(checkout / "scripts" / "run", FAKE_PIP="fails").returncode == 1
    assert call(checkout / "scripts" / "run", FAKE_PIP="fails").returncode == 1


def test_what_an_interrupted_installation_left_is_not_built_upon(checkout: Path) -> None:
    call(checkout / "scripts" / "run", FAKE_PIP="fails")
    half = checkout / ".venv" / "half-a-package"
    half.write_text("x", encoding="utf-8")
    assert call(checkout / "scripts" / "run").returncode == 0
    assert not half.exists()


def test_an_environment_that_cannot_be_made_leaves_nothing_behind(checkout: Path) -> None:
    failed = call(checkout / "scripts" / "run", FAKE_VENV="fails")
    assert failed.returncode == 1
    assert "ensurepip is not available" in failed.stderr
    assert "python3-venv" in failed.stderr
    assert not (checkout / ".venv").exists()


def test_a_folder_of_somebody_else_s_is_not_overwritten(checkout: Path) -> None:
    precious = checkout.parent / "precious"
    precious.mkdir()
    (precious / "file").write_text("keep", encoding="utf-8")
    refused = call(checkout / "scripts" / "run", OLN_VENV=str(precious))
    assert refused.returncode == 1
    assert "not a virtual environment" in refused.stderr
    assert (precious / "file").read_text(encoding="utf-8") == "keep"


def test_without_a_python_that_is_new_enough_the_error_says_so(checkout: Path) -> None:
    tools = checkout.parent / "tools"
    tools.mkdir()
    for tool in ("bash", "dirname", "readlink", "cat", "env"):
        found = shutil.which(tool)
        assert found is not None
        (tools / tool).symlink_to(found)
    old = tools / "python3"
    old.write_text(f"#!{BASH}\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    refused = call(checkout / "scripts" / "run", PATH=str(tools))
    assert refused.returncode == 1
    assert "no Python 3.11 or later was found" in refused.stderr
    assert "OLN_PYTHON" in refused.stderr


def test_a_later_python_is_found_by_its_versioned_name(checkout: Path) -> None:
    stand_in = checkout.parent / "bin" / "python3"
    stand_in.rename(stand_in.with_name("python3.13"))
    stand_in.write_text(f"#!{BASH}\nexit 1\n", encoding="utf-8")
    stand_in.chmod(0o755)
    assert call(checkout / "scripts" / "run", "status").stdout == "oln status\n"


def test_a_lock_left_by_a_killed_installation_is_taken_over(checkout: Path) -> None:
    ended = subprocess.run(
        [str(BASH), "-c", "echo $$"], capture_output=True, text=True, check=True
    ).stdout
    lock = checkout / ".venv.lock"
    lock.mkdir()
    (lock / "pid").write_text(ended, encoding="utf-8")
    assert call(checkout / "scripts" / "run").returncode == 0


def test_every_check_runs_and_the_test_runner_speaks_last(checkout: Path) -> None:
    result = call(checkout / "scripts" / "test")
    assert result.returncode == 0
    assert result.stdout.endswith("closing line of pytest\n")
    calls = (checkout.parent / "calls").read_text(encoding="utf-8").splitlines()
    assert [line.split()[0] for line in calls] == ["pip", "ruff", "ruff", "mypy", "pytest"]
    assert "-n 2" in calls[-1]


@pytest.mark.parametrize("check", ["ruff", "mypy", "pytest"])
def test_one_failed_check_fails_the_run_and_all_others_still_run(
    checkout: Path, check: str
) -> None:
    result = call(checkout / "scripts" / "test", FAKE_FAILS=check)
    assert result.returncode == 1
    assert result.stdout.endswith("closing line of pytest\n")
    assert f"failed: {check}" in result.stderr


def test_what_test_is_given_goes_to_the_test_runner(checkout: Path) -> None:
    call(checkout / "scripts" / "test", "tests/ledger", "-k", "a proof")
    calls = (checkout.parent / "calls").read_text(encoding="utf-8").splitlines()
    assert calls[-1].endswith("tests/ledger -k a proof")


def test_ci_builds_its_environment_anew_each_time(checkout: Path) -> None:
    first = call(checkout / ".ci" / "run", CI="true")
    assert first.returncode == 0
    assert first.stdout.endswith("closing line of pytest\n")
    (checkout / ".venv-ci" / "leftover").write_text("x", encoding="utf-8")
    assert call(checkout / ".ci" / "run", CI="true").returncode == 0
    assert not (checkout / ".venv-ci" / "leftover").exists()
    assert installations(checkout) == 2
    assert call(checkout / ".ci" / "run", CI="true", FAKE_FAILS="pytest").returncode == 1
