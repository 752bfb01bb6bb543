#!/usr/bin/env bash
# Makes the checkout ready: system programs, .venv with the five packages, Asterisk. Every step looks
# first whether it is needed, so a second run takes a second or two.
#
#   scripts/setup.sh            everything
#   scripts/setup.sh python     only .venv: enough for the unit tests and the linters
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
fail() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}
has() { command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ]; }

# --- system packages ----------------------------------------------------------------------------

apt_install() { # packages...: installs them, or says the one command that does
  local command="apt-get install --no-install-recommends -y $*"
  has apt-get || fail "missing: $*; install them with this system's package manager"
  [ "$(id -u)" = 0 ] || { has sudo && sudo -n true 2>/dev/null; } ||
    fail "these packages are missing; run this once, then make again:  sudo $command"
  say "installing $*"
  # Only the programs are wanted, not the services: each run starts its own on free ports. A service
  # that is masked while its package is installed is not started; RUNLEVEL does the same without
  # systemd. Neither touches a service that was there before.
  local unit units=()
  if [ -d /run/systemd/system ]; then
    for unit in redis-server rtpengine-daemon; do
      case " $* " in *" $unit "*) units+=("$unit.service") ;; esac
    done
    [ ${#units[@]} = 0 ] || as_root systemctl mask --runtime --quiet "${units[@]}"
  fi
  local log code=0
  log=$(mktemp)
  {
    as_root apt-get -qq update &&
      as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get -qq -o Dpkg::Options::=--force-confold install --no-install-recommends -y "$@"
  } >"$log" 2>&1 </dev/null || code=$?
  if [ ${#units[@]} != 0 ]; then
    as_root systemctl unmask --runtime --quiet "${units[@]}"
    as_root systemctl disable --quiet "${units[@]}" 2>/dev/null || true
  fi
  [ "$code" = 0 ] || tail -n 30 "$log" >&2
  rm -f "$log"
  [ "$code" = 0 ] || fail "apt-get failed; by hand:  sudo $command"
}

missing_packages() { # all|python: what apt has to install, one a line
  venv_ready || "$(find_python)" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
  [ "$1" = all ] || return 0
  has redis-server || echo redis-server
  has rtpengine || echo rtpengine-daemon
  has flite || echo flite
  has setpriv || echo util-linux
  compgen -G '/usr/lib*/libopus.so.0' >/dev/null || compgen -G '/usr/lib/*/libopus.so.0' >/dev/null ||
    echo libopus0
}

# --- Python -------------------------------------------------------------------------------------

find_python() { # the name of one that is new enough
  local name
  for name in python3 python3.13 python3.12 python3.11; do
    if has "$name" && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
  fail "Python 3.11 or newer is needed; found $(python3 --version 2>&1)"
}

venv_ready() {
  [ -x .venv/bin/python ] && .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))'
}

make_venv() {
  if venv_ready; then return; fi
  local python
  python=$(find_python)
  say "making .venv with $("$python" --version)"
  "$python" -m venv --clear .venv
}

install_packages() {
  local stamp=.venv/.voicefork-setup wanted
  # shellcheck disable=SC2046 # our own files: no blank is in their names
  wanted=$(cat constraints.txt pyproject.toml ./*/pyproject.toml proto/hatch_build.py \
    $(find proto/voicefork -name '*.proto' | sort) "$0" | sha256sum)
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted$PWD" ]; then return; fi
  if ! [ -x .venv/bin/uv ]; then
    say "installing uv"
    .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null
    .venv/bin/python -m pip install --quiet --disable-pip-version-check uv
  fi
  say "installing the packages and their tools"
  # uv reads no pip.conf: a machine that names its own index there means it for us too.
  local index
  index=${PIP_INDEX_URL:-$(.venv/bin/python -m pip config get global.index-url 2>/dev/null || true)}
  [ -z "$index" ] || export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$index}
  # -b: what builds the stubs must fit the protobuf they run with.
  UV_PYTHON_DOWNLOADS=never .venv/bin/uv pip install --quiet --python .venv/bin/python \
    -c constraints.txt -b constraints.txt \
    -e proto -e siprec-worker -e orchestrator -e 'sdk[demo]' -e cli --group dev
  echo "$wanted$PWD" >"$stamp"
}

# --- Asterisk -----------------------------------------------------------------------------------

install_asterisk() {
  local version
  version=$(PATH=$PATH:/usr/sbin asterisk -V 2>/dev/null | sed -n 's/^Asterisk \([0-9]*\).*/\1/p') || true
  if [ "${version:-0}" -ge 20 ]; then return; fi
  bash cli/src/voicefork_cli/lab/asterisk-root.sh
}

PART=${1:-all}
find_python >/dev/null
MISSING=$(missing_packages "$PART")
# shellcheck disable=SC2086 # one word a package
[ -z "$MISSING" ] || apt_install $MISSING
make_venv
install_packages
[ "$PART" = all ] || exit 0
install_asterisk
bash scripts/chart-tools.sh
say "ready: make demo, make test"
