"""One handoff: the pure machine, and the shell that runs it."""
