"""A bare gRPC server that sends every request back, to measure gRPC alone. `python -m tfb2d.bench.echo --port=N`.

It is `grpc.server`, grpcio's own, with one handler for all paths that neither reads nor writes a protobuf.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc


class _Echo(grpc.GenericRpcHandler):
    _handler = grpc.unary_unary_rpc_method_handler(lambda data, context: data)

    def service(self, handler_call_details: Any) -> Any:
        return self._handler


def main(port: int, threads: int = 8) -> None:
    """Serves on 127.0.0.1 until it is ended."""
    server = grpc.server(ThreadPoolExecutor(threads), options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((_Echo(),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(int(sys.argv[1].removeprefix("--port=")))
