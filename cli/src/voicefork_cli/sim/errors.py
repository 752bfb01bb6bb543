"""What goes wrong in a simulation, by who must act.

SimError
├── SetupMissing    a program or a port is not there: the text says what to do next
├── CallRefused     the other side answered 3xx..6xx
├── CallTimeout     the other side did not answer in time
├── NgError         rtpengine refused a command, or is not there
└── WireError       what came in is not SIP, SDP or bencode
"""

from __future__ import annotations


class SimError(Exception):
    """Root of everything the simulator raises on purpose."""


class SetupMissing(SimError):  # noqa: N818 - named after what is wrong
    """Something the simulator needs is not on this machine."""


class CallRefused(SimError):  # noqa: N818 - named after what happened
    """A final answer other than 2xx."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"refused: {status} {reason}")
        self.status = status
        self.reason = reason


class CallTimeout(SimError):  # noqa: N818 - named after what happened
    """No answer within the limit."""


class NgError(SimError):
    """rtpengine did not do what it was asked."""


class WireError(SimError):
    """Bytes that cannot be read."""
