#!/usr/bin/env bash
# Makes constraints.txt anew from the members' pyproject files: versions only, no addresses.
# (A lock file would name the package registry of whoever made it on every line.)
set -euo pipefail
cd "$(dirname "$0")/.."
UV=$(command -v .venv/bin/uv || command -v uv) || { echo "no uv: make setup" >&2; exit 1; }
export UV_PYTHON_DOWNLOADS=never

new=$(mktemp)
trap 'rm -f "$new"' EXIT
cat >"$new" <<'HEAD'
# Versions that were tested together. Made by scripts/constraints.sh; do not edit.
# uv pip install -c constraints.txt -b constraints.txt -e ...
HEAD
"$UV" export --quiet --all-packages --all-groups --all-extras --no-emit-workspace --no-hashes \
  --no-annotate --no-header >>"$new"
# What builds the packages must fit what runs them: stubs made by a newer protoc than the protobuf
# at run time are refused at import.
echo "# to build" >>"$new"
grep -vE '^#|^-' "$new" | sed 's/ *;.*//' >"$new.runtime"
printf '%s\n' 'hatchling>=1.27' 'grpcio-tools>=1.80' 'mypy-protobuf>=3.6' 'editables' |
  "$UV" pip compile --quiet --no-header --no-annotate -c "$new.runtime" - |
  while read -r pin; do grep -qixF "$pin" "$new.runtime" || echo "$pin"; done >>"$new"
rm -f "$new.runtime"
! grep -nE '://|file:' "$new" || { echo "an address got in" >&2; exit 1; }
cp "$new" constraints.txt
echo "constraints.txt: $(grep -cvE '^#' constraints.txt) packages"
