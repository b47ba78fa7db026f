"""Wordings by rule: a task's intent, domain and unit put together anew in each of the four forms."""

from __future__ import annotations

from collections.abc import Iterator

from berri.card import TaskCard, Wording

RELATIONS = {
    "asks": "asks for what is said in",
    "clarifies": "clears up",
    "continues": "carries on from",
    "decomposes": "takes apart",
    "documents": "says what is done by",
    "duplicates": "means the same as",
    "elaborates": "tells in full what is named by",
    "implements": "does what is described by",
    "infers": "follows from",
    "informs": "gives the background to",
    "joins": "puts together",
    "opposes": "speaks against",
    "paraphrases": "says in other words what is said in",
    "simplifies": "says more simply what is said in",
    "supports": "speaks for",
}
"""Intent -> the verb of a relative clause, where the intent's own name, such as "answers", wouldn't read well."""

FRAMES = {
    "order": ("Find {what}.", "Retrieve {what}.", "Look up {what}.", "Show me {what}."),
    "wish": ("I want {what}.", "I need {what}.", "I'm looking for {what}.", "I'd like to read {what}."),
    "noun": ("{What}", "Any {bare}"),
    "question": ("Where is {what}?", "Which {asks}?", "What is {what}?"),
}
"""Form -> sentences: `what` is the unit with an article and a relative clause, `bare` the same without an article, and
`asks` has a main clause in place of the relative one."""

_PLURAL = ("sentences", "keywords", "bullet points", "instructions")
_NO_ARTICLE = ("code", *_PLURAL)
_NO_NOUN = ("what", "how", "two")  # first words of a `query_is` that "this" can't stand before


def recombined(card: TaskCard) -> Iterator[Wording]:
    """Wordings of all forms: intent and unit with and without the domain, and with the query named or not."""
    says_its_unit = card.unit.split()[-1][:5] in card.domain  # "a table from tables of Wikipedia"
    for asked in (_this(card.query_is), "this"):
        for place in ("",) if says_its_unit else (f" from {card.domain}", ""):
            relation = _relation(card)
            bare = f"{card.unit}{place} that {relation} {asked}"
            what = bare if card.unit.endswith(_NO_ARTICLE) else f"{_article(bare)} {bare}"
            parts = {"what": what, "What": what[0].upper() + what[1:], "bare": bare}
            parts["asks"] = f"{card.unit}{place} {relation} {asked}"
            for form, frames in FRAMES.items():
                for frame in frames:
                    if not (card.unit.endswith(_PLURAL) and "is {what}" in frame.casefold()):
                        yield Wording(frame.format(**parts), form, False)


def _relation(card: TaskCard) -> str:
    relation = RELATIONS.get(card.intent, card.intent)
    if not card.unit.endswith(_PLURAL):
        return relation
    first, *rest = relation.split()
    return " ".join([{"does": "do", "carries": "carry"}.get(first, first.removesuffix("s")), *rest])


def _this(thing: str) -> str:
    thing = thing.split(",")[0].rstrip("!")
    head = thing.split(" of ")[0].split()[-1]
    if thing.split()[0] in _NO_NOUN:
        return "the following"
    return f"these {thing}" if head.endswith("s") and not head.endswith("ss") else f"this {thing}"


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeioAEIOR" else "a"
