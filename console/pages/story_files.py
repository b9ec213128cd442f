"""Story files, opened: what was saved or sent around is verified, and shown as it was told then."""

from typing import Any, Final

from console.pages.site import OWNER, Result, Shown, Site
from console.pages.viewer import Viewer
from console.story import StoryError, Verified, verify

_FILE: Final = "story"


def install(site: Site) -> None:
    """Add the page. It asks no service: a file shows its viewer what is in it, and nothing else."""

    @site.page("/story-files", scopes=OWNER, menu="Story files")
    def choose(viewer: Viewer) -> Result:  # noqa: ARG001 - each may
        return _shown()

    @site.upload("/story-files", file=_FILE, scopes=OWNER)
    def open_file(viewer: Viewer, sent: bytes) -> Result:  # noqa: ARG001
        if not sent:
            return _shown(wrong="Choose a file first.")
        try:
            return _shown(verify(sent.decode()))
        except UnicodeDecodeError:
            return _shown(wrong="This is no story file: it is not text.")
        except StoryError as error:
            return _shown(wrong=error.detail)


def _shown(opened: Verified | None = None, *, wrong: str = "") -> Shown:
    given: dict[str, Any] = {"opened": opened, "wrong": wrong, "file": _FILE}
    return Shown("story_file.html", given, 422 if wrong else 200)
