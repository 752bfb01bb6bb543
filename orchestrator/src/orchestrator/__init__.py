"""The orchestrator: escalations in, Asterisk switched, callers never in silence."""
