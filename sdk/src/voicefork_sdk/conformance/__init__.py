"""Dials an agent as a worker would: python -m voicefork_sdk.conformance HOST:PORT."""
