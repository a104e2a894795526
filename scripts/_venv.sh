# Shared by the scripts beside it: find a Python, and keep one virtual environment that fits this checkout.
#
# The environment is .venv in the project, or $OLN_VENV. A stamp in it, written last, says which
# pyproject.toml it was installed from: without a fitting stamp the installation is made again, so
# an interrupted or failed one never passes for a good one. Messages go to standard error.

readonly MIN_PYTHON="3.11"
readonly LOCK_WAIT_SECONDS=600

say() { printf '%s\n' "$*" >&2; }

die() {
    say "error: $1"
    [ -z "${2:-}" ] || say "hint: $2"
    exit 1
}

# The first Python that is new enough: $OLN_PYTHON, python3, then the versions by name.
find_python() {
    local candidate path
    for candidate in ${OLN_PYTHON:+"$OLN_PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
        path="$(command -v "$candidate" 2>/dev/null)" || continue
        if "$path" -c "import sys; sys.exit(sys.version_info < (${MIN_PYTHON/./, }))" 2>/dev/null; then
            printf '%s\n' "$path"
            return 0
        fi
    done
    die "no Python $MIN_PYTHON or later was found (looked for python3 and python3.11 to python3.14)" \
        "install one, or name it: OLN_PYTHON=/path/to/python3"
}

# What the installation depends on: the project's settings, where it lies, and the interpreter.
wanted_stamp() {
    "$1" - "$ROOT" <<'PYTHON'
import hashlib, pathlib, sys
root = pathlib.Path(sys.argv[1])
digest = hashlib.sha256((root / "pyproject.toml").read_bytes())
digest.update(f"\n{root}\n{sys.version}".encode())
print(digest.hexdigest())
PYTHON
}

# One script at a time builds the environment; the others wait, and then find it built.
lock_venv() {
    local waited=0 holder
    mkdir -p "$(dirname "$VENV")" || die "cannot create $(dirname "$VENV")"
    until mkdir "$VENV.lock" 2>/dev/null; do
        [ -d "$VENV.lock" ] || die "cannot write beside $VENV" "set OLN_VENV to a folder you may write"
        holder="$(cat "$VENV.lock/pid" 2>/dev/null || true)"
        if [ -n "$holder" ] && ! kill -0 "$holder" 2>/dev/null; then
            rm -rf "$VENV.lock"
            continue
        fi
        [ "$waited" -lt "$LOCK_WAIT_SECONDS" ] ||
            die "another installation (process ${holder:-unknown}) holds $VENV.lock" "if none runs, delete it"
        [ "$waited" -gt 0 ] || say "Waiting for another installation into $VENV ..."
        sleep 1
        waited=$((waited + 1))
    done
    printf '%s\n' "$$" >"$VENV.lock/pid"
    trap 'rm -rf "$VENV.lock"' EXIT
    trap 'exit 130' INT TERM HUP
}

unlock_venv() {
    rm -rf "$VENV.lock"
    trap - EXIT INT TERM HUP
}

create_venv() {
    local output
    if [ -e "$VENV" ] && [ ! -f "$VENV/pyvenv.cfg" ] && [ -n "$(ls -A "$VENV" 2>/dev/null)" ]; then
        die "$VENV exists and is not a virtual environment" "delete it, or set OLN_VENV to another folder"
    fi
    rm -rf "$VENV"
    if ! output="$("$PYTHON" -m venv "$VENV" 2>&1)"; then
        rm -rf "$VENV"
        say "$output"
        die "$PYTHON could not create a virtual environment in $VENV" \
            "on Debian and Ubuntu install the package python3-venv"
    fi
}

install_project() {
    local extra="$1" target="." log="$VENV/install.log"
    [ "$extra" = run ] || target=".[$extra]"
    say "Installing openledger-node and what it needs into $VENV (once, about a minute) ..."
    if ! (cd "$ROOT" && "$VENV/bin/python" -m pip install --no-input --disable-pip-version-check \
        --progress-bar off --editable "$target") >"$log" 2>&1 </dev/null; then
        grep -E '^ *(ERROR|error):' "$log" | tail -n 5 >&2 || tail -n 15 "$log" >&2
        die "the installation into $VENV failed; the whole output is in $log" \
            "is the network (or a package index) within reach? Run the same command again to retry"
    fi
}

# ensure_venv run|dev: afterwards $VENV/bin has `oln`, and with dev the checkers and the test runner.
ensure_venv() {
    local extra="$1" stamp
    unset PYTHONHOME PYTHONPATH CDPATH
    export PYTHONNOUSERSITE=1 PIP_USER=0
    VENV="${OLN_VENV:-$ROOT/.venv}"
    case "$VENV" in /*) ;; *) VENV="$PWD/$VENV" ;; esac
    PYTHON="$(find_python)" || exit 1
    stamp="$(wanted_stamp "$PYTHON")" || die "cannot read $ROOT/pyproject.toml"
    if fits "$extra" "$stamp"; then return 0; fi
    lock_venv
    if ! fits "$extra" "$stamp"; then
        if ! reusable; then
            create_venv
            "$PYTHON" -VV >"$VENV/python.stamp"
        fi
        rm -f "$VENV"/installed-*.stamp
        install_project "$extra"
        printf '%s\n' "$stamp" >"$VENV/installed-run.stamp"
        [ "$extra" = run ] || printf '%s\n' "$stamp" >"$VENV/installed-$extra.stamp"
    fi
    unlock_venv
}

# Made by this Python, working, and once completely installed; anything else is made anew.
reusable() {
    [ -f "$VENV/installed-run.stamp" ] && "$VENV/bin/python" -c '' 2>/dev/null &&
        [ "$(cat "$VENV/python.stamp" 2>/dev/null)" = "$("$PYTHON" -VV)" ]
}

fits() {
    [ "$(cat "$VENV/installed-$1.stamp" 2>/dev/null)" = "$2" ] && "$VENV/bin/python" -c '' 2>/dev/null
}
