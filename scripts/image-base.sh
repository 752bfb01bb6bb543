#!/usr/bin/env bash
# Makes localhost/python-base:bookworm out of Debian packages alone, for machines that reach a package
# mirror but no image registry: what tests/images builds upon. Needs root, debootstrap and podman.
#
#   scripts/image-base.sh && BASE_IMAGE=localhost/python-base:bookworm scripts/images.sh
set -euo pipefail
NAME=${1:-localhost/python-base:bookworm}
if podman image exists "$NAME"; then exit 0; fi
MIRROR=${DEBIAN_MIRROR:-$(sed -nE "s/^(URIs:|deb( \[[^]]*\])?) *(http[^ ]*\/debian)\/?( .*)?$/\3/p" \
  /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null | head -n 1 || true)}
ROOT=$(mktemp -d)
trap 'rm -rf "$ROOT"' EXIT
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$ROOT" "$MIRROR" >&2
# What the images of a registry leave out as well.
rm -rf "$ROOT"/var/cache/apt/archives/*.deb "$ROOT"/var/lib/apt/lists/* "$ROOT"/usr/share/{doc,man,locale}/*
tar -C "$ROOT" -c . | podman import - "$NAME" >/dev/null
