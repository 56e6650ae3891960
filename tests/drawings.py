"""Where the text of a picture stands, to tell whether any of it collides."""

import itertools
from unittest import mock

from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg


def texts(figure):
    """Each line of text drawn with its box (left, top, right, bottom) in pixels from the top."""
    found, draw_text = [], RendererAgg.draw_text

    def record(self, gc, x, y, s, prop, angle, ismath=False, mtext=None):
        width, height, below = self.get_text_width_height_descent(s, prop, ismath)
        assert angle in (0, 90)
        if angle:
            box = x - height + below, y - width, x + below, y
        else:
            box = x, y - height + below, x + width, y + below
        found.append((s, box))
        return draw_text(self, gc, x, y, s, prop, angle, ismath, mtext)

    with mock.patch.object(RendererAgg, "draw_text", record):
        FigureCanvasAgg(figure).draw()
    return found


def collisions(figure):
    """Pairs of texts that overlap, and texts that leave the picture."""
    found = texts(figure)
    width, height = figure.canvas.get_width_height()
    outside = [
        s
        for s, (left, top, right, bottom) in found
        if left < 0 or top < 0 or right > width or bottom > height
    ]
    pairs = [
        (s, other)
        for (s, a), (other, b) in itertools.combinations(found, 2)
        if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
    ]
    return outside + pairs
