"""Values of an edge: as few as there can be, and all."""

from __future__ import annotations

from collections.abc import Mapping

MINIMAL: Mapping[str, object] = {
    "sip": "127.0.0.1:5060",
    "pbx": [{"address": "192.0.2.10:5060"}],
    "trunks": [{"name": "acme", "sources": ["198.51.100.0/24"], "out": "sip:198.51.100.1"}],
    "workers": ["sip:192.0.2.21:5080;transport=tcp"],
    "rtpengines": ["192.0.2.1:2223"],
}
MAXIMAL: Mapping[str, object] = {
    **MINIMAL,
    **{"advertised": "203.0.113.1:5060", "tls": "127.0.0.1:5061", "tls_verify": True},
    **{"tls_certificate": "/tls/edge.pem", "tls_key": "/tls/edge.key", "tls_ca": "/tls/ca.pem"},
    **{"redis": "redis://:secret@192.0.2.5:6379/2", "redis_version": 6, "zone": "eu-1"},
    **{"database": "sqlite:///var/lib/opensips/edge.db", "events": "127.0.0.1:9000"},
    **{"relay_all": True, "hide_topology": False, "emergency": []},
    "rtpengines": ["192.0.2.1:2223", "192.0.2.2:2223"],
    "pbx": [
        {"address": "192.0.2.10:5060", "weight": 2, "sources": ["192.0.2.10", "192.0.2.11:5060"]},
        {"address": "192.0.2.12:5061", "transport": "tcp"},
    ],
    "trunks": [
        {"name": "a", "sources": ["198.51.100.1"], "out": "sip:a.example.net;transport=tls"},
        {"name": "b", "sources": [], "out": "sip:b.example.net", "nat": True, "srtp": True},
        {"name": "c", "sources": ["198.51.100.9:5060"], "fork": False, "percent": 0},
    ],
}
