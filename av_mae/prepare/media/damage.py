"""What could not be decoded of a file, and whether what could is enough to be a clip."""

import math

from av_mae.prepare.media.container import UnreadableError

# A clip in which less than this could be decoded is rejected.
_LEAST_SECONDS = 1.0
_LEAST_SHARE = 0.25
# A file that ends before this share of its announced length was cut off.
_WHOLE_SHARE = 0.9


class Damage:
    """The first damage of each kind; as text, all of it, empty for a whole file."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def note(self, what: str, moment: float, error: BaseException) -> None:
        """Adds that `what` (picture, sound, file) could not be decoded after a file time."""
        if not any(line.startswith(what) for line in self._lines):
            text = getattr(error, "strerror", None) or str(error) or type(error).__name__
            self._lines.append(f"{what} damaged after {moment:.2f} s: {text}")

    def check(self, length: float, expected: float, good: float) -> None:
        """Adds that a clip was cut off, and refuses one of which hardly anything is left.

        Args:
            length, expected: seconds of the clip, found and promised by the file.
            good: seconds that were decoded, with gaps left out.

        Raises:
            UnreadableError: too little could be decoded.
        """
        if expected < math.inf and length < _WHOLE_SHARE * expected:
            self._lines.append(f"cut off: {length:.2f} of {expected:.2f} s")
        if self._lines and good < min(_LEAST_SECONDS, _LEAST_SHARE * expected):
            raise UnreadableError(f"too little could be decoded: {self}")

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __str__(self) -> str:
        return "; ".join(self._lines)
