#!/usr/bin/env bash
# What `make chart` checks beside the tests: checkov on whole sets of values, every Containerfile and
# every shell script.
set -euo pipefail
cd "$(dirname "$0")/.."
CACHE=${VOICEFORK_CACHE:-$HOME/.cache/voicefork}/chart
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
failed=0

for values in everything hostnetwork production trial; do
  echo "==> checkov: $values"
  "$CACHE/helm-3.17/helm" template x deploy/helm --namespace calls --values "deploy/helm/ci/$values-values.yaml" \
    >"$WORK/$values.yaml" 2>"$WORK/said" || { cat "$WORK/said"; exit 1; }
  "$CACHE/checkov/bin/checkov" --config-file .checkov.yaml --file "$WORK/$values.yaml" || failed=1
done

echo "==> hadolint"
git ls-files --cached --others --exclude-standard -z -- '*Containerfile' | xargs -0 .venv/bin/hadolint || failed=1

echo "==> shellcheck"
# SC1091: files of the machine; SC2016: programs for another shell.
git ls-files --cached --others --exclude-standard -z -- '*.sh' | xargs -0 .venv/bin/shellcheck -e SC1091,SC2016 || failed=1
exit "$failed"
