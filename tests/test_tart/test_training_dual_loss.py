"""The loss of a bi-encoder: every term equal to its formula, GradCache equal to the plain gradient."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional

from tart.collection import Document, Query
from tart.instruction import Instruction
from tart.testing import tiny_sentence_transformer
from tart.training.batch import distinct_documents, relations
from tart.training.dual_loss import DualLoss
from tart.training.examples import Drawn
from tart.training.settings import LossSettings

QUERIES = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
DOCUMENTS = torch.tensor([[0.8, 0.6], [0.0, 1.0], [1.0, 0.0]])
SCORES = [[0.8, 0.0, 1.0], [0.96, 0.8, 0.6]]


def labels(**more: Any) -> dict[str, Any]:
    given = {
        "positive": torch.tensor([0, 1]),
        "candidate": torch.tensor([[True, True, False], [True, True, True]]),
        "right_kind": torch.tensor([[True, False, True], [False, True, True]]),
        "world": 1,
    }
    return {**given, **more}


def terms(settings: LossSettings, similarity: Any = "dot", content: int = 2, **more: Any) -> dict[str, float]:
    model = tiny_sentence_transformer(dim=8)
    loss = DualLoss(model, settings, similarity=similarity, content=content, token_budget=64, grad_cache=False)
    documents = more.pop("documents", DOCUMENTS)
    return {name: float(value) for name, value in loss.terms(QUERIES, documents, labels(**more)).items()}


def log_sum(*scores: float, heat: float = 0.5) -> float:
    return math.log(sum(math.exp(score / heat) for score in scores))


def test_contrast_is_the_softmax_over_candidates() -> None:
    wanted = (log_sum(0.8, 0.0) - 0.8 / 0.5 + log_sum(0.96, 0.8, 0.6) - 0.8 / 0.5) / 2
    assert terms(LossSettings(temperature=0.5)) == pytest.approx({"contrast": wanted}, rel=1e-6)


def test_the_gradient_of_a_batch_is_the_formula() -> None:
    """From examples to gradients: five documents of which each rule masks one, the softmax minus one worked out."""
    wish, other = Instruction("Find code"), Instruction("Find a title")

    def example(task: str, group: str, positive: str, instruction: Instruction, *others: str) -> Drawn:
        query, right = Query(f"{task}:{group}", group, instruction), Document(positive, f"text {positive} alone")
        return Drawn(query.query_id, task, group, query, right, frozenset(others), (), ())

    batch = [
        example("code", "a", "A", wish, "B"),  # B is right as well
        example("code", "b", "B", wish),
        example("title", "a", "T", other),  # another wish: a true negative
        example("snippet", "a", "S", wish),  # satisfies code: masked
        example("code", "c", "D", wish),  # reads like A: masked
    ]
    documents = [Document("D", "text A alone!") if one.doc_id == "D" else one for one in distinct_documents(batch)]
    assert [one.doc_id for one in documents] == ["A", "B", "T", "S", "D"]
    found = relations(batch, documents, {"code": frozenset({"code", "snippet"})}, {})
    queries, vectors = torch.randn(5, 2, requires_grad=True), torch.randn(5, 2, requires_grad=True)
    given = {name: torch.from_numpy(getattr(found, name)) for name in ("positive", "candidate", "right_kind")}
    settings = LossSettings(temperature=0.5)
    model = tiny_sentence_transformer(dim=8)
    loss = DualLoss(model, settings, similarity="dot", content=2, token_budget=64, grad_cache=False)
    value = loss.terms(queries, vectors, {**given, "world": 1})["contrast"]
    value.backward()
    q, d = queries.detach(), vectors.detach()
    kept = {0: [0, 2], 1: [0, 1, 2, 3, 4], 2: [0, 1, 2, 3, 4], 3: [0, 1, 2, 3, 4], 4: [1, 2, 3, 4]}
    wanted, towards, away = 0.0, torch.zeros_like(q), torch.zeros_like(d)
    for row, columns in kept.items():
        weights = {column: math.exp(float(q[row] @ d[column]) / 0.5) for column in columns}
        total = sum(weights.values())
        wanted -= math.log(weights[row] / total) / 5
        for column, weight in weights.items():
            share = (weight / total - (column == row)) / 0.5 / 5
            towards[row] += share * d[column]
            away[column] += share * q[row]
    assert float(value.detach()) == pytest.approx(wanted, rel=1e-5)
    assert queries.grad is not None and torch.allclose(queries.grad, towards, atol=1e-6)
    assert vectors.grad is not None and torch.allclose(vectors.grad, away, atol=1e-6)


def test_choose_query_is_the_softmax_over_the_queries_for_which_the_document_is_wrong() -> None:
    """Document 0 is a candidate of query 1, document 1 one of query 0."""
    wanted = (log_sum(0.8, 0.96) - 0.8 / 0.5 + log_sum(0.8, 0.0) - 0.8 / 0.5) / 2
    found = terms(LossSettings(temperature=0.5, choose_query=0.3))
    assert found["choose_query"] == pytest.approx(0.3 * wanted, rel=1e-6)


def test_a_document_does_not_choose_among_queries_for_which_it_may_be_right() -> None:
    candidate = torch.tensor([[True, True, False], [False, True, True]])  # document 0 is masked for query 1
    wanted = (0.0 + log_sum(0.8, 0.0) - 0.8 / 0.5) / 2
    found = terms(LossSettings(temperature=0.5, choose_query=1.0), candidate=candidate)
    assert found["choose_query"] == pytest.approx(wanted, rel=1e-6)


def test_wish_tells_right_kinds_from_wrong_ones_from_both_sides() -> None:
    """Content is the first dimension; the kinds are 0, 0.8 and 0.6, 1, 0: of length 1 they are 0 or 1."""
    right, wrong = (torch.tensor(rows).bool() for rows in ([[1, 0, 1], [0, 1, 0]], [[0, 0, 0], [0, 0, 1]]))
    found = terms(LossSettings(wish=2.0), content=1, right_kind=right, wrong_kind=wrong)
    assert found["wish"] == pytest.approx(math.log1p(math.exp(-10)), rel=1e-4)  # query 0 excludes nothing: not asked
    right, wrong = (torch.tensor(rows).bool() for rows in ([[1, 0, 0], [0, 1, 0]], [[0, 1, 0], [1, 0, 1]]))
    found = terms(LossSettings(wish=2.0), content=1, right_kind=right, wrong_kind=wrong)
    chooses = (math.log(2) + math.log1p((math.exp(10) + 1) / math.exp(10))) / 2
    is_chosen = (math.log1p(math.exp(10)) + math.log1p(math.exp(-10))) / 2
    assert found["wish"] == pytest.approx(2 * (chooses + is_chosen) / 2, rel=1e-5)


def test_level_makes_the_kind_as_long_as_the_content_and_nothing_for_a_plain_query() -> None:
    """Content is the first dimension; queries 1 | 0 and 0.6 | 0.8, documents 0.8 | 0.6, 0.5 | 1 and 1 | 0."""
    documents = torch.tensor([[0.8, 0.6], [0.5, 1.0], [1.0, 0.0]])
    instructed = torch.tensor([True, False])
    found = terms(LossSettings(level=2.0), content=1, instructed=instructed, documents=documents)
    asked, answers = (1 + (0.8 / 0.6) ** 2) / 2, (0.25**2 + 1 + 1) / 3
    assert found["level"] == pytest.approx(2 * (asked + answers), rel=1e-5)


def test_leash_is_the_divergence_among_documents_of_the_right_kind() -> None:
    base_queries, base_documents = torch.tensor([[0.0, 1.0], [1.0, 0.0]]), DOCUMENTS
    found = terms(
        LossSettings(leash=2.0, leash_temperature=0.5), base_queries=base_queries, base_documents=base_documents
    )

    def divergence(target: list[float], own: list[float]) -> float:
        p, q = (torch.softmax(torch.tensor(side) / 0.5, dim=0) for side in (target, own))
        return float((p * (p / q).log()).sum())

    wanted = (divergence([0.6, 0.0], [0.8, 1.0]) + divergence([0.0, 1.0], [0.8, 0.6])) / 2
    assert found["leash"] == pytest.approx(2 * wanted, rel=1e-5)


def test_distill_follows_the_teacher_over_what_it_scored() -> None:
    teacher = torch.tensor([[2.0, 1.0, 0.0], [1.0, 3.0, 2.0]])
    given = {"teacher": teacher, "scored": torch.tensor([[True, True, False], [True, True, True]])}

    def divergence(target: list[float], own: list[float]) -> float:
        p, q = (torch.softmax(torch.tensor(side) / 4, dim=0) for side in (target, own))
        return float((p * (p / q).log()).sum())

    settings = LossSettings(temperature=0.5, teacher="scores", distill=3.0, distill_temperature=4.0)
    wanted = (divergence([2, 1], [1.6, 0.0]) + divergence([1, 3, 2], [1.92, 1.6, 1.2])) / 2
    assert terms(settings, **given)["distill"] == pytest.approx(3 * wanted, rel=1e-5)
    wanted = ((1.6 - 0.0 - 1) ** 2 + (1.6 - 1.92 - 2) ** 2 + (1.6 - 1.2 - 1) ** 2) / 3
    found = terms(replace(settings, distill_form="margin-mse"), **given)
    assert found["distill"] == pytest.approx(3 * wanted, rel=1e-5)


def test_pin_is_the_cosine_distance_of_the_content() -> None:
    base = {"base_queries": torch.tensor([[1.0], [-1.0]]), "base_documents": torch.tensor([[1.0], [1.0], [1.0]])}
    found = terms(LossSettings(pin=3.0), content=1, **base)
    assert found["pin"] == pytest.approx(3 * ((0 + 2) / 2 + (0 + 1 + 0) / 3), rel=1e-6)  # the cosine of 0 is 0


def test_matryoshka_is_the_mean_over_widths_and_cosine_ignores_length() -> None:
    settings = LossSettings(temperature=0.5, matryoshka=(1,))
    short = terms(replace(settings, matryoshka=()), "cosine")["contrast"]
    narrow = (log_sum(1, 0) - 1 / 0.5 + log_sum(1, 0, 1) - 0 / 0.5) / 2
    assert terms(settings, "cosine")["contrast"] == pytest.approx((short + narrow) / 2, rel=1e-6)


def test_grad_cache_gives_the_plain_loss_and_gradient() -> None:
    model = tiny_sentence_transformer(dim=8)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # what is dropped depends on the order of the work
    generator = torch.Generator().manual_seed(0)
    features = [
        {
            "input_ids": torch.randint(5, 90, (rows, width), generator=generator),
            "attention_mask": torch.ones(rows, width, dtype=torch.long),
        }
        for rows, width in ((2, 4), (3, 7))
    ]
    base = {"base_queries": functional.normalize(torch.randn(2, 8, generator=generator), dim=1)}
    base["base_documents"] = functional.normalize(torch.randn(3, 8, generator=generator), dim=1)
    settings = LossSettings(choose_query=0.5, leash=1.0, pin=1.0)
    found = []
    for grad_cache, budget in ((False, 10_000), (False, 8), (True, 8)):
        loss = DualLoss(model, settings, similarity="cosine", content=8, token_budget=budget, grad_cache=grad_cache)
        model.zero_grad()
        value = loss([dict(one) for one in features], labels(**base))
        value = sum(value.values()) if isinstance(value, dict) else value
        value.backward()
        found.append(
            (value.item(), torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None]))
        )
    assert float(found[0][1].norm()) > 0
    for value, gradient in found[1:]:
        assert value == pytest.approx(found[0][0], abs=1e-5)
        assert torch.allclose(gradient, found[0][1], atol=1e-5)
