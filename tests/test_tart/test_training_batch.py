"""Batches of a bi-encoder: which document may be wrong for which query, rule by rule."""

from __future__ import annotations

import numpy as np

from tart.collection import Document, Query
from tart.example import Negative, NegativeKind, TrainingExample
from tart.instruction import Instruction
from tart.training.batch import distinct_documents, guarded, near_duplicates, relations
from tart.training.examples import Drawn, draw
from tart.training.settings import DataSettings

UNITS = {
    "code": "function",
    "title": "title",
    "heading": "title",
    "answer": "paragraph",
    "java": "Java function",
    "lisp": "Lisp function",
}
CODE, TITLE, ANSWER = (Instruction(f"Find {kind}") for kind in ("code", "a title", "an answer"))


def document(name: str, text: str = "") -> Document:
    return Document(name, text or f"words of {name} alone {name}1 {name}2")


def drawn(
    task: str,
    group: str,
    positive: str,
    *,
    instruction: Instruction | None = CODE,
    others: tuple[str, ...] = (),
    right_kind: tuple[str, ...] = (),
    wrong_kind: tuple[str, ...] = (),
    other_wish: tuple[str, ...] = (),
) -> Drawn:
    return Drawn(
        f"{task}:{group}",
        task,
        group,
        Query(f"{task}:{group}", f"query {group}", instruction),
        document(positive),
        frozenset(others),
        tuple(map(document, right_kind)),
        tuple(map(document, wrong_kind)),
        other_wish=other_wish,
    )


def names(batch: list[Drawn], mask: np.ndarray, row: int) -> set[str]:
    return {one.doc_id for one, is_set in zip(distinct_documents(batch), mask[row], strict=True) if is_set}


def found(batch: list[Drawn], **compatible: set[str]):
    known = {task: frozenset({task, *others}) for task, others in compatible.items()}
    return relations(batch, distinct_documents(batch), known, UNITS)


def test_everything_else_is_a_candidate() -> None:
    batch = [drawn("code", "a", "A", right_kind=("H",), wrong_kind=("U",)), drawn("code", "b", "B")]
    given = found(batch)
    assert names(batch, given.candidate, 0) == {"A", "H", "U", "B"}
    assert given.positive.tolist() == [0, 3]
    assert names(batch, given.own, 0) == {"A", "H", "U"} and names(batch, given.own, 1) == {"B"}


def test_further_positives_of_the_query_are_masked() -> None:
    batch = [drawn("code", "a", "A", others=("B",)), drawn("code", "b", "B")]
    given = found(batch)
    assert names(batch, given.candidate, 0) == {"A"} and names(batch, given.candidate, 1) == {"A", "B"}


def test_the_same_query_under_another_wish_is_a_true_negative() -> None:
    batch = [drawn("code", "a", "A"), drawn("title", "a", "T", instruction=TITLE)]
    assert names(batch, found(batch).candidate, 0) == {"A", "T"}


def test_a_compatible_wish_is_masked_with_its_further_positives() -> None:
    batch = [
        drawn("code", "a", "A"),
        drawn("title", "a", "T", instruction=TITLE, others=("S",)),
        drawn("code", "c", "S"),
    ]
    given = found(batch, code={"title"})
    assert names(batch, given.candidate, 0) == {"A"}
    assert names(batch, given.candidate, 1) == {"A", "T"}  # compatible is said of one side: titles don't satisfy code


def test_without_an_instruction_every_answer_to_the_query_is_right() -> None:
    batch = [drawn("code", "a", "A", instruction=None), drawn("title", "a", "T", instruction=TITLE)]
    given = found(batch)
    assert names(batch, given.candidate, 0) == {"A"}
    assert names(batch, given.right_kind, 0) == {"A", "T"}


def test_near_duplicates_of_the_positive_are_masked() -> None:
    left = Document("l", "one two three four five six seven eight nine ten")
    near = Document("n", "One, two, three, four, five, six, seven, eight, nine, ten!")
    far = Document("f", "one two three four five six seven eight other words")
    assert near_duplicates([left], [left, near, far]).tolist() == [[True, True, False]]
    empty = Document("e", "?!"), Document("g", "...")
    assert near_duplicates([empty[0]], list(empty)).tolist() == [[True, False]]


