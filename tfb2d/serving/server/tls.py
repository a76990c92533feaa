"""TLS and mutual TLS from an SSLConfig text proto."""

import grpc

from tfb2d.serving.server.errors import invalid
from tfb2d.serving.server.textprotos import read_text_proto


def server_credentials(path: str) -> grpc.ServerCredentials:
    """Credentials of an SSLConfig file, whose fields hold PEM texts. gRPC offers TLS 1.2 and 1.3 only.

    Raises:
      StatusError: the file cannot be read or lacks a key. Its text is never quoted.
    """
    config = read_text_proto(path, "SSLConfig")
    if not config.server_key or not config.server_cert:
        raise invalid(f"'{path}' lacks server_key or server_cert")
    if config.client_verify and not config.custom_ca:
        raise invalid(f"'{path}' asks for client_verify without a custom_ca that could verify clients")
    pair = (config.server_key.encode(), config.server_cert.encode())
    ca = config.custom_ca.encode() or None
    return grpc.ssl_server_credentials([pair], root_certificates=ca, require_client_auth=config.client_verify)
