#!/usr/bin/env bash
# Puts a recent Asterisk into a folder of its own, without touching the machine's packages.
#
#   asterisk-root.sh [FOLDER]      default: ${XDG_CACHE_HOME:-~/.cache}/voicefork/asterisk-22
#
# Debian 12 has no Asterisk, Debian 13 none either; Debian "forky" has 22. apt resolves and
# downloads the packages with state and cache of its own (signatures checked, no root needed,
# nothing installed), dpkg-deb unpacks them, no maintainer script runs. The folder's own dynamic
# loader starts the binary (FOLDER/asterisk), so no chroot is needed and paths are the machine's.
# On Ubuntu the packages are those of the machine's own release.
#
# About 81 MB are downloaded and 181 MB kept. A second run finds the stamp and ends at once.
# environment: ASTERISK_SUITE=forky   another suite of the same mirror; bullseye has 16, which the
#              tests of nodes without Stasis use when it is in .../voicefork/asterisk-16
set -euo pipefail

FOLDER=${1:-"${XDG_CACHE_HOME:-$HOME/.cache}/voicefork/asterisk-22"}
PACKAGES=(asterisk asterisk-config asterisk-core-sounds-en-gsm libc-bin dash)
LAYOUT=2 # raised when this script makes the folder differently

fail() {
  printf 'asterisk-root: %s\n' "$*" >&2
  exit 1
}

# --- which archive ------------------------------------------------------------------------------

[ -r /etc/os-release ] || fail "no /etc/os-release; put an asterisk >= 20 on PATH instead"
os_release() { (. /etc/os-release && eval "printf %s \"\${$1:-}\""); }
case "$(os_release ID)" in
  debian)
    VERSION=$(os_release VERSION_ID) # empty on testing and unstable
    [ "${VERSION:-99}" -ge 12 ] || fail "Debian $VERSION is too old: 12 or newer is needed, or an asterisk >= 20 on PATH"
    SUITE=${ASTERISK_SUITE:-forky} COMPONENTS=main KEYRING=debian-archive-keyring
    ;;
  ubuntu)
    SUITE=${ASTERISK_SUITE:-$(os_release VERSION_CODENAME)}
    COMPONENTS="main universe" KEYRING=ubuntu-archive-keyring
    ;;
  *) fail "this is $(os_release PRETTY_NAME): only Debian and Ubuntu are known; put an asterisk >= 20 on PATH instead" ;;
esac
for tool in apt-get dpkg-deb tar xargs awk; do
  command -v "$tool" >/dev/null || fail "$tool is missing"
done

[ "$SUITE" != bullseye ] || PACKAGES+=(asterisk-voicemail) # part of asterisk elsewhere
WANTED="$LAYOUT|$SUITE|${PACKAGES[*]}"
STAMP="$FOLDER/.asterisk-root"
if [ -f "$STAMP" ] && [ "$(head -n 1 "$STAMP")" = "$WANTED" ]; then
  echo "asterisk-root: $(tail -n 1 "$STAMP") is in $FOLDER"
  exit 0
fi

