"""Describes a model, its versions and their lives: START, LOADING, AVAILABLE, UNLOADING, END, as in ModelVersionStatus."""

import logging
import threading

from tensorflow_serving.apis import get_model_status_pb2

from tfb2d.serving.server.configuration import ModelSettings
from tfb2d.serving.server.errors import StatusError
from tfb2d.serving.server.servable import Servable

State = get_model_status_pb2.ModelVersionStatus
_log = logging.getLogger(__name__)


class Version:
    """Is a version of a model; `models` changes its state, requests take it and give it back."""

    def __init__(self, name: str, number: int, path: str) -> None:
        self.name = name
        self.number = number
        self.path = path
        self.state = State.START
        self.error: StatusError | None = None
        self.servable: Servable | None = None
        self.aspired = True
        self.cancelled = threading.Event()
        self.content: frozenset = frozenset()
        self._users = 0
        self._lock = threading.Lock()
        self._unused = threading.Event()

    @property
    def failed(self) -> bool:
        """Says whether it could not be loaded and still should be: it is tried again once its folder has changed."""
        return self.state == State.END and self.aspired and self.error is not None

    def take(self) -> Servable | None:
        """Returns the servable, held until `give_back`; None when it does not serve (any more)."""
        with self._lock:
            if self.state != State.AVAILABLE:
                return None
            self._users += 1
            return self.servable

    def give_back(self) -> None:
        """Ends a `take`."""
        with self._lock:
            self._users -= 1
            if not self._users and self.state == State.UNLOADING:
                self._unused.set()

    def retire(self) -> None:
        """Turns from AVAILABLE to UNLOADING: nobody new may take it."""
        with self._lock:
            self.state = State.UNLOADING
            if not self._users:
                self._unused.set()

    def close(self) -> None:
        """Waits for the last user, then frees the servable."""
        self._unused.wait()
        servable, self.servable = self.servable, None
        if servable is not None:
            servable.close()


class Model:
    """Holds a model's settings, versions and labels."""

    def __init__(self, settings: ModelSettings) -> None:
        self.settings = settings
        self.versions: dict[int, Version] = {}
        self.labels: dict[str, int] = {}
        self.seen = False  # whether a poll has seen a version that the policy chooses
        self.removed = False
        self._warned = ""

    def aspired(self) -> list[Version]:
        """Returns the versions that should serve."""
        return [version for version in self.versions.values() if version.aspired]

    def available(self) -> list[Version]:
        """Returns the versions that serve, lowest first."""
        return [version for _, version in sorted(self.versions.items()) if version.state == State.AVAILABLE]

    def decided(self) -> bool:
        """Says whether each version that should serve does, or cannot."""
        done = (State.AVAILABLE, State.END)
        return self.removed or (self.seen and all(version.state in done for version in self.aspired()))

    def warn_once(self, folders: dict[int, str] | None) -> None:
        """Says that there is no version, when that is news."""
        what = "" if folders else "Could not find base path" if folders is None else "No versions found under base path"
        if what and what != self._warned:
            _log.warning("%s %s for servable %s", what, self.settings.base_path, self.settings.name)
        self._warned = what
