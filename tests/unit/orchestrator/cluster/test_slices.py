"""EndpointSlices as the API gives them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator.cluster.slices import Endpoint, Slice, merged, parse_slice
from orchestrator.errors import ClusterError


def a_slice(*endpoints: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "workers-1"}, "endpoints": list(endpoints)}


def pod(name: str, **conditions: bool) -> dict[str, Any]:
    return {"targetRef": {"kind": "Pod", "name": name}, "conditions": conditions}


def test_a_pod_that_ends_and_still_answers_is_told_as_that() -> None:
    read = parse_slice(a_slice(pod("w", ready=False, serving=True, terminating=True)))
    assert read.endpoints == (Endpoint("w", ready=False, serving=True, terminating=True),)


def test_conditions_that_are_not_told_mean_ready() -> None:
    assert parse_slice(a_slice(pod("w"))).endpoints == (Endpoint("w", True, True, False),)


def test_an_endpoint_without_a_pod_is_none_of_ours() -> None:
    assert parse_slice(a_slice({"addresses": ["192.0.2.1"]})).endpoints == ()


def test_a_slice_without_endpoints_is_an_empty_one() -> None:
    assert parse_slice({"metadata": {"name": "x"}, "endpoints": None}) == Slice("x", ())


def test_of_a_pod_in_two_slices_the_better_word_counts() -> None:
    four = Slice("v4", (Endpoint("w", False, False, False),))
    six = Slice("v6", (Endpoint("w", True, True, False),))
    assert merged([four, six])["w"].ready


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["metadata", "name", "endpoints", "targetRef", "kind", "conditions"]),
            inner,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_whatever_json_comes_it_is_a_slice_or_a_cluster_error(found: object) -> None:
    try:
        parse_slice(found)
    except ClusterError:
        return


def test_what_is_no_slice_is_refused() -> None:
    with pytest.raises(ClusterError):
        parse_slice(["no slice"])
