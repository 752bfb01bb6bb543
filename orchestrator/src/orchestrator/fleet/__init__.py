"""The calls and workers this orchestrator knows."""
