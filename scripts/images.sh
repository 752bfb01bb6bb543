#!/usr/bin/env bash
# Builds the images, all or those named:
#
#   scripts/images.sh [worker|orchestrator|vendor|cli|asterisk|rtpengine|opensips|redis ...]
#
# opensips only when it is named: its packages are in OpenSIPS' own repository, not in Debian. redis, too:
# it is for machines that reach no image registry.
#   BASE_IMAGE=...   another Python image (Debian 12 or newer)
#   NO_CACHE=1       every step anew
#   VERSION=0.1.0    tag and label
set -euo pipefail
cd "$(dirname "$0")/.."
ENGINE=${ENGINE:-$(command -v podman || command -v docker)} || {
  echo "images: neither podman nor docker here; on Debian: apt-get install podman buildah runc" >&2
  exit 1
}
VERSION=${VERSION:-$(sed -n 's/^appVersion: *//p' deploy/helm/Chart.yaml)}
REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)
declare -A FILE=(
  [worker]=siprec-worker/Containerfile [orchestrator]=orchestrator/Containerfile
  [vendor]=sdk/Containerfile [cli]=cli/Containerfile
  [asterisk]=deploy/asterisk/Containerfile [rtpengine]=opensips/rtpengine.Containerfile
  [opensips]=opensips/Containerfile [redis]=deploy/compose/redis.Containerfile
)
options=(--build-arg "VERSION=$VERSION" --build-arg "REVISION=$REVISION")
[ -z "${BASE_IMAGE:-}" ] || options+=(--build-arg "BASE_IMAGE=$BASE_IMAGE")
[ -z "${NO_CACHE:-}" ] || options+=(--no-cache)
case $ENGINE in
*podman)
  # The same bytes from the same commit. The machine's own package mirrors and certificates are those
  # of the build, and stay out of the image.
  options+=(--isolation=chroot --network=host --timestamp "$(git log -1 --format=%ct 2>/dev/null || echo 0)")
  for path in /etc/pip.conf /etc/ssl/certs; do
    [ ! -e "$path" ] || options+=(-v "$path:$path:ro")
  done
  # How this machine's apt reaches its mirror: a proxy, or a mirror that is a snapshot of a day.
  if command -v apt-config >/dev/null; then
    apt_conf=$(mktemp)
    trap 'rm -f "$apt_conf"' EXIT
    apt-config dump | grep -E '^Acquire::(Check-Valid-Until|https?::Proxy)' >"$apt_conf" || true
    chmod 644 "$apt_conf"
    options+=(-v "$apt_conf:/etc/apt/apt.conf.d/99machine:ro")
  fi
  ;;
esac
[ $# != 0 ] || set -- worker orchestrator vendor cli asterisk rtpengine
for image; do
  [ -n "${FILE[$image]:-}" ] || { echo "images: no image '$image'; there: ${!FILE[*]}" >&2; exit 1; }
  echo "==> voicefork/$image:$VERSION"
  "$ENGINE" build "${options[@]}" -f "${FILE[$image]}" -t "localhost/voicefork/$image:$VERSION" .
done
