"""What a SIP status or a Q.850 cause says about an agent's phone that did not take the call."""

from __future__ import annotations

from orchestrator.model import Outcome

# RFC 3261 section 21; 480 is what a phone says that nobody picks up.
_BY_SIP = {
    404: Outcome.UNREACHABLE,
    408: Outcome.NO_ANSWER,
    410: Outcome.UNREACHABLE,
    480: Outcome.NO_ANSWER,
    484: Outcome.UNREACHABLE,
    486: Outcome.BUSY,
    487: Outcome.NO_ANSWER,
    503: Outcome.UNREACHABLE,
    600: Outcome.BUSY,
    603: Outcome.DECLINED,
    604: Outcome.UNREACHABLE,
}
# ITU-T Q.850 table 1, as Asterisk's ChannelDestroyed.cause reports it.
_BY_Q850 = {
    1: Outcome.UNREACHABLE,  # unallocated number
    3: Outcome.UNREACHABLE,  # no route to destination
    17: Outcome.BUSY,
    18: Outcome.NO_ANSWER,  # no user responding
    19: Outcome.NO_ANSWER,
    20: Outcome.UNREACHABLE,  # subscriber absent: not registered
    21: Outcome.DECLINED,
    22: Outcome.UNREACHABLE,  # number changed
    27: Outcome.UNREACHABLE,  # destination out of order
    28: Outcome.UNREACHABLE,  # invalid number format
    34: Outcome.UNREACHABLE,  # no circuit
}


# Asterisk's app_queue, QUEUESTATUS; UNKNOWN is what our own dialplan says of a missing queue.
_BY_QUEUE = {
    "TIMEOUT": Outcome.NO_ANSWER,
    "FULL": Outcome.QUEUE_FULL,
    "JOINEMPTY": Outcome.QUEUE_CLOSED,
    "LEAVEEMPTY": Outcome.QUEUE_CLOSED,
    "JOINUNAVAIL": Outcome.QUEUE_CLOSED,
    "LEAVEUNAVAIL": Outcome.QUEUE_CLOSED,
    "UNKNOWN": Outcome.UNREACHABLE,
}


def outcome_of_queue(status: str) -> Outcome:
    """Why Queue() gave the caller back. Unknown: NO_ANSWER."""
    return _BY_QUEUE.get(status.upper(), Outcome.NO_ANSWER)


# Its app_dial, DIALSTATUS, where no leg of the call has left a cause; and what is sure without.
_CAUSE_OF_DIAL = {"BUSY": 17, "NOANSWER": 19, "CHANUNAVAIL": 20, "CONGESTION": 34}
_SURE = frozenset({"BUSY", "NOANSWER"})


def cause_of_dial(status: str, cause: int | None) -> int:
    """The Q.850 cause of a Dial() that nobody took. `cause`: of its last leg; 0 = unknown.

    One that rang until its limit may have the cause of an earlier one.
    """
    known = _CAUSE_OF_DIAL.get(status.upper(), 0)
    return known if status.upper() in _SURE or not cause else cause


def outcome_of_referral(status: str, sip_status: int) -> Outcome:
    """Why the carrier did not take a REFER: Asterisk's TRANSFERSTATUS, and SIP where it is known.

    Carriers that take no REFER at all say 405, 420, 501 or 603.
    """
    match status:
        case "TIMEOUT":
            return Outcome.TIMED_OUT
        case "UNSUPPORTED":
            return Outcome.PBX_ERROR
        case _:
            return _BY_SIP.get(sip_status, Outcome.UNREACHABLE)


def outcome_of(sip_status: int, q850_cause: int) -> Outcome:
    """The status is more exact; the cause is what Asterisk always has. Unknown: NO_ANSWER."""
    return _BY_SIP.get(sip_status) or _BY_Q850.get(q850_cause) or Outcome.NO_ANSWER
