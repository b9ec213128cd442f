"""Draws a story: a sequence picture as one SVG, which needs no script and has no style of its own.

Its classes are those of `story.css`, which a page has beside it; without, it has the page's own colour. Each step
is a link to its evidence, named in full, so that it can be reached by keyboard and is read out in order.
"""

from collections.abc import Iterator

from console.story.layout import HEAD, LINE, PAD, TIME, TIMELESS, Layout, Note, Row, lay_out
from console.story.markup import Markup, join, tag
from console.story.model import Lane, Story
from console.story.runs import Run
from halfmessage.clock import rfc3339

_ARROW = 7  # pixels: length of an arrow's head
_DOT = 5  # pixels: radius of what happened within one lane


def draw(story: Story, *, title_id: str = "story", anchor: str = "step-") -> str:
    """Return the picture of a story, an `<svg>` element.

    `title_id`: the id of its title, unique on its page; ids of the picture begin with it. Step 7 is a link to
    `#<anchor>7`, which the page has; several that are drawn as one, to the first of them.
    """
    layout = lay_out(story)
    names = {lane.key: lane.name for lane in story.lanes}
    title = f"What happened to order {story.order_id}: {len(story.steps)} steps"
    return tag(
        "svg",
        tag("title", title, id=title_id),
        tag("g", *_lifelines(layout, story), aria_hidden="true"),
        tag("g", *_items(layout, names, anchor), role="list", aria_label="Steps in the order of their times, UTC"),
        class_="story",
        role="group",
        aria_labelledby=title_id,
        xmlns="http://www.w3.org/2000/svg",
        width=layout.width,
        height=layout.height,
        viewBox=f"0 0 {layout.width:g} {layout.height:g}",
        font_size="13",
        font_family="system-ui, sans-serif",
    )


def _lifelines(layout: Layout, story: Story) -> Iterator[Markup]:
    yield _text(PAD, HEAD / 2 + 4, "time (UTC)", "lane")
    yield _text(TIME, HEAD / 2 + 4, "what happened", "lane")
    for lane in story.lanes:
        yield from _lane(lane, layout.x[lane.key], layout)


def _lane(lane: Lane, x: float, layout: Layout) -> Iterator[Markup]:
    words = lane.name.split(" ", 1)
    for number, word in enumerate(words):
        y = HEAD / 2 + 4 + (number - (len(words) - 1) / 2) * 14
        yield _text(x, y, word[:13], "lane", text_anchor="middle")
    ink = {"class_": "life", "stroke": "currentColor", "stroke_opacity": "0.3"}
    yield tag("line", x1=x, x2=x, y1=HEAD, y2=layout.timeless, **ink)
    if layout.timeless < layout.height:
        yield tag("line", x1=x, x2=x, y1=layout.timeless, y2=layout.height, stroke_dasharray="2 6", **ink)


def _items(layout: Layout, names: dict[str, str], anchor: str) -> Iterator[Markup]:
    for item in layout.items:
        drawn = _row(item, layout, names, anchor) if isinstance(item, Row) else join(*_note(item, layout))
        yield tag("g", drawn, role="listitem")


def _note(note: Note, layout: Layout) -> Iterator[Markup]:
    yield tag(
        "rect",
        class_=f"note {note.kind}",
        x=0,
        y=note.top + 2,
        width=layout.width,
        height=(layout.height - note.top if note.kind == TIMELESS else note.height) - 4,
        fill="none",
        aria_hidden="true",
    )
    for number, line in enumerate(note.words):
        yield _text(TIME, note.top + PAD + LINE * (number + 0.75), line, f"words {note.kind}", font_size="12")


def _row(row: Row, layout: Layout, names: dict[str, str], anchor: str) -> Markup:
    step = row.run.first
    kind = f"step {step.tone.value}" + ("" if step.known and step.at is not None else " unknown")
    name = _name(row.run, names)
    return tag(
        "a",
        tag("title", name),
        tag("rect", class_="ground", x=0, y=row.top, width=layout.width, height=row.height, fill="none"),
        *_words(row),
        *_mark(row, layout),
        class_=kind,
        href=f"#{anchor}{step.number}",
        aria_label=name,
    )


def _name(run: Run, names: dict[str, str]) -> str:
    """Return what a screen reader says of a step, or of several that are drawn as one."""
    step, steps = run.first, "Step" if run.is_one else "Steps"
    at = "time not known" if step.at is None else rfc3339(step.at)
    begins, ends = names[step.begins], names[step.ends]
    where = f"at {begins}" if begins == ends else f"{begins} to {ends}"
    return f"{steps} {run.number}, {at}, {where}: {run.label}" + (f" ({run.detail})" if run.detail else "")


def _words(row: Row) -> Iterator[Markup]:
    top = row.top + PAD
    yield _text(PAD, top + LINE * 0.75, row.time, "time")
    if row.since:
        yield _text(PAD, top + LINE * 1.75, row.since, "since", font_size="12")
    for number, line in enumerate(row.label):
        yield _text(TIME, top + LINE * (number + 0.75), line, "label", font_weight="600")
    for number, line in enumerate(row.detail, len(row.label)):
        yield _text(TIME, top + LINE * (number + 0.75), line, "detail", font_size="12")


def _mark(row: Row, layout: Layout) -> Iterator[Markup]:
    """Draw an arrow, or a dot for what happened within one lane: dashed where it, or its time, is not known."""
    step, y = row.run.first, row.middle
    begins, ends = layout.x[step.begins], layout.x[step.ends]
    dashed = {} if step.known and step.at is not None else {"stroke_dasharray": "4 3"}
    ink = {"class_": "mark", "stroke": "currentColor", "fill": "currentColor"}
    if begins == ends:
        yield tag("circle", cx=begins, cy=y, r=_DOT, **ink, **dashed)
        return
    back = _ARROW if ends > begins else -_ARROW
    head = f"M {ends:g} {y:g} l {-back:g} -4 v 8 z"
    if step.lost:  # a cross before the lane
        back *= 2
        head = f"M {ends - back:g} {y:g} m -5 -5 l 10 10 m 0 -10 l -10 10"
    yield tag("circle", cx=begins, cy=y, r=3, **ink)
    yield tag("line", x1=begins, x2=ends - back, y1=y, y2=y, **ink, **dashed)
    yield tag("path", d=head, **ink)


def _text(x: float, y: float, words: str, kind: str, **attributes: str) -> Markup:
    return tag("text", words, class_=kind, x=x, y=y, fill="currentColor", **attributes)
