"""Which AIs a call gets."""

from __future__ import annotations

from siprec_worker.config import Route, Settings
from siprec_worker.session.identity import identify
from siprec_worker.session.routes import Routes


def routes(*listed: Route) -> Routes:
    return Routes(listed, Settings(agent="grpc://usual:1").usual_route)


def route_of(book: Routes, **headers: str) -> str:
    named = {f"X-Voicefork-{name}": value for name, value in headers.items()}
    return book.of(identify(named, [], "", lambda: "fresh")).agents[0].url


def to(url: str, **conditions: object) -> Route:
    return Route.model_validate({"agents": [{"url": url}], **conditions})


def test_the_first_route_that_takes_a_call_gets_it() -> None:
    book = routes(to("grpc://a:1", did=("+1",)), to("grpc://b:1", tenant=("x",)))

    assert route_of(book, DID="+1", Tenant="x") == "grpc://a:1"
    assert route_of(book, DID="+2", Tenant="x") == "grpc://b:1"


def test_a_call_that_no_route_takes_gets_the_usual_ai() -> None:
    assert route_of(routes(to("grpc://a:1", did=("+1",))), DID="+2") == "grpc://usual:1"


def test_every_ai_there_may_be_to_dial_is_known() -> None:
    assert routes(to("grpc://a:1")).urls() == {"grpc://a:1", "grpc://usual:1"}
