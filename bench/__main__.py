"""Every bench but the simulation, one after the other: `make bench`. Exit code: the worst one's."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

BENCHES = ("worker", "latency", "handoff", "forks", "edge")


def main() -> int:
    worst = 0
    for name in BENCHES:
        module = f"bench.{name}"
        if importlib.util.find_spec(module) is None:
            print(f"{module}: not there, left out")
            continue
        options = sys.argv[1:] if name == "worker" else []
        done = subprocess.run([sys.executable, "-m", module, *options], check=False)
        worst = max(worst, abs(done.returncode))
    return worst


if __name__ == "__main__":
    sys.exit(main())
