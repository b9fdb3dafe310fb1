"""A server that has answered very many requests needs no more memory than one that has answered some."""

from __future__ import annotations

import http.client
import json
import os
import random
import threading
from pathlib import Path

import psutil
import pytest
from tests.serving.test_serve_command import Process

from ftx.artifacts import Bundle

ASKERS = 8
WORDS = ("love", "hate", "car", "phone", "zebra")
WARM_UP = 0.1
"""Share of the requests after which memory is first measured: what is allocated once is by then."""
GROWTH = 0.05


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_memory_stays_flat_over_a_soak_of_mixed_lengths(tiny_bundle: Bundle, tmp_path: Path) -> None:
    requests = int(os.environ.get("FTX_SOAK_REQUESTS", "100000"))
    options = ("--variant", "onnx-int8", "--port", "0", "--cache", "1000", "--queue-seconds", "5")
    server = Process("-m", "ftx", "serve", str(tiny_bundle.path), *options, folder=tmp_path)
    try:
        server.wait_until_ready()
        ask(server.port, round(requests * WARM_UP))
        before = psutil.Process(server.process.pid).memory_info().rss
        ask(server.port, requests - round(requests * WARM_UP))
        after = psutil.Process(server.process.pid).memory_info().rss
    finally:
        server.process.terminate()
        server.end()
    print(f"{requests} requests: {before / 1e6:.1f} MB, then {after / 1e6:.1f} MB")
    assert after <= before * (1 + GROWTH)


def ask(port: int, requests: int) -> None:
    """So many requests, of some clients at once, of one to 40 texts of one to 300 words each."""
    failed: list[int] = []

    def keep_asking(asker: int) -> None:
        drawn = random.Random(asker)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for _ in range(requests // ASKERS):
            count = 1 if drawn.random() < 0.95 else drawn.randint(2, 40)
            texts = [" ".join(drawn.choices(WORDS, k=round(drawn.paretovariate(0.8)) % 300 + 1)) for _ in range(count)]
            connection.request("POST", "/predict", json.dumps({"inputs": texts}))
            response = connection.getresponse()
            response.read()
            if response.status not in {200, 429}:
                failed.append(response.status)
        connection.close()

    askers = [threading.Thread(target=keep_asking, args=(asker,)) for asker in range(ASKERS)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert not failed
