"""A loaded version with what answers its requests."""

from collections.abc import Callable
from pathlib import Path

from tfb2d.evaluation.scorer import ABOUT
from tfb2d.serving.server.batching import Batcher, BatchingParameters
from tfb2d.serving.server.errors import Code, StatusError
from tfb2d.serving.server.inference import Inference
from tfb2d.serving.server.options import Options
from tfb2d.serving.server.predict import Predictor
from tfb2d.serving.server.preflight import read_batching
from tfb2d.serving.server.session import Session


class Servable:
    """A version's session, its predictor and its tf.Example methods.

    Args:
      folder: version folder.
      base: the model's base path.
      options: flags.
      batcher: the batcher, where batching is on.
      own_batcher: it serves this version only and ends with it.

    Raises:
      StatusError: it cannot be loaded.
    """

    def __init__(
        self, folder: str, base: str, options: Options, batcher: Batcher | None, own_batcher: bool = False
    ) -> None:
        if batcher is not None:
            batcher.parameters.check()
        self.session = Session(folder, options, base)
        self._batcher = batcher
        self._own_batcher = own_batcher
        self.predictor = Predictor(self.session, options, options.join_requests and Path(folder, ABOUT).is_file())
        if batcher is not None:
            self.predictor.run = batcher.wrap(self.session.run)
        self.inference = Inference(self.session, self.predictor.run)

    def close(self) -> None:
        """Frees the session."""
        if self._batcher is not None:
            self._batcher.forget(self.session.run)
            if self._own_batcher:
                self._batcher.stop()
        self.session.close()


Observe = Callable[[float, int], None]


class Batchers:
    """The server's batcher, and those of models that bring their own parameters.

    Args:
      options: flags.
      parameters: the server's; None where batching is off.
      observe: see `Batcher`.
    """

    def __init__(self, options: Options, parameters: BatchingParameters | None, observe: Observe) -> None:
        self._options = options
        self._observe = observe
        self._shared = None if parameters is None else Batcher(parameters, observe)

    def for_version(self, folder: str) -> tuple[Batcher | None, bool]:
        """The batcher of a version folder (None where batching is off), and whether it is that version's own."""
        own = Path(folder, "batching_params.pbtxt")
        if self._shared is None or not self._options.enable_per_model_batching_parameters or not own.is_file():
            return self._shared, False
        try:
            parameters = read_batching(str(own))
            parameters.check()
            return Batcher(parameters, self._observe), True
        except StatusError as error:
            raise StatusError(Code.INVALID_ARGUMENT, error.message) from None
