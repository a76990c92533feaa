#!/usr/bin/env bash
# Milvus Lite: a collection that was loaded is not after a restart of its server, but is if its file is opened again
#
# Version: milvus-lite 3.2.2, pymilvus 3.0.2, NumPy 2.4.6, Python 3.11
# A good guess: the file "x.db" opened by MilvusClient and the same engine as a server (`milvus-lite server`) behave alike
#   after a restart; a Milvus server remembers what was loaded.
# What happens: a client that opens the file again searches at once. After a restart of the server, every search fails with
#   "is in state 'released'; call load()" until somebody loads the collection.
# For whom it matters: programs that load once after building. Load on every connection: loading twice does no harm.
# Seen on 2026-11-28:
#   file, opened again: 1 hit
#   server, restarted: Collection 'c' is in state 'released'; call load() before search/get/query
#   server, loaded: 1 hit
# The script ends with an error if this changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check milvus-lite==3.2.2 pymilvus==3.0.2 numpy==2.4.6
cd "$folder"
"$folder/bin/python" - <<'PYTHON'
import logging
import socket
import subprocess
import sys
import time

from pymilvus import MilvusClient, MilvusException

logging.disable(logging.CRITICAL)


def fill(client):
    client.create_collection("c", dimension=8, metric_type="IP")
    client.insert("c", [{"id": at, "vector": [float(at == i) for i in range(8)]} for at in range(8)])
    client.flush("c")
    client.load_collection("c")


def hits(client):
    return len(client.search("c", data=[[1.0] + [0.0] * 7], limit=1)[0])


def start(port):
    command = [sys.executable, "-m", "milvus_lite", "server", "--data-dir=data", "--host=127.0.0.1", f"--port={port}"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return server
        time.sleep(0.1)


client = MilvusClient("x.db")
fill(client)
client.close()
file_hits = hits(MilvusClient("x.db"))
print(f"file, opened again: {file_hits} hit")
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
server = start(port)
client = MilvusClient(f"http://127.0.0.1:{port}")
fill(client)
assert hits(client) == 1
client.close()
server.terminate()
server.wait()
server = start(port)
try:
    for _ in range(100):  # gRPC waits before it connects anew
        try:
            client = MilvusClient(f"http://127.0.0.1:{port}")
            break
        except MilvusException:
            time.sleep(0.3)
    try:
        hits(client)
        message = "it searches"
    except MilvusException as error:
        message = error.message
    print(f"server, restarted: {message}")
    client.load_collection("c")
    loaded_hits = hits(client)
    print(f"server, loaded: {loaded_hits} hit")
finally:
    server.terminate()
assert (file_hits, loaded_hits) == (1, 1)
assert "is in state 'released'" in message
PYTHON
