"""What the SDK raises on purpose, by what the vendor can do about it.

SdkError
├── CallEnded       the call is over: let it go through, it ends on_call quietly
├── Frozen          the call is being handed over: only the phrase named in the Freeze is played
├── NotAllowed      the role forbids it (only a PRIMARY speaks to the caller and escalates)
└── OpenRejected    the Open cannot be served; knows its gRPC status
"""

from __future__ import annotations

import grpc


class SdkError(Exception):
    """Root of everything the SDK raises on purpose."""


class CallEnded(SdkError):  # noqa: N818 - named after what happened
    """The call, or its stream, is over: nothing can be sent any more."""


class Frozen(SdkError):  # noqa: N818 - named after what happened
    """A Freeze is in force: the caller is on the way to a human."""


class NotAllowed(SdkError):  # noqa: N818 - named after what happened
    """The agent's role in this call does not include this."""


class OpenRejected(SdkError):  # noqa: N818 - named after what happened
    """This Open cannot be served."""

    def __init__(self, text: str, code: grpc.StatusCode) -> None:
        super().__init__(text)
        self.code = code
