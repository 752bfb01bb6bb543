"""Outbound: what other systems are told."""
