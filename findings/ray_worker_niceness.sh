#!/usr/bin/env bash
# Ray: actors compute at niceness 15, so that any other work on the machine goes first
#
# Version: ray 2.60.0, Python 3.11
# A good guess: an actor that was given a CPU (num_cpus=1) competes for it as any process of the same user does.
# What happens: every worker process is started at niceness 15, whatever the driver's is. On a machine that does nothing else
#   nobody sees it. Beside other work at niceness 0 a worker gets about a thirtieth of a core (Linux's weights:
#   1024 to 36). The environment variable RAY_worker_niceness, set before the node starts, changes it; an actor cannot lower
#   it by itself without privileges.
# For whom it matters: measurements of Ray beside a local loop, and labelling on machines that also serve.
# Seen on 2026-11-29: driver 0, actor 15; with RAY_worker_niceness=0 actor 0.
# The script ends with an error if this changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check ray==2.60.0
cd "$folder"
cat > niceness.py <<'PYTHON'
import os

import ray

# A cluster of its own: without "local", ray.init() may join one that runs on this machine.
ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20)


@ray.remote(num_cpus=1)
class Actor:
    def niceness(self):
        return os.getpriority(os.PRIO_PROCESS, 0)


print(f"driver {os.getpriority(os.PRIO_PROCESS, 0)}, actor {ray.get(Actor.remote().niceness.remote())}")
PYTHON
export RAY_USAGE_STATS_ENABLED=0
first="$(nice -n 0 "$folder/bin/python" niceness.py 2>/dev/null | tail -1)"
second="$(RAY_worker_niceness=0 "$folder/bin/python" niceness.py 2>/dev/null | tail -1)"
echo "$first"
echo "with RAY_worker_niceness=0: $second"
test "$first" = "driver 0, actor 15"
test "$second" = "driver 0, actor 0"
