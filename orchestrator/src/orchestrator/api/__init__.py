"""Inbound: gRPC services and the admin page."""
