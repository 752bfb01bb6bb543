"""How long the choice of a worker takes: vf_pick at 1,000 a second while ten workers beat.

The client is a bare socket in a thread that nothing else shares; before each query it sends a PING,
which costs what the machine and the client cost. redis-benchmark asks, too, as fast as it can.
"""

from __future__ import annotations

import gc
import shutil
import socket
import subprocess
import threading
import time

import numpy as np
import redis
from siprec_worker.net.pool import SOURCE

WORKERS, PICKS, INTERVAL, BEAT_SECONDS = 10, 5000, 0.001, 0.3
PING = b"*1\r\n$4\r\nPING\r\n"


def measure_picks(port: int) -> dict[str, float]:
    """Figures in milliseconds of the Redis at that port of loopback."""
    client = redis.Redis("127.0.0.1", port, protocol=2)
    client.function_load(SOURCE, replace=True)
    _beat(client)
    over = threading.Event()
    beating = threading.Thread(target=_keep_beating, args=(client, over))
    beating.start()
    try:
        pings, picks = _paced(port)
        inside = client.info("latencystats")["latency_percentiles_usec_fcall"]["p99"]
        benchmark = _benchmark(port)
    finally:
        over.set()
        beating.join()
        client.close()
    figures = {
        "pick_ms_p50": np.quantile(picks, 0.5),
        "pick_ms_p99": np.quantile(picks, 0.99),
        "pick_ping_ms_p99": np.quantile(pings, 0.99),
        "pick_redis_ms_p99": float(inside) / 1000,
        **benchmark,
    }
    return {name: round(float(value), 3) for name, value in figures.items()}


def _beat(client: redis.Redis) -> None:
    for number in range(WORKERS):
        name = f"w{number}"
        client.fcall("vf_beat", 0, name, f"sip:{name};transport=tcp", "-", "0", "5000", "0")


def _keep_beating(client: redis.Redis, over: threading.Event) -> None:
    while not over.wait(BEAT_SECONDS):
        _beat(client)


def _paced(port: int) -> tuple[list[float], list[float]]:
    """Of each PING and each query, one after the other."""
    pings: list[float] = []
    picks: list[float] = []
    with socket.create_connection(("127.0.0.1", port)) as server:
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        gc.disable()
        try:
            begun = time.perf_counter()
            for number in range(PICKS):
                request = _command("FCALL", "vf_pick", "0", "3", "-", f"call-{number}")
                time.sleep(max(0.0, begun + number * INTERVAL - time.perf_counter()))
                pings.append(_asked(server, PING))
                picks.append(_asked(server, request))
        finally:
            gc.enable()
    return pings, picks


def _asked(server: socket.socket, request: bytes) -> float:
    """Milliseconds until the answer is here: a line, or a string of a given length."""
    begun = time.perf_counter()
    server.sendall(request)
    answer = server.recv(4096)
    while not answer.endswith(b"\r\n") or (answer[:1] == b"$" and answer.count(b"\r\n") < 2):  # noqa: PLR2004
        answer += server.recv(4096)
    took = (time.perf_counter() - begun) * 1000
    if answer[:1] == b"-":
        raise OSError(answer.decode())
    return took


def _command(*words: str) -> bytes:
    parts = [f"*{len(words)}\r\n", *(f"${len(word)}\r\n{word}\r\n" for word in words)]
    return "".join(parts).encode()


def _benchmark(port: int) -> dict[str, float]:
    """By a client in C, one query after the other, without a pause; nothing where there is none."""
    program = shutil.which("redis-benchmark")
    if program is None:
        return {}
    query = ["FCALL", "vf_pick", "0", "3", "-", "c-__rand_int__"]
    argv = [program, "-p", str(port), "-c", "1", "-n", str(PICKS), "-r", "100000000", "--csv"]
    shown = subprocess.run([*argv, *query], capture_output=True, text=True, check=True, timeout=60)
    names, values, *_ = [line.split('","') for line in shown.stdout.splitlines() if '","' in line]
    found = dict(zip((n.strip('"') for n in names), (v.strip('"') for v in values), strict=False))
    return {
        "pick_benchmark_per_s": float(found["rps"]),
        "pick_benchmark_ms_p99": float(found["p99_latency_ms"]),
    }
