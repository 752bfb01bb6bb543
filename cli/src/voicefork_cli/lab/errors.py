"""What can go wrong when real programs are started.

LabError
├── MissingProgramError      not installed: says the command that installs it
├── FailedProgramError       ended, or never became ready: carries the end of its log
└── NoPortLeftError          every block of ports is in use
"""

from __future__ import annotations


class LabError(Exception):
    """The lab cannot do what was asked; the message says what to do about it."""


class MissingProgramError(LabError):
    """A program is not installed."""

    def __init__(self, name: str, remedy: str) -> None:
        super().__init__(f"{name} is not installed: {remedy}")


class FailedProgramError(LabError):
    """A program ended early or did not become ready in time."""

    def __init__(self, name: str, what: str, log_tail: str) -> None:
        super().__init__(f"{name} {what}\n{log_tail}".rstrip())


class NoPortLeftError(LabError):
    """No block of ports is free."""
