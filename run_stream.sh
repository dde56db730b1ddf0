#!/usr/bin/env bash
# One command from a clone to a running server.
#
#   ./run_stream.sh [options of `stream-server serve`]   install what is missing, then serve
#   ./run_stream.sh test [options of pytest]             install what is missing, then test
#   ./run_stream.sh bench NAME [options]                 install what is missing, then run benchmarks/NAME
#
# The environment lies in .venv beside this file (elsewhere with STREAM_VENV). It is made once and made anew when
# pyproject.toml, constraints.txt or what is compiled change. STREAM_PYTHON names the interpreter to make it with.
set -euo pipefail

top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
venv=${STREAM_VENV:-$top/.venv}
python=$venv/bin/python

say() { printf 'run_stream: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

usage() { sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

fits() { "$1" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
  local candidate
  for candidate in "${STREAM_PYTHON:-}" python3.12 python3.11 python3 python; do
    if [ -n "$candidate" ] && fits "$candidate"; then printf '%s\n' "$candidate"; return; fi
  done
}

make_environment() {
  local found
  if [ -x "$python" ] && fits "$python"; then return; fi
  found=$(find_python)
  if [ -n "$found" ]; then
    say "making $venv with $("$found" --version)"
    if command -v uv >/dev/null 2>&1; then
      uv venv --quiet --clear --python "$(command -v "$found")" "$venv"
    else
      "$found" -m venv --clear "$venv" || fail "could not make $venv; on Debian and Ubuntu: apt install python3-venv"
    fi
  elif command -v uv >/dev/null 2>&1; then
    say "no Python from 3.11 on here: uv fetches one for $venv"
    uv venv --quiet --clear --python 3.12 "$venv"
  else
    fail "Python 3.11 or newer is needed and none was found. Install one (Debian and Ubuntu: apt install python3.11" \
      "python3.11-venv), or uv (https://docs.astral.sh/uv), or name an interpreter in STREAM_PYTHON"
  fi
}

# What the environment was made from: when it changes, the environment is made to fit again.
recipe() { printf '%s ' "$1" "$top" "$(command -v g++ c++ cc | head -n 1)"; cat "$top/pyproject.toml" "$top/constraints.txt" "$top"/stream_server/*/*.cpp "$top"/stream_server/models/native/*.{h,cpp} | cksum; }

install() {
  local extras=$1 wanted
  local stamp=$venv/.stamp-$extras
  wanted=$(recipe "$extras")
  if [ -x "$python" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then return; fi
  make_environment
  local target="$top"
  [ "$extras" = serve ] || target="${top}[$extras]"
  say "installing into $venv; the first time this takes minutes: PyTorch with CUDA is about 2.5 GB to fetch"
  # PyPI's builds of PyTorch carry CUDA and run without a GPU too. Bytecode is compiled here, so that the
  # first start does not have to.
  if command -v uv >/dev/null 2>&1; then
    uv pip install --quiet --compile-bytecode --python "$python" --constraint "$top/constraints.txt" --editable "$target"
  else
    "$python" -m pip install --quiet --disable-pip-version-check --constraint "$top/constraints.txt" --editable "$target"
  fi
  printf '%s\n' "$wanted" >"$stamp"
}

# All tests, four parts at once: two calculate, two mostly wait. On two cores that takes half the time.
test_all() {
  local aside status=0 part
  local -a talking=(tests/bench tests/benchmarks tests/browser tests/clients) running=()
  aside=$(mktemp -d)
  # One thread each: four processes have two cores to share.
  begin() { OMP_NUM_THREADS=1 "$python" -m pytest --durations=8 "${@:2}" >"$aside/$1" 2>&1 & running+=($!); }
  begin parity tests/models/test_parity.py
  begin models tests/models --ignore=tests/models/test_parity.py
  begin talking "${talking[@]}"
  "$python" -m pytest --durations=8 $(printf -- '--ignore=%s ' tests/models "${talking[@]}") || status=$?
  for part in "${running[@]}"; do wait "$part" || status=$?; done
  cat "$aside"/*
  rm -rf "$aside"
  return "$status"
}

what=serve
case "${1:-}" in
  serve | test | bench) what=$1; shift ;;
  -h | --help | help) usage; exit 0 ;;
esac

case "$what" in
  test)
    install test
    cd -- "$top"
    if [ $# -gt 0 ]; then "$python" -m pytest "$@" || exit; else test_all || exit; fi
    say "all is well; next: ./run_stream.sh serves the demonstration model"
    ;;
  bench)
    [ $# -gt 0 ] || fail "which benchmark? ./run_stream.sh bench NAME; see $top/benchmarks"
    install bench
    cd -- "$top"
    exec "$python" -m benchmarks "$@"
    ;;
  serve)
    install serve
    exec "$python" -m stream_server serve "$@"
    ;;
esac
