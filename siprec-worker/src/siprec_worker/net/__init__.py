"""The only sockets of the worker."""
