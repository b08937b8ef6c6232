"""What an environment may render, and the window of render_mode "human", for every family.

matplotlib is imported when one opens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.errors import MissingDependencyError, SettingError


def check_render_mode(mode: str | None, known: Sequence[str]) -> None:
    """Refuse a render mode that an environment does not have.

    Args:
        mode: as the user gave it; None for no rendering.
        known: the environment's modes.

    Raises:
        SettingError: the mode is none of those known.
    """
    if mode is not None and mode not in known:
        raise SettingError(f"render_mode {mode!r} is unknown; known: {', '.join(known)}, or none")


class Window:
    """A window that shows one picture after the other."""

    def __init__(self) -> None:
        self._image: Any = None

    def show(self, picture: np.ndarray, fps: float) -> None:
        """Show a picture.

        Args:
            picture: uint8 [H, W, 3].
            fps: pictures a second; this one is shown for 1 / fps seconds.

        Raises:
            MissingDependencyError: matplotlib is not installed.
        """
        try:
            import matplotlib.pyplot as plt
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                "render_mode 'human' needs matplotlib; pip install 'sysopt-gym[report]'"
            ) from error
        if self._image is None:
            self._image = plt.figure(figsize=(9.6, 6.4)).add_axes((0, 0, 1, 1)).imshow(picture)
            self._image.axes.axis("off")
        self._image.set_data(picture)
        plt.pause(1 / fps)

    def close(self) -> None:
        """Close the window, if one is open."""
        if self._image is not None:
            import matplotlib.pyplot as plt

            plt.close(self._image.figure)
            self._image = None
