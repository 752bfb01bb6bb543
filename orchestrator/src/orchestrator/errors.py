"""The orchestrator's exceptions, by who must act.

OrchestratorError
├── PeerError        the other side failed or said no: answer it, count it, go on
│   ├── PbxError             Asterisk; knows the request and what came back
│   │   ├── NotFound             404: for a channel, the caller hung up
│   │   ├── Conflict             409: it exists already, or is in the wrong state
│   │   ├── Unprocessable        422: the channel cannot do that (now)
│   │   └── Unreachable          no answer within the limit, or no connection
│   ├── WorkerError          a SIPREC worker
│   │   ├── WorkerUnreachable
│   │   └── CallUnknown          it does not hold this call (any more)
│   ├── StoreError           Redis
│   └── ClusterError         Kubernetes' API; calls never depend on it
│       ├── ClusterConflict      409: another replica was quicker
│       └── ClusterExpired       410: our place in a watch is forgotten
└── SetupError       wrong configuration or a missing resource: say what to do, exit
"""

from __future__ import annotations


class OrchestratorError(Exception):
    """Root of everything the orchestrator raises on purpose."""


class PeerError(OrchestratorError):
    """Something outside failed, or refused."""


class PbxError(PeerError):
    """Asterisk refused a request. `status` is HTTP's, 0 = nothing came back."""

    def __init__(self, method: str, path: str, status: int, text: str) -> None:
        super().__init__(f"{method} {path}: {status or 'no answer'} {text}".rstrip())
        self.method = method
        self.path = path
        self.status = status
        self.text = text


class NotFound(PbxError):  # noqa: N818 - named after the HTTP status
    """The channel, bridge or playback is gone. Usual, not an error: callers hang up."""


class Conflict(PbxError):  # noqa: N818 - named after the HTTP status
    """It exists already, or its state does not allow this."""


class Unprocessable(PbxError):  # noqa: N818 - named after the HTTP status
    """Asterisk cannot do this to that channel, e.g. it is not in Stasis (yet)."""


class Unreachable(PbxError):  # noqa: N818 - named after what happened
    """Asterisk did not answer within the limit, or cannot be connected to."""


class NoSuchPlace(PbxError):  # noqa: N818 - named after what was found
    """The dialplan lacks the place: the caller was not sent there."""


class WorkerError(PeerError):
    """A worker failed, or refused."""


class WorkerUnreachable(WorkerError):  # noqa: N818 - named after what happened
    """The worker did not answer within the limit."""


class CallUnknown(WorkerError):  # noqa: N818 - named after what happened
    """The worker does not hold this call (any more)."""


class StoreError(PeerError):
    """Redis did not answer."""


class ClusterError(PeerError):
    """Kubernetes did not answer, or refused. `status` is HTTP's, 0 = nothing came back."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class ClusterConflict(ClusterError):  # noqa: N818 - named after the HTTP status
    """Another replica wrote first."""


class ClusterExpired(ClusterError):  # noqa: N818 - named after what happened
    """The version a watch should go on from is no longer known: list anew."""


class SetupError(OrchestratorError):
    """The orchestrator cannot start as it was told to."""
