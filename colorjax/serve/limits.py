"""What the server accepts, keeps and waits for. Imports no JAX."""

from typing import NamedTuple

from colorjax.images.reasons import MAX_WHOLE


class Limits(NamedTuple):
    """Limits of a server.

    Attributes:
      bytes: of one uploaded file.
      json_bytes: of a request without a file, such as one with many hints.
      pixels: of one file, all its pages together.
      waiting: requests in the queue; more are answered with 503.
      pictures: that are kept.
      memory: bytes of what is kept and of what is arriving, together.
      session_seconds: a picture is forgotten this long after its last use.
      seconds: that one request may take, without the time in the queue.
      seconds_per_megabyte: more, for each million bytes of the uploaded file.
      decode_seconds: that decoding a file may take, plus one second a megabyte.
    """

    bytes: int = 512 << 20
    json_bytes: int = 8 << 20
    pixels: int = MAX_WHOLE
    waiting: int = 32
    pictures: int = 256
    memory: int = 2 << 30
    session_seconds: float = 1800.0
    seconds: float = 300.0
    seconds_per_megabyte: float = 2.0
    decode_seconds: float = 30.0

    def work_seconds(self, size: int) -> float:
        """Seconds that work on a file of this many bytes may take."""
        return self.seconds + self.seconds_per_megabyte * size / 1e6


class Refusal(Exception):
    """A request that is answered with an error.

    Attributes:
      status: of HTTP.
      headers: of the answer.
    """

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers or {}
