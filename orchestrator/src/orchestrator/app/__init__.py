"""Puts the orchestrator together."""
