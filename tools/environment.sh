#!/usr/bin/env bash
# Make .venv from requirements.lock. Called by make; does nothing that a second call would repeat.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

refuse() {  # what stopped, why, the command that fixes it
  printf '%s\n  why: %s\n  fix: %s\n' "$1" "$2" "$3" >&2
  exit 1
}

python=${PYTHON:-python3}
command -v "$python" >/dev/null || refuse "the environment was not made" \
  "there is no command '$python'" "install Python 3.11, 3.12 or 3.13, or name one: make env PYTHON=/path/to/python"
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || refuse \
  "the environment was not made" \
  "$python is $("$python" -c 'import platform; print(platform.python_version())'), and the book needs 3.11 to 3.13" \
  "install one of these and name it: make env PYTHON=python3.11"
"$python" -c 'import ensurepip, venv' 2>/dev/null || refuse "the environment was not made" \
  "$python has no venv module" "sudo apt-get install python3-venv (Debian, Ubuntu), then make env"

log() { printf '%s  %s\n' "$(date +%H:%M:%S)" "$1"; }
exec 9>.venv.lock
if command -v flock >/dev/null; then flock 9; fi  # two makes at once install once
[ -e .venv/.installed ] && [ .venv/.installed -nt requirements.lock ] && [ .venv/.installed -nt pyproject.toml ] && exit 0

# Installing through a link would point another folder's environment at this one.
[ ! -L .venv ] || refuse "the environment was not made" ".venv is a link to $(readlink .venv), which serves another folder" \
  "rm .venv && make env"

log "making .venv with $("$python" --version); the first time this downloads about 700 MB, with CUDA several times that"
# One that was killed between its Python and its pip is made anew.
.venv/bin/python -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear .venv
install() { .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile "$@"; }
# Tests, and what is read file by file when somebody asks for it, are left for Python to compile.
compile() { .venv/bin/python -m compileall -qq -x '[/\\](tests?|sympy|models)[/\\]' "$@" .venv/lib || true; }

# torch first, by itself and exact: otherwise pip may pick another build of it for one of its dependants.
torch=$(grep '^torch==' requirements.lock)
install "$torch" || refuse "the environment was not made" "$torch could not be installed (above)" \
  "check the network and the disk (df -h .), then make env"
log "torch is in; installing the rest"
# Unpacking keeps one core busy and exact pins need no resolver, so each core unpacks half of them. What a half
# could not do, and what this platform needs beyond the pins, is left to the pass after it, which says why.
compile -j 1 &
for half in 0 1; do
  install --no-deps -r <(grep -v '^#' requirements.lock | awk "NR % 2 == $half") 2>/dev/null &
done
wait
install -r requirements.lock || refuse "the environment was not made" \
  "a pinned package could not be installed (above)" "check the network and the disk (df -h .), then make env"
install --no-deps --no-build-isolation -e . || refuse "the environment was not made" \
  "the package itself could not be installed (above)" "rm -rf .venv && make env"
compile -j 0  # pip would use one core for it
touch .venv/.installed
command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null || log \
  "no C++ compiler: training and geometry take their slower paths in torch (sudo apt-get install g++)"
log "ready"