# The mirror is the machine's own: its first `URIs:` line (deb822), else its first `deb` line. A file
# that is not there (`|| true`: pipefail) has none.
MIRROR=$(cat /etc/apt/sources.list.d/*.sources 2>/dev/null | awk '$1 == "URIs:" { print $2; exit }' || true)
[ -n "$MIRROR" ] || MIRROR=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
  awk '$1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /:\//) { print $i; exit } }' || true)
[ -n "$MIRROR" ] || fail "no package mirror in /etc/apt"
SIGNED_BY=
for key in /usr/share/keyrings/$KEYRING.{gpg,pgp}; do
  [ ! -r "$key" ] || SIGNED_BY="[signed-by=$key]"
done

# --- download with an apt state of our own ------------------------------------------------------

WORK=$(mktemp -d)
trap 'rm -rf "$WORK" "$FOLDER.new.$$"' EXIT
mkdir -p "$WORK"/{state/lists/partial,cache/archives/partial,etc}
: >"$WORK/status"
echo "deb $SIGNED_BY $MIRROR $SUITE $COMPONENTS" >"$WORK/etc/sources.list"
cat >"$WORK/apt.conf" <<CONF
Dir::State "$WORK/state";
Dir::State::status "$WORK/status";
Dir::Cache "$WORK/cache";
Dir::Etc::sourcelist "$WORK/etc/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
APT::Get::List-Cleanup "false";
Acquire::Languages "none";
Acquire::Retries "3";
pkgCacheGen::ForceEssential "none";
Debug::NoLocking "true";
CONF
export APT_CONFIG="$WORK/apt.conf"

echo "asterisk-root: reading the package list of $SUITE"
apt-get -qq update || fail "the package list of $SUITE could not be read (network? keyring?)"
VERSION=$(apt-cache policy asterisk | awk '$1 == "Candidate:" { print $2 }')
case "$VERSION" in
  "" | "(none)") fail "suite $SUITE has no asterisk; put an asterisk >= 20 on PATH instead" ;;
esac
MAJOR=${VERSION#*:}
MAJOR=${MAJOR%%.*}
# Who names a suite wants that one: 16 is the oldest that is driven at all (by AMI).
OLDEST=$([ -n "${ASTERISK_SUITE:-}" ] && echo 16 || echo 20)
[ "$MAJOR" -ge "$OLDEST" ] || fail "suite $SUITE has asterisk $VERSION, $OLDEST or newer is needed: put one on PATH"
echo "asterisk-root: downloading asterisk $VERSION (about 81 MB)"
apt-get -qq -y --download-only install "${PACKAGES[@]}" >"$WORK/log" 2>&1 || {
  cat "$WORK/log" >&2
  fail "the download failed"
}

# --- unpack ------------------------------------------------------------------------------------

NEW="$FOLDER.new.$$"
mkdir -p "$NEW"/usr/{bin,sbin,lib,lib64}
for d in bin sbin lib lib64; do ln -s "usr/$d" "$NEW/$d"; done
# Documents, translations and Perl (a dependency of a dependency) are never opened by Asterisk.
unpack() {
  local into=$1 package
  shift
  for package; do
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$into" --keep-directory-symlink --no-same-owner \
      --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*' \
      --exclude='./usr/share/info/*' --exclude='./usr/share/lintian/*' --exclude='./usr/share/bug/*' \
      --exclude='./usr/lib/*/perl*' --exclude='./usr/share/perl*' --exclude='./usr/lib/*/gconv/*' \
      --exclude='./usr/share/zoneinfo/*' || return 1
  done
}
export -f unpack
find "$WORK/cache/archives" -name '*.deb' -print0 |
  xargs -0 -P "$(nproc)" -n 8 bash -c 'set -o pipefail; unpack "$0" "$@"' "$NEW" ||
  fail "a package could not be unpacked (disk full?)"

# What the packages' maintainer scripts would do: without sounds/en every `sound:` fails.
ln -sfn en_US_f_Allison "$NEW/usr/share/asterisk/sounds/en"

first() { # first existing path of the arguments (globs that matched nothing are no path)
  local path
  for path; do [ ! -e "$path" ] || { printf %s "${path#"$NEW"/}" && return; }; done
  return 1
}
LOADER=$(first "$NEW"/usr/lib/*-linux-*/ld-linux-*.so.? "$NEW"/usr/lib64/ld-linux-*.so.? "$NEW"/usr/lib/ld-linux-*.so.?) ||
  fail "no dynamic loader for $(uname -m) in the packages"
LIBC=$(first "$NEW"/usr/lib/*-linux-*/libc.so.6) || fail "no libc in the packages"
MODULES=$(first "$NEW"/usr/lib/*-linux-*/asterisk/modules "$NEW"/usr/lib/asterisk/modules) ||
  fail "no modules in the packages"
# Two stable names, so that nobody else needs to know the machine's library folder.
ln -s "$MODULES" "$NEW/modules"
ln -s usr/share/asterisk "$NEW/share"
# glibc's loader knows --argv0 since 2.33; older packages put Asterisk's own library beside the folder.
"$NEW/$LOADER" --help 2>&1 | grep -q -e --argv0 && ARGV0="--argv0 asterisk " || ARGV0=
cat >"$NEW/asterisk" <<RUN
#!/bin/sh
# Starts this folder's Asterisk through this folder's own dynamic loader and libraries.
root=\$(dirname "\$(readlink -f "\$0")")
exec "\$root/$LOADER" $ARGV0--library-path "\$root/${LIBC%/*}:\$root/usr/lib" "\$root/usr/sbin/asterisk" "\$@"
RUN
chmod +x "$NEW/asterisk"
"$NEW/asterisk" -V >/dev/null || fail "the unpacked Asterisk does not start on this machine"

printf '%s\nasterisk %s\n' "$WANTED" "$VERSION" >"$NEW/.asterisk-root"
rm -rf "$FOLDER"
mv "$NEW" "$FOLDER"
echo "asterisk-root: asterisk $VERSION is in $FOLDER"
