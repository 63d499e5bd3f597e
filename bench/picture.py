"""Throughput and memory against the number of documents, as an SVG that needs nothing to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log10

Points = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT = 760, 300
_PANEL_WIDTH = 290
_TOP, _BOTTOM = 48, 240
_LOOK = 'font-family="sans-serif" font-size="12" role="img"'
_OURS, _LOOP = "#1f6feb", "#8a8f98"


def picture(growth: Sequence[dict[str, float]]) -> str:
    """Two panels; `growth` has one entry per size, as W11 makes them."""
    counts = [one["documents"] for one in growth]
    panels = [
        _panel(60, "documents/s", counts, growth, "documents_per_s", "baseline_documents_per_s"),
        _panel(440, "memory at most, MB", counts, growth, "memory_mb", "baseline_memory_mb"),
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" {_LOOK}>',
            "<title>Throughput and memory against the number of documents, Nvisy and the loop</title>",
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
            *panels,
            _legend(),
            "</svg>\n",
        ]
    )


def _panel(
    left: int, title: str, counts: Sequence[float], growth: Sequence[dict[str, float]], ours: str, loop: str
) -> str:
    most = _round_up(max(max(one[ours], one[loop]) for one in growth))
    low, high = log10(min(counts)), log10(max(counts))

    def at(count: float, value: float) -> str:
        x = left + (_PANEL_WIDTH * (log10(count) - low) / (high - low) if high > low else _PANEL_WIDTH / 2)
        return f"{x:.1f},{_BOTTOM - (_BOTTOM - _TOP) * value / most:.1f}"

    parts = [f'<text x="{left}" y="{_TOP - 18}" font-weight="bold">{title}</text>']
    for share in (0.0, 0.5, 1.0):
        y = _BOTTOM - (_BOTTOM - _TOP) * share
        parts.append(f'<path d="M{left} {y}h{_PANEL_WIDTH}" stroke="#e1e4e8"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{most * share:,.0f}</text>')
    for count in counts:
        x = at(count, 0).partition(",")[0]
        parts.append(f'<text x="{x}" y="{_BOTTOM + 18}" text-anchor="middle">{count:,.0f}</text>')
    for name, colour in ((loop, _LOOP), (ours, _OURS)):
        places = [at(one["documents"], one[name]) for one in growth]
        parts.append(
            f'<polyline points="{" ".join(places)}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        for place in places:
            x, _, y = place.partition(",")
            parts.append(f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"/>')
    return "\n".join(parts)


def _legend() -> str:
    y = _HEIGHT - 16
    return (
        f'<circle cx="66" cy="{y - 4}" r="4" fill="{_OURS}"/><text x="76" y="{y}">Nvisy, W1</text>'
        f'<circle cx="156" cy="{y - 4}" r="4" fill="{_LOOP}"/><text x="166" y="{y}">the loop</text>'
        f'<text x="{_WIDTH - 30}" y="{y}" text-anchor="end">documents, logarithmic</text>'
    )


def _round_up(value: float) -> float:
    """The next number with one digit that counts."""
    step = 10 ** int(log10(value)) if value > 0 else 1
    return ceil(value / step) * step
