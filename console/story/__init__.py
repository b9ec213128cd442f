"""One order's story: told from what the services know of it, drawn as a picture, kept as a file.

It is pure: what it is given are the documents of `GET /orders/{id}` and `GET /orders/{id}/timeline`, and what it gives
is data and text. It asks no service and reads no clock.
"""

from console.story.file import Verified, evidence, read_file, style, verify, write_file
from console.story.model import (
    Agree,
    Agreement,
    Gap,
    Lane,
    Mood,
    Say,
    Step,
    Story,
    StoryError,
    Tone,
)
from console.story.picture import draw
from console.story.telling import tell
from console.story.words import printable

__all__ = [
    "Agree",
    "Agreement",
    "Gap",
    "Lane",
    "Mood",
    "Say",
    "Step",
    "Story",
    "StoryError",
    "Tone",
    "Verified",
    "draw",
    "evidence",
    "printable",
    "read_file",
    "style",
    "tell",
    "verify",
    "write_file",
]
