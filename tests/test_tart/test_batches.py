"""Batches by length: every text once, within the budget; and what happens when memory runs out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tart import BiEncoder
from tart.models.batches import Budget, run_in_batches, token_batches
from tart.testing import tiny_sentence_transformer
from tart.text_format import PRESETS

TEXTS = ["x" * n for n in range(1, 60)]


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 200))
def test_every_row_comes_once_and_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = token_batches(lengths, range(len(lengths)), budget)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[row] for row in batch) * len(batch) <= budget


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("std::bad_alloc")]
)
@pytest.mark.parametrize("place", ["prepare", "run"])
def test_out_of_memory_halves_the_batch_and_goes_on(
    error: Exception, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    budget, sizes = Budget(64), []

    def compute(rows: list[int]) -> list[int]:  # in "prepare", as the lean form does it, each worker a batch
        if len(rows) > 3:
            raise error
        sizes.append(len(rows))
        return [10 * row for row in rows]

    steps = [compute, lambda rows: rows] if place == "prepare" else [lambda rows: rows, compute]
    found = dict(
        pair
        for rows, outputs in run_in_batches([2] * 20, budget, *steps, workers=2 if place == "prepare" else 1)
        for pair in zip(rows, outputs, strict=True)
    )
    assert found == {row: 10 * row for row in range(20)}
    assert max(sizes) == 2 and budget.tokens == 4  # 20, 10, 5, 2: and the next call starts there
    assert "out of memory with a batch of 20 texts; going on with half of it" in caplog.text


def test_a_single_text_that_does_not_fit_is_an_error_and_others_pass_through() -> None:
    def fails(error: Exception) -> None:
        def run(rows: list[int]) -> None:
            raise error

        list(run_in_batches([5, 5], Budget(100), lambda rows: rows, run))

    with pytest.raises(MemoryError):
        fails(MemoryError())
    with pytest.raises(RuntimeError, match="shapes differ"):
        fails(RuntimeError("shapes differ"))


def test_the_bi_encoder_survives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_sentence_transformer()
    wanted = BiEncoder(model, PRESETS["plain"], "tiny").encode_documents(TEXTS)
    forward = type(model).forward

    def small(self: object, features: dict[str, torch.Tensor], **settings: object) -> dict[str, torch.Tensor]:
        if len(features["input_ids"]) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, features, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(type(model), "forward", small)
    found = BiEncoder(model, PRESETS["plain"], "tiny").encode_documents(TEXTS)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_bfloat16_on_torch_is_the_same_up_to_rounding() -> None:
    model = tiny_sentence_transformer()
    exact, fast = (
        BiEncoder(model, PRESETS["plain"], "tiny", precision=precision, batch_tokens=256)  # type: ignore[arg-type]
        for precision in ("float32", "bfloat16")
    )
    assert fast.backend == "torch bfloat16" and fast.model_hash == exact.model_hash
    first, second = exact.encode_documents(TEXTS), fast.encode_documents(TEXTS)
    assert second.dtype == np.float32
    cosines = (first * second).sum(axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    assert 0.999 < cosines.min() < 1 - 1e-9