def test_near_duplicates_of_whatever_is_right_are_masked() -> None:
    words = "one two three four five six seven eight nine ten"
    batch = [
        drawn("code", "a", "A", others=("B",)),
        drawn("title", "a", "T", instruction=TITLE),
        drawn("code", "b", "B"),
        drawn("code", "c", "C"),
        drawn("code", "d", "D"),
    ]
    same = {"B": words, "C": f"{words}!", "T": f"{words} {words} eleven twelve more", "D": "eleven twelve thirteen"}
    documents = [Document(one.doc_id, same.get(one.doc_id, one.text)) for one in distinct_documents(batch)]
    given = relations(batch, documents, {"code": frozenset({"code"})}, UNITS)
    column = {one.doc_id: number for number, one in enumerate(documents)}
    assert [given.candidate[0, column[name]] for name in "ABCDT"] == [True, False, False, True, True]


def test_right_kind_holds_the_tasks_own_documents_and_compatible_ones() -> None:
    batch = [
        drawn("code", "a", "A", right_kind=("H",), wrong_kind=("U",)),
        drawn("title", "b", "T", right_kind=("U",)),
        drawn("code", "c", "C"),
    ]
    assert names(batch, found(batch).right_kind, 0) == {"A", "H", "C"}
    assert names(batch, found(batch, code={"title"}).right_kind, 0) == {"A", "H", "C", "T", "U"}


def test_wrong_kind_is_another_unit_and_another_wish_never_what_may_be_right() -> None:
    batch = [
        drawn("title", "a", "A", right_kind=("H",), wrong_kind=("S", "U"), other_wish=("S",)),
        drawn("heading", "b", "B"),  # another task of the same unit
        drawn("code", "c", "C", right_kind=("D",)),
        drawn("answer", "d", "A", right_kind=("E",)),  # what is right for both is of both kinds
        drawn("code", "e", "F", instruction=None),
    ]
    assert names(batch, found(batch).wrong_kind, 0) == {"S", "C", "D", "E", "F"}
    assert names(batch, found(batch, title={"code"}).wrong_kind, 0) == {"S", "E"}
    assert names(batch, found(batch).wrong_kind, 2) == {"A", "H", "B", "E"}
    assert names(batch, found(batch).wrong_kind, 4) == set()


def test_a_unit_within_another_is_neither_wrong_nor_surely_right() -> None:
    batch = [drawn("code", "a", "A"), drawn("java", "b", "B"), drawn("lisp", "c", "C"), drawn("title", "d", "D")]
    given = found(batch)
    assert names(batch, given.wrong_kind, 0) == {"D"} and names(batch, given.right_kind, 0) == {"A"}
    assert names(batch, given.wrong_kind, 1) == {"C", "D"}


def test_the_guard_masks_what_the_base_scores_like_the_positive() -> None:
    batch = [drawn("code", "a", "A", right_kind=("H",)), drawn("code", "b", "B"), drawn("title", "c", "T")]
    given, columns = found(batch), [one.doc_id for one in distinct_documents(batch)]
    scores = np.full((3, 4), 0.1, dtype=np.float32)
    for row, name, score in ((0, "A", 0.8), (0, "H", 0.79), (0, "B", 0.75), (0, "T", 0.79), (1, "B", 0.8)):
        scores[row, columns.index(name)] = score
    kept = guarded(given, scores, 0.9)
    assert names(batch, kept, 0) == {"A", "H", "T"}  # its own negative is vetted, a title is of another kind
    assert names(batch, kept, 1) == {"A", "H", "B", "T"}


def test_of_what_is_drawn_siblings_and_copies_of_the_query_are_of_another_wish() -> None:
    negatives = tuple(
        Negative(document(origin), NegativeKind.UNFOLLOWING, origin)
        for origin in ("sibling", "query", "opposite", "other-task")
    )
    query = Query("title:1", "query", TITLE)
    example = TrainingExample("title:1", "title", query, (document("A"),), negatives, "a")
    facts = {"wordings": ["Find a title"], "intent": "", "domain": "", "unit": "title"}
    asked = draw(example, facts, DataSettings(unfollowing=4, copies=1.0, without_instruction=0.0), seed=1, epoch=0)
    assert len(asked.wrong_kind) == 4 and set(asked.other_wish) == {"sibling", "query"}
    plain = draw(example, facts, DataSettings(unfollowing=4, copies=1.0, without_instruction=1.0), seed=1, epoch=0)
    assert plain.other_wish == ()
