"""voicefork-worker: starts one worker from flags, environment and file."""

from __future__ import annotations

import gc
import os
import sys

import uvloop

from siprec_worker.app import serve
from siprec_worker.config import load
from siprec_worker.errors import SetupError
from siprec_worker.telemetry import configure_logging

YOUNG_OBJECTS = 50_000


def main() -> None:
    """Exit code 2 and one clear line when it cannot start as told."""
    try:
        settings = load(sys.argv[1:], os.environ)
        configure_logging(settings.log, settings.log_level)
        gc.freeze()  # what was imported is never garbage: the collector need not look at it again
        # Hardly anything here is garbage in cycles, and a young generation of 700 objects would be
        # searched a hundred times a second.
        gc.set_threshold(YOUNG_OBJECTS, 20, 100)
        uvloop.run(serve(settings))
    except SetupError as error:
        sys.exit(f"voicefork-worker: {error}")


if __name__ == "__main__":
    main()
