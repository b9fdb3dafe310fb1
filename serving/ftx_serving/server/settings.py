"""How the server listens, what it takes, and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServerSettings:
    """Sizes in bytes, times in seconds."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0: any that is free."""
    grpc_port: int | None = None
    """Of the Open Inference Protocol over gRPC; 0: any that is free; None: it is not spoken."""
    replicas: int = 1
    """Processes."""
    share_port: bool = False
    """Whether other processes listen on the same ports, and each gets some of the connections."""
    telemetry: bool = False
    """Whether OpenTelemetry spans are sent."""
    api_key: str | None = None
    open_metrics: bool = True
    """Whether `/health`, `/metrics` and `/v2/health` need no API key."""
    max_body: int = 4 * 1024 * 1024
    max_header: int = 32 * 1024
    header_seconds: float = 10.0
    """From the first byte of a request, or the connection's beginning, to the end of its head."""
    body_seconds: float = 30.0
    answer_seconds: float = 30.0
    """What a request may take once it was let in; its own deadline may be shorter."""
    keep_alive_seconds: float = 75.0
    grace_seconds: float = 1.0
    """After SIGTERM: not ready, but requests are still taken, until whoever routes them has noticed."""
    drain_seconds: float = 30.0
    """After the grace: what was taken is answered, for as long as this."""
