"""Random access to the records of prepared data, without TensorFlow."""

import functools
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Source(Protocol):
    """Random access to records {"image": JPEG or PNG bytes, "subject": …, "index": …}."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Mapping[str, Any]: ...


class Records:
    """The records of some array_record files, as TFDS writes them: one tf.train.Example each.

    It does what `as_data_source` of TFDS does without decoding images, in a third of the time,
    and is small to send to worker processes.

    Args:
      paths: the files, in order.
      size: how many records they hold.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]], size: int):
        self._paths, self._size = [os.fspath(path) for path in paths], size
        self._files: Any = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"_paths": self._paths, "_size": self._size}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_paths"], state["_size"])  # type: ignore[misc]

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        files = self._files
        if files is None:
            with self._lock:  # opened once, also if several threads want it first
                files = self._files = self._files or _open(self._paths)
        features = _example().FromString(files[index]).features.feature
        return {name: _value(feature) for name, feature in features.items()}


def _open(paths: Sequence[str]) -> Any:
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    return ArrayRecordDataSource(paths)


def _value(feature: Any) -> Any:
    values = getattr(feature, feature.WhichOneof("kind")).value
    return values[0]


@functools.cache
def _example() -> Any:
    from tensorflow_datasets.proto import tf_example_pb2

    return tf_example_pb2.Example
