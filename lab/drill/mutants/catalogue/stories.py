"""Bugs in how an order's story is told, drawn and kept: things made up, and changed files taken for intact ones."""

from lab.drill.mutants.mutant import edited

_TELLING = "tests/unit/test_story_telling.py::"
_SENTENCE = "tests/unit/test_story_sentence.py::"
_FILE = "tests/unit/test_story_file.py::"
_ANY = "tests/property/test_story.py::"

MUTANTS = (
    edited(
        "unknown-time-drawn-as-known",
        "a step of which no witness knows when it happened is drawn like one that is known",
        _ANY + "test_a_time_that_is_not_known_is_never_a_place_in_time",
        ("console.story.picture:_mark", "{} if step.known and step.at is not None else", "{} if True else"),
    ),
    edited(
        "unknown-time-is-the-first",
        "what has no time that is known stands before all else, and the time until the next is told as a length",
        _ANY + "test_a_time_that_is_not_known_is_never_a_place_in_time",
        ("console.story.steps:steps_of", "(entry.at is None, entry.at or 0)", "entry.at or 0"),
    ),
    edited(
        "other-answers-in-one-row",
        "a check-back that was answered otherwise is drawn as one of those before it",
        "tests/unit/test_story_runs.py::test_what_differs_or_has_something_between_is_drawn_apart",
        ("console.story.runs:_same", "plain(message), said,", "plain(message),"),
    ),
    edited(
        "words-from-outside-are-markup",
        "a name with a script in it runs in the browser of who looks at the order",
        _ANY + "test_words_from_outside_stay_text",
        ("console.story.markup:_text", 'escape(_NOT_XML.sub("\\ufffd", text), quote=True)', "text"),
    ),
    edited(
        "data-ends-its-element",
        "a body with </script> in it breaks out of the data of a story file",
        _FILE + "test_a_file_runs_nothing_and_loads_nothing",
        ("console.story.file:_data", "_ESCAPES[found[0]]", "found[0]"),
    ),
    edited(
        "picture-of-other-data-verified",
        "a file whose picture was changed, or whose data was exchanged with its SHA-256, is said to be intact",
        _FILE + "test_a_file_that_was_changed_is_told",
        ("console.story.file:verify", "_page(story, datas[0]) != text", "False"),
    ),
    edited(
        "changed-data-verified",
        "the data of a file that another release drew may be anything",
        _FILE + "test_a_file_that_another_release_drew_has_its_data_compared",
        ("console.story.file:verify", "found != sums[0]", "False"),
    ),
    edited(
        "receiver-in-the-story",
        "a story file tells where its customer lives",
        _FILE + "test_the_receiver_is_not_in_a_file",
        ("console.story.telling:tell", 'if name != "receiver"', "if name"),
    ),
    edited(
        "parked-goes-on-soon",
        "a half message that waits for an operator is said to go on by itself",
        _SENTENCE + "test_a_parked_half_message_waits_for_an_operator",
        ("console.story.undecided:parked", "it asks again only when an operator resumes it", "it asks again soon"),
    ),
    edited(
        "check-is-due-soon",
        "when the broker asks next is made up where it does not tell",
        _SENTENCE + "test_when_the_broker_asks_is_not_made_up",
        ("console.story.undecided:_asks", "at a time that it does not tell", "soon"),
    ),
    edited(
        "silence-agrees",
        "a witness that does not answer counts as one that agrees",
        _TELLING + "test_a_participant_that_does_not_answer",
        ("console.story.testimony:agreement", "Agree.UNKNOWN if Stand.OPEN in stands else", ""),
    ),
    edited(
        "contradiction-under-way",
        "witnesses that contradict each other are told as if that would pass",
        _SENTENCE + "test_witnesses_that_contradict_each_other_are_the_first_thing_told",
        ("console.story.sentence:sentence_of", "_disagreement(witnesses) or ", ""),
    ),
    edited(
        "delivery-foretold-in-the-past",
        "a time that is over is told as that of the next delivery",
        "tests/unit/test_order_timeline.py::test_when_the_broker_asks_or_delivers_next_is_told_where_it_tells",
        ("order.service.timeline:_of_group", "if group.visible_at > now_ms() else {}", ""),
    ),
)
