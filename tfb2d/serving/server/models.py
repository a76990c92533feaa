"""Keeps models and their versions: what is served, what is being loaded, what is being unloaded.

`api` takes the version of each request here; polling threads and HandleReloadConfigRequest change what there is.

A new version is loaded before the old version goes (TensorFlow Serving's AvailabilityPreservingPolicy). Where it cannot be
loaded, the old version keeps serving. A version goes only when its last request has ended.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tfb2d.serving.server import versions
from tfb2d.serving.server.configuration import ModelSettings, check_labels
from tfb2d.serving.server.errors import Code, StatusError, invalid
from tfb2d.serving.server.options import Options
from tfb2d.serving.server.servable import Servable
from tfb2d.serving.server.versions import Model, State, Version

_log = logging.getLogger(__name__)

Loader = Callable[[str, int, str, str], Servable]  # name, version, folder, base path
Configured = Callable[[Mapping[str, ModelSettings]], None]


class ModelManager:
    """Keeps the served versions in step with the folders and the configuration.

    `configured` is called with every configuration that was taken on.
    """

    def __init__(self, options: Options, load: Loader, configured: Configured | None = None) -> None:
        self._options, self._load_servable, self._configured = options, load, configured
        self._models: dict[str, Model] = {}
        self._changed = threading.Condition(threading.RLock())
        self._slots = threading.Semaphore(options.num_load_threads or 2)
        self._stopped = threading.Event()
        self._polled, self._reloading = threading.Lock(), threading.Lock()
        # By name and version, None for the latest; replaced, never changed: requests read it without a lock.
        self._serving: dict[str, dict[int | None, Version]] = {}

    # Requests

    def take(self, spec: Any) -> Version:
        """Returns the version that a ModelSpec means, held until the end of a `with` block."""
        name = spec.name
        if not name:
            raise invalid("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        number = None if choice is None else spec.version.value
        if choice == "version_label":
            model = self._models.get(name)
            number = model.labels.get(spec.version_label) if model else None
            if number is None:
                raise invalid(f"Unrecognized servable version label: {spec.version_label}")
        while (version := self._serving.get(name, {}).get(number)) is not None:
            if version.take() is not None:
                return version
            time.sleep(0)  # between leaving AVAILABLE and leaving the table
        which = f"Latest({name})" if number is None else f"Specific({name}, {number})"
        raise StatusError(Code.NOT_FOUND, f"Servable not found for request: {which}")

    def status(self, name: str, number: int | None) -> list[Version]:
        """Returns a model's versions, highest first."""
        with self._changed:
            known = self._models[name].versions if name in self._models else {}
            chosen = [known[key] for key in sorted(known, reverse=True) if number in (None, key)]
        if not chosen:
            which = "any versions" if number is None else f"version {number}"
            raise StatusError(Code.NOT_FOUND, f"Could not find {which} of model {name}")
        return chosen

    def settings(self) -> dict[str, ModelSettings]:
        """Returns the configured models."""
        with self._changed:
            return {name: model.settings for name, model in self._models.items() if not model.removed}

    # Configuration

    def configure(self, models: Sequence[ModelSettings], seconds: float | None = None, starting: bool = False) -> None:
        """Takes on a configuration, at start or later: models that it does not list go.

        Waits for new ones, at most `seconds`; None is for ever.
        """
        with self._reloading:
            new = self._take_on(models)
            if self._configured is not None:
                self._configured({settings.name: settings for settings in models})
            if starting:  # checked when the flags were; TensorFlow Serving does not wait for the versions either
                self._set_labels(models, check=False)
            if new:
                self.poll(only=new)
                self._wait(new, seconds, "servable" if starting else "model")
            if not starting:
                self._set_labels(models)

    def _take_on(self, models: Sequence[ModelSettings]) -> set[str]:
        with self._changed:
            new = set()
            for settings in models:
                model = self._models.get(settings.name)
                if model is None or model.removed:
                    new.add(settings.name)
                    self._models[settings.name] = model = Model(settings, model.versions if model else {})
                model.settings = settings
            names = {settings.name for settings in models}
            for name, model in self._models.items():
                if name not in names and not model.removed:
                    model.removed = True
                    model.labels = {}
                    self._aspire(model, {})
            return new

    def _set_labels(self, models: Iterable[ModelSettings], check: bool = True) -> None:
        with self._changed:
            for settings in models if check else ():
                model = self._models[settings.name]
                available = {version.number for version in model.available()}
                check_labels(settings, available, model.labels, self._options)
            for settings in models:
                self._models[settings.name].labels = dict(settings.labels)

    def _wait(self, names: set[str], seconds: float | None, what: str) -> None:
        deadline = None if seconds is None else time.monotonic() + seconds
        with self._changed:
            while not all(self._models[name].decided() for name in names):
                left = None if deadline is None else deadline - time.monotonic()
                if self._stopped.is_set() or (left is not None and left <= 0):
                    raise StatusError(Code.DEADLINE_EXCEEDED, "Timed out waiting for models to become available")
                self._changed.wait(0.5 if left is None else min(left, 0.5))
            aspired = [version for name in sorted(names) for version in self._models[name].aspired()]
            failed = [version for version in aspired if version.state != State.AVAILABLE]
        if failed:
            texts = "".join(f"{{{{name: {v.name} version: {v.number}}} due to error: {v.error}}}, " for v in failed)
            raise StatusError(Code.UNKNOWN, f"{len(failed)} {what}(s) did not become available: {{{texts}}}")

    # Folders

    def watch(self) -> None:
        """Polls until `stop`."""
        wait = self._options.file_system_poll_wait_seconds
        while wait > 0 and not self._stopped.wait(wait):
            try:
                self.poll()
            except Exception:  # a poll that fails must not end polling
                _log.exception("polling the model folders failed")

    def poll(self, only: set[str] | None = None) -> None:
        """Looks at the folders once."""
        with self._polled:
            with self._changed:
                models = [model for model in self._models.values() if not model.removed]
            for model in models:
                if only is not None and model.settings.name not in only:
                    continue
                folders = model.scan()
                if folders is None:
                    continue  # what serves keeps serving
                chosen = {number: folders[number] for number in versions.choose(folders, model.settings.policy)}
                known = [version for number, version in model.versions.items() if number in chosen]
                retry = {version.number for version in known if version.failed and version.changed_since()}
                with self._changed:
                    if not model.removed:
                        model.seen = model.seen or bool(chosen)
                        self._aspire(model, chosen, retry)

    def _aspire(self, model: Model, chosen: dict[int, str], retry: Iterable[int] = ()) -> None:
        for number, version in model.versions.items():
            if number not in chosen:
                version.aspired = False
                version.cancelled.set()
        for number, path in chosen.items():
            known = model.versions.get(number)
            if known is None or (known.state == State.END and (number in retry or not known.failed)):
                version = model.versions[number] = Version(model.settings.name, number, path)
                _in_thread(self._load, model, version, model.settings.base_path)
            elif known.state in (State.AVAILABLE, State.START, State.LOADING) and not known.aspired:
                known.aspired = True
                known.cancelled.clear()
        self._unload_retired(model)

    # Loading

    def _load(self, model: Model, version: Version, base: str) -> None:
        for attempt in range(self._options.max_num_load_retries + 1):
            if attempt:
                _log.warning("loading %s %d failed, trying again: %s", version.name, version.number, version.error)
                version.cancelled.wait(self._options.load_retry_interval_micros / 1e6)
            servable = self._load_once(version, base)
            if servable is not None or version.cancelled.is_set():
                break
        with self._changed:
            version.servable = servable
            if servable is not None and version.cancelled.is_set():
                version.retire()
                _in_thread(self._close, version)
            else:
                version.state = State.AVAILABLE if servable is not None else State.END
                done = "Successfully loaded" if servable is not None else f"failed to load ({version.error})"
                _log.info("%s servable version {name: %s version: %d}", done, version.name, version.number)
            self._publish(model)
            self._unload_retired(model)

    def _load_once(self, version: Version, base: str) -> Servable | None:
        settle = self._options.version_settle_seconds
        while True:
            version.content = versions.wait_until_settled(version.path, settle, version.cancelled)
            if version.cancelled.is_set():
                return None
            with self._changed:
                version.state = State.LOADING
            servable: Servable | None = None
            failure: StatusError | None = None
            try:
                with self._slots:
                    servable = self._load_servable(version.name, version.number, version.path, base)
            except StatusError as error:
                failure = error
            except Exception as error:  # a model must not be able to end the server
                _log.exception("loading %s %d", version.name, version.number)
                failure = StatusError(Code.UNKNOWN, f"{type(error).__name__}: {error}")
            if not version.changed_since():
                version.error = failure
                return servable
            _log.warning("%s changed while it was being loaded; loading it again", version.path)
            if servable is not None:
                servable.close()

    def _publish(self, model: Model) -> None:
        available = model.available()
        serving: dict[int | None, Version] = {version.number: version for version in available}
        if available:
            serving[None] = available[-1]
        self._serving = {**self._serving, model.settings.name: serving}
        self._changed.notify_all()

    def _unload_retired(self, model: Model) -> None:
        available = model.available()
        if model.aspired() and not any(version.aspired for version in available):
            return  # the old goes when the new serves
        retired = [version for version in available if not version.aspired]
        for version in retired:
            version.retire()
        if retired:
            self._publish(model)
        for version in retired:
            _in_thread(self._close, version)

    def _close(self, version: Version) -> None:
        version.close()
        with self._changed:
            version.state = State.END
            version.error = None
            _log.info("Done unloading servable version {name: %s version: %d}", version.name, version.number)
            self._changed.notify_all()

    def interrupt(self) -> None:
        """Ends waits; safe in a signal handler."""
        self._stopped.set()

    def stop(self) -> None:
        """Ends polling and loading."""
        self._stopped.set()
        with self._changed:
            for model in self._models.values():
                for version in model.versions.values():
                    version.cancelled.set()
            self._changed.notify_all()


def _in_thread(work: Callable[..., None], *arguments: Any) -> None:
    threading.Thread(target=work, args=arguments, name=work.__name__, daemon=True).start()
