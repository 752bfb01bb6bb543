#!/bin/sh
# In the build stage of an image: /opt/voicefork, a virtual environment with these members, their SBOM
# (CycloneDX) beside them, and nothing that only development uses.
#
#   image-venv.sh ./proto ./siprec-worker
set -eu
ENV=/opt/voicefork
python3 -m venv /opt/sbom
/opt/sbom/bin/pip install --quiet cyclonedx-bom
python3 -m venv "$ENV"
"$ENV/bin/pip" install --quiet --no-compile "$@"
"$ENV/bin/pip" uninstall --quiet --yes pip setuptools
/opt/sbom/bin/cyclonedx-py environment --output-reproducible --of JSON -o "$ENV/sbom.json" "$ENV/bin/python"
# A third of all: tests, headers, stubs, symbols, and parts of libraries that nothing here imports.
find "$ENV" -depth \( -name tests -o -name f2py -o -name include -o -name '*.pyi' -o -name '*.pxd' -o -name '*.pyx' -o -name '*.a' -o -name '*.h' \) \
  -exec rm -rf {} +
site=$(echo "$ENV"/lib/python3*/site-packages)
rm -rf "$site"/numpy/distutils "$site"/lxml/html "$site"/lxml/isoschematron "$site"/lxml/includes "$site"/lxml/objectify*.so \
  "$site"/pydantic/v1 "$site"/pydantic/mypy.py
# Of the cluster's client, the three APIs that orchestrator/cluster/kubernetes.py asks. It imports all it has.
client="$site/kubernetes_asyncio/client"
if [ -d "$client" ]; then
  asked='(core|discovery|coordination)_v1_api'
  find "$client/api" -regextype posix-extended -name '*_api.py' -not -regex ".*/$asked\\.py" -delete
  sed -i -E "/client\\.api\\.$asked /!{/^from kubernetes_asyncio\\.client\\.api\\./d}" "$client/__init__.py" "$client/api/__init__.py"
  "$ENV/bin/python" -c 'from kubernetes_asyncio.client import CoordinationV1Api, CoreV1Api, DiscoveryV1Api'
fi
# Not what wheels carry in *.libs: it was moved together by hand, and strip tears it apart.
find "$ENV" -name '*.so' -not -path '*.libs/*' -exec strip --strip-unneeded {} +
"$ENV/bin/python" - "$ENV" <<'CHECK'
import ctypes, pathlib, sys
for path in pathlib.Path(sys.argv[1]).rglob("*.so"):
    ctypes.CDLL(str(path))
CHECK
# By content, not by time, and one after the other: the same bytes from the same sources.
PYTHONHASHSEED=0 "$ENV/bin/python" -m compileall -q -f -j 1 --invalidation-mode unchecked-hash "$ENV/lib"
