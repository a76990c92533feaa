"""The client's connections: addresses, TLS, keepalive, and how fast they return after a server's restart."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from tfb2d.serving import wire

Options = Sequence[tuple[str, int | str]]

# method -> (path, response message)
METHODS = {
    "Predict": ("/tensorflow.serving.PredictionService/Predict", "PredictResponse"),
    "GetModelMetadata": ("/tensorflow.serving.PredictionService/GetModelMetadata", "GetModelMetadataResponse"),
    "GetModelStatus": ("/tensorflow.serving.ModelService/GetModelStatus", "GetModelStatusResponse"),
}
_ROUND_ROBIN = '{"loadBalancingConfig": [{"round_robin": {}}]}'


@dataclass(frozen=True)
class TLS:
    """PEM files of a TLS connection; `cert` and `key` together make it mutual.

    Args:
      ca: certificates that sign the server's; "" takes the roots that gRPC ships.
      cert: this client's certificate chain.
      key: this client's private key.
      server_name: the name to look for in the server's certificate where it is not the address's host (a Unix socket,
        an IP address, a tunnel).
    """

    ca: str | Path = ""
    cert: str | Path = ""
    key: str | Path = ""
    server_name: str = ""

    def __post_init__(self) -> None:
        if bool(self.cert) != bool(self.key):
            raise ValueError("TLS: `cert` and `key` go together; a client certificate is no use without its key")

    def credentials(self) -> grpc.ChannelCredentials:
        """Reads the files; raises OSError for one that cannot be read."""
        ca, key, cert = (Path(path).read_bytes() if path else None for path in (self.ca, self.key, self.cert))
        return grpc.ssl_channel_credentials(ca, key, cert)


def target(address: str) -> str:
    """Returns gRPC's form of `address`: "host:8500", "[::1]:8500", "unix:/run/x.sock", "/run/x.sock" or "dns:///service:8500".

    Raises ValueError for an address without a port, or with a URL's scheme.
    """
    if address.startswith(("/", "./", "../")):
        return f"unix:{address}"
    if address.startswith(("http://", "https://", "grpc://")):
        raise ValueError(f"address {address!r}: gRPC takes host:port without a scheme; TLS is a setting of its own")
    if address.startswith(("unix:", "unix-abstract:", "dns:", "ipv4:", "ipv6:", "xds:")):
        return address
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"address {address!r}: it takes host:port (TF Serving's default port is 8500) or unix:/path")
    return address


def channel_options(tls: TLS | None, keepalive: float, extra: Options = ()) -> list[tuple[str, int | str]]:
    """Returns channel arguments (grpc/impl/channel_arg_names.h); `extra` wins over what is set here.

    A dns:/// name of a headless service is resolved to all its pods, and calls go round among them. A broken connection
    is tried again after 100 ms, then every 300 ms, so that a restarted server is reached within a second. (gRPC's own
    backoff goes up to two minutes.) Keepalive pings go out only while calls are under way: servers close connections
    that ping when idle.
    """
    options: dict[str, int | str] = {
        "grpc.max_send_message_length": -1,
        "grpc.max_receive_message_length": -1,
        "grpc.use_local_subchannel_pool": 1,  # without it all channels to an address share one connection
        "grpc.service_config": _ROUND_ROBIN,
        "grpc.initial_reconnect_backoff_ms": 100,
        "grpc.max_reconnect_backoff_ms": 300,
        "grpc.min_reconnect_backoff_ms": 2000,  # the time that one connection attempt is given
        "grpc.keepalive_time_ms": int(keepalive * 1000),
        "grpc.keepalive_timeout_ms": 10_000,
        "grpc.keepalive_permit_without_calls": 0,
    }
    if tls and tls.server_name:
        options["grpc.ssl_target_name_override"] = tls.server_name
    options.update(dict(extra))
    return list(options.items())


def connect(api: Any, address: str, tls: TLS | None, options: Options) -> tuple[Any, dict[str, Any]]:
    """Opens a channel of `api` (grpc or grpc.aio) to a `target`, with its callable for each of METHODS."""
    secure = tls.credentials() if tls else None
    channel = api.secure_channel(address, secure, options) if secure else api.insecure_channel(address, options)
    callables = {
        method: channel.unary_unary(
            path,
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=wire.MESSAGES[response].FromString,
        )
        for method, (path, response) in METHODS.items()
    }
    return channel, callables
