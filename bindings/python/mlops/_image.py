"""Image: MLflow's picture in the hand, for log_image and to look at. It needs Pillow, and numpy for arrays, which are the
user's: neither is imported before one is made."""

from __future__ import annotations

from . import _files
from ._typing import cast
from .exceptions import InvalidArgument, Unimplemented, WrongType

TYPE_CHECKING = False  # typing is 1 MiB that nobody needs at run time
if TYPE_CHECKING:
    from typing import Any


def _pillow() -> Any:
    from importlib import import_module

    try:
        return import_module("PIL.Image")
    except ImportError:
        raise Unimplemented("Image needs the package Pillow; log_image takes arrays without it") from None


class Image:
    """A picture of an array (as log_image takes it), a nested list of pixels, a PIL image or an image file's path."""

    def __init__(self, image: Any) -> None:
        pillow = _pillow()
        self.image: Any
        if isinstance(image, str) or hasattr(image, "__fspath__"):
            self.image = pillow.open(image)
        elif isinstance(image, pillow.Image):
            self.image = image
        elif isinstance(image, Image):
            self.image = image.image
        else:
            self.image = self._drawn(pillow, image)

    @staticmethod
    def _drawn(pillow: Any, image: Any) -> Any:
        if isinstance(image, list):
            try:
                import numpy
            except ImportError:
                raise Unimplemented("Image of a list needs the package numpy") from None
            image = numpy.array(cast("Any", image))
        pixels, floats, width, height, channels = _files._pixels(image)
        mode = {1: "L", 3: "RGB", 4: "RGBA"}.get(channels)
        if mode is None:
            raise InvalidArgument(f"a picture has 1, 3 or 4 channels, not {channels}")
        if floats:
            import numpy

            pixels = (numpy.frombuffer(pixels, dtype="float32") * 255).astype("uint8").tobytes()
        return pillow.frombytes(mode, (width, height), pixels)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        width, height = self.image.size
        return int(width), int(height)

    def to_list(self) -> list[Any]:
        """The pixels, row by row."""
        return list(self.image.getdata())

    def to_array(self) -> Any:
        import numpy

        return numpy.array(self.image)

    def to_pil(self) -> Any:
        return self.image

    def save(self, path: Any) -> None:
        """In the format that the name ends with."""
        self.image.save(path)

    def resize(self, size: tuple[int, int]) -> Image:
        """A copy of that width and height."""
        if len(size) != 2:
            raise WrongType("size is width and height")
        return Image(self.image.resize(size))
