# Shared by scripts/triage and scripts/test: a virtual environment beside pyproject.toml, filled from
# the lock files, and the few system packages it rests on. Sourced; needs bash. Says what it does on
# stderr only, asks nothing, and is done in milliseconds when there is nothing to do.

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
venv=$root/.venv
debs=$root/.venv-debs # packages unpacked without root

say() { printf 'triage: %s\n' "$*" >&2; }

# Ends with the exit status for "this machine lacks something".
lack() {
    printf 'triage: %s\n' "$1" >&2
    printf '  %s\n' "${@:2}" >&2
    exit 3
}

# How to run a command as root here: nothing (we are), sudo without a question, or not at all.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

have_root() { [ "$(id -u)" = 0 ] || { command -v sudo && sudo -n true; } >/dev/null 2>&1; }

have_apt() { command -v apt-get >/dev/null 2>&1; }

# Install Debian packages as root. Quiet unless it fails.
install_packages() {
    say "installing $*"
    local log
    log=$(mktemp)
    if ! { as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "$@"; } >"$log" 2>&1; then
        tail -n 15 "$log" >&2
        rm -f "$log"
        lack "apt could not install: $*" "See the lines above; install them by hand and start again."
    fi
    rm -f "$log"
}

# Unpack Debian packages into a folder of ours: works without root, and changes nothing outside.
unpack_packages() {
    have_apt || lack "this needs: $*" "They could not be fetched: there is no apt here."
    say "fetching $* (unpacked below $debs; nothing is installed)"
    local work option
    work=$(mktemp -d)
    option=(-o Debug::NoLocking=1 -o "Dir::Cache=$work/cache" -o "Dir::State::lists=$work/lists")
    mkdir -p "$work/cache/archives/partial" "$work/lists/partial" "$debs"
    if ! (cd "$work" && { apt-get -q download "$@" || { apt-get -q "${option[@]}" update && apt-get -q "${option[@]}" download "$@"; }; } >"$work/log" 2>&1); then
        tail -n 5 "$work/log" >&2
        rm -rf "$work"
        lack "these packages are needed and could not be fetched: $*" "Ask an administrator to install them."
    fi
    for package in "$work"/*.deb; do
        dpkg-deb -x "$package" "$debs"
    done
    rm -rf "$work"
}

# The newest Python on PATH that is new enough; empty when there is none.
find_python() {
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$name" >/dev/null 2>&1 && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            command -v "$name"
            return
        fi
    done
}

has_module() { "$1" -c "import $2" >/dev/null 2>&1; }

# A virtual environment without the packages. Debian keeps pip out of python3: it comes with python3-venv.
make_venv() {
    local python
    python=$(find_python)
    if [ -z "$python" ] || ! has_module "$python" ensurepip; then
        if have_apt && have_root; then
            install_packages python3 python3-venv
            python=$(find_python)
        fi
    fi
    [ -n "$python" ] || lack "there is no Python 3.11 or newer here" "As root: apt install python3 python3-venv"
    say "making $venv with $("$python" --version)"
    rm -rf "$venv"
    if has_module "$python" ensurepip; then
        "$python" -m venv "$venv" >&2
    else
        "$python" -m venv --without-pip "$venv" >&2
        [ -n "$(pip_wheel)" ] || unpack_packages python3-pip-whl
    fi
    # The program runs from the checkout, so it is found by a path file and needs no build.
    "$venv/bin/python" - "$root" <<'PYTHON'
import pathlib, sys, sysconfig
pathlib.Path(sysconfig.get_path("purelib"), "triage-checkout.pth").write_text(sys.argv[1] + "\n")
PYTHON
}

pip_wheel() { ls "$debs"/usr/share/python-wheels/pip-*.whl 2>/dev/null | tail -n 1; }

pip_install() {
    local path=""
    "$venv/bin/python" -c 'import pip' 2>/dev/null || path=$(pip_wheel)
    PYTHONPATH=$path "$venv/bin/python" -m pip --disable-pip-version-check -qq install --require-hashes "$@" >&2 ||
        lack "the Python packages could not be installed" "See the lines above. It needs the network once, or a local index (pip's settings)."
}

stamp_of() { (cd "$root" && sha256sum "$1" && cat .venv/pyvenv.cfg 2>/dev/null) | sha256sum | cut -d' ' -f1; }

# Bring the virtual environment to what a lock file says: ensure_venv requirements.lock
ensure_venv() {
    local lock=$1
    if [ -f "$venv/have-$lock" ] && [ "$(cat "$venv/have-$lock")" = "$(stamp_of "$lock")" ] && [ -x "$venv/bin/python" ]; then
        return
    fi
    [ -w "$root" ] || lack "$root is not writable, and its .venv is not up to date" "Run scripts/triage once as the owner of $root."
    exec 9>"$root/.venv.lock"
    flock 9 # a second run at the same time waits, and then finds everything done
    if ! "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || [ ! -f "$venv/made" ]; then
        make_venv
        touch "$venv/made"
    fi
    if [ ! -f "$venv/have-$lock" ] || [ "$(cat "$venv/have-$lock")" != "$(stamp_of "$lock")" ]; then
        say "installing the Python packages of $lock"
        pip_install -r "$root/$lock"
        stamp_of "$lock" >"$venv/have-$lock"
    fi
    exec 9>&-
}

# A GDB: the system's, or the one from PyPI where nobody may install packages.
ensure_gdb() {
    command -v gdb >/dev/null 2>&1 && return
    if have_apt && have_root; then
        install_packages gdb
        return
    fi
    ensure_venv requirements-gdb.lock
    local name
    name=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_config_var("INSTSONAME"))')
    if [ -e "$venv/lib/$name" ] || "$venv/bin/python" -c "import ctypes; ctypes.CDLL('$name')" >/dev/null 2>&1; then
        return
    fi
    # That GDB needs libpython, which Debian's python3 does without.
    unpack_packages "lib$("$venv/bin/python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')"
    ln -sf "$(find "$debs/usr/lib" -name "$name" | head -n 1)" "$venv/lib/$name"
}
