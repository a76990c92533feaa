"""The process that a `tfb2d.bench.measure.Worker` starts: `python -m tfb2d.bench.worker 0,1` runs on cores 0 and 1.

Reads requests, a line of JSON each, and answers likewise. Whatever libraries print goes to stderr.
"""

import json
import os
import sys
import time
import traceback
from dataclasses import asdict
from typing import Any


def serve(answers: Any) -> None:
    """Answers requests until the input ends."""
    # Imported here, after the cores are set, since libraries count them when they load.
    from tfb2d.bench.measure import import_function, peak_megabytes, time_calls

    system: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        do, arguments = request.pop("do"), request.get("arguments")
        value: Any = None
        try:
            if do == "open":
                start = time.perf_counter()
                system = import_function(request["factory"])(**arguments)
                seconds = time.perf_counter() - start
                value = {"seconds": seconds, "peak_mb": peak_megabytes(), **getattr(system, "about", {})}
            elif do == "time":
                value = asdict(time_calls(getattr(system, request.pop("method")), **request))
            elif do == "call":
                value = getattr(system, request["method"])(*arguments)
            else:
                value = import_function(request["function"])(**arguments)
            answer = {"value": value.tolist() if hasattr(value, "tolist") else value}
        except Exception as error:  # the caller decides what to do
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in sys.argv[1].split(",")})
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(out)
