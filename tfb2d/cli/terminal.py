"""What reaches the user's terminal: results, progress and tfb2d's own log lines, not the chatter of native libraries.

TensorFlow writes dozens of lines to file descriptor 2 when it starts, whatever its log level is. While a command runs, that
descriptor is a pipe: lines of the form that these libraries write go to the log at debug level, anything else, such as the
progress bars of child processes, to the terminal. Python's own `sys.stderr` writes to the terminal directly.
"""

import faulthandler
import logging
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOG = logging.getLogger("tfb2d.native")
_OWN = f"{Path(__file__).parents[1]}{os.sep}"
# Info and warning lines of absl's C++ log, errors of looking for a GPU that is not there, TensorFlow Lite's notes.
CHATTER = re.compile(
    rb"[IW]\d{4} \d\d|E\d{4} .*\bcuda\w*\.cc|E\d{4} .*Unable to register|WARNING: All log messages before absl"
    rb"|(INFO|WARNING): .*(TensorFlow Lite|XNNPACK)|To enable the following instructions|\d{4}-\d\d-\d\d [\d:.]+: [IW] "
)
_MAY_BECOME = re.compile(rb"[IWE]\d|WARNING|INFO|To enable|\d{4}-\d\d")  # the beginning of a line that is not complete


@contextmanager
def quiet(verbose: bool = False, capture: bool = True) -> Iterator[None]:
    """Sets logging up and keeps the chatter of libraries from the terminal within a `with` block, unless `verbose`.

    `capture` says whether lines of native libraries are kept back; it is off for a command that becomes another program.
    """
    with without_chatter(capture and not verbose), _logging(verbose):
        yield


@contextmanager
def without_chatter(capture: bool = True) -> Iterator[None]:
    """Sends chatter of native libraries to the log at debug level, within the block; `capture=False` does nothing."""
    try:
        own = sys.stderr.fileno() == 2
    except (AttributeError, OSError, ValueError):
        own = False  # somebody else, such as a notebook or a test, reads what Python writes there
    if not capture or not own:
        yield
        return
    sys.stderr.flush()
    before, terminal = sys.stderr, os.dup(2)
    end, begin = os.pipe()
    os.dup2(begin, 2)
    os.close(begin)
    sys.stderr = os.fdopen(os.dup(terminal), "w", 1, encoding=before.encoding, errors=before.errors)
    faulthandler.enable(sys.stderr)  # a native library that aborts leaves at least the line that it was called from
    thread = threading.Thread(target=_pass_on, args=(end, terminal), daemon=True)
    thread.start()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(terminal, 2)  # the pipe's last writer, where no child process is left, so the thread ends
        faulthandler.disable()
        sys.stderr = before
        thread.join(1.0)


def printable(text: str) -> str:
    """Returns a text on one line, with escapes for control characters, which a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def _pass_on(source: int, terminal: int) -> None:
    unfinished = b""
    while data := os.read(source, 65536):
        *lines, unfinished = re.split(rb"(?<=[\r\n])", unfinished + data)
        for line in lines:
            _write(terminal, line)
        if unfinished and not _MAY_BECOME.match(unfinished):
            _write(terminal, unfinished)
            unfinished = b""
    _write(terminal, unfinished)


def _write(terminal: int, line: bytes) -> None:
    if CHATTER.match(line):
        _LOG.debug("%s", line.decode("utf-8", "replace").rstrip())
    elif line:
        os.write(terminal, line)


@contextmanager
def _logging(verbose: bool) -> Iterator[None]:
    root = logging.getLogger()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
    if not verbose:
        handler.addFilter(_is_for_the_user)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    from importlib.util import find_spec

    if find_spec("absl"):
        from absl import logging as absl_logging

        absl_logging.set_verbosity(absl_logging.DEBUG if verbose else absl_logging.INFO)
    with warnings.catch_warnings():  # puts the filters back
        logging.captureWarnings(True)
        try:
            yield
        finally:
            logging.captureWarnings(False)
            root.removeHandler(handler)
            root.setLevel(level)


def _is_for_the_user(record: logging.LogRecord) -> bool:
    if record.name == "py.warnings":
        return False
    return record.levelno >= logging.ERROR or (record.pathname.startswith(_OWN) and record.levelno >= logging.INFO)
