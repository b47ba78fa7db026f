"""Proposals of wordings: what is kept and what isn't, by rule and by a model that stands on this machine."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from berri.card import FORMS, load_cards
from berri.expand import expand, write_proposals
from berri.novelty import form_of, problem, rouge_l
from berri.recombine import recombined
from berri.text_models import LocalModel, ServedModel
from tart.errors import CheckpointError, ConfigError, DownloadError, StorageError
from tart.toml import read_toml

CARDS = load_cards()
CARD = CARDS["scitldr-abstract-to-tldr"]


class Writer:
    """A language model that always says the same, and keeps what it was asked."""

    def __init__(self, *lines: str) -> None:
        self.text, self.asked = "\n".join(lines), list[str]()

    def answer(self, prompt: str, seed: int) -> str:
        self.asked.append(prompt)
        return self.text


def proposed(*lines: str, count: int = 8) -> tuple[list[str], Counter[str]]:
    counts: Counter[str] = Counter()
    found = expand(CARDS, {CARD.name: CARD}, count=count, model=Writer(*lines), counts=counts)
    return [one.wording.text for one in found if one.by != "rule"], counts


def subsequence(one: str, other: str) -> int:
    """The longest common subsequence, by trying every subset of the shorter one's words."""
    words, against = one.split(), other.split()
    best = 0
    for mask in range(2 ** len(words)):
        chosen = [word for place, word in enumerate(words) if mask >> place & 1]
        left = iter(against)
        if all(word in left for word in chosen):
            best = max(best, len(chosen))
    return best


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("find the short answer", "find an answer"),
        ("a b c a b", "b a c b a"),
        ("a b", "c d"),
        ("a", "a"),
        ("x y z", "z y x"),
    ],
)
def test_rouge_l_is_the_longest_common_subsequence(one: str, other: str) -> None:
    common = subsequence(one, other)
    precision, recall = common / len(one.split()), common / len(other.split())
    expected = 2 * precision * recall / (precision + recall) if common else 0.0
    assert rouge_l(one.split(), other.split()) == pytest.approx(expected)


@pytest.mark.parametrize("name", CARDS)
def test_rules_give_wordings_of_every_form_that_could_stand_in_a_card(name: str) -> None:
    wordings = list(recombined(CARDS[name]))
    assert {one.form for one in wordings} == set(FORMS)
    for one in wordings:
        assert one.text[0].isupper() and one.text.endswith("?") == (one.form == "question")
        assert CARDS[name].unit.casefold() in one.text.casefold()
        assert form_of(one.text) == one.form


def test_a_models_lines_are_taken_without_their_numbers_and_quotes() -> None:
    texts, _ = proposed('1. "Boil the abstract down to a sentence."', "- A tweet-sized sentence on what was found", "")
    assert texts == ["Boil the abstract down to a sentence.", "A tweet-sized sentence on what was found"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Summary sentence", "too short or too long"),
        ("A sentence " + "and another " * 20, "too short or too long"),
        ("Sure, here is a one-sentence summary.", "no plain sentence"),
        ("find me a summary of one sentence", "no plain sentence"),
        ("Find the sentence <b>now</b>, please.", "no plain sentence"),
        ("Trouve la phrase qui résume ce texte.", "no plain sentence"),
        ("Cook me something warm and nice.", "doesn't name what is wanted"),
        ("Find a one-sentence summary of this abstract.", "says nothing new"),
        ("Give me a sentence that sums up this paper's contribution.", "says nothing new"),  # like a held-out one
    ],
)
def test_a_line_that_no_card_should_hold_is_left_out_by_reason(line: str, reason: str) -> None:
    texts, counts = proposed(line)
    assert texts == [] and counts[reason] >= 1


def test_a_wording_that_could_stand_for_a_sibling_is_left_out() -> None:
    card = CARDS["scitldr-abstract-to-title"]
    line = "Find the one-sentence message of this abstract."
    counts: Counter[str] = Counter()
    found = expand(CARDS, {card.name: card}, count=1, model=Writer(line), counts=counts)
    assert line not in [one.wording.text for one in found]
    assert problem(line, CARD) == ""


class OneMeaning:
    """An encoder for which every text is the same."""

    def encode_queries(self, queries: list[object]) -> np.ndarray:
        return np.ones((len(queries), 4), dtype=np.float32)


def test_a_text_of_the_same_meaning_is_nothing_new_whatever_its_words() -> None:
    counts: Counter[str] = Counter()
    found = list(expand(CARDS, {CARD.name: CARD}, count=3, encoder=OneMeaning(), counts=counts))  # type: ignore[arg-type]
    assert found == [] and set(counts) <= {"says nothing new", "no plain sentence", "could stand for another task"}


def test_no_held_out_wording_is_shown_to_a_model() -> None:
    writer = Writer("Boil the abstract down to a sentence.")
    list(expand(CARDS, {CARD.name: CARD}, count=3, model=writer))
    held_out = [one.text for one in CARD.wordings if one.held_out]
    assert len(writer.asked) == 2 and len(held_out) == 2
    assert not any(text in prompt for text in held_out for prompt in writer.asked)


def test_the_same_seed_proposes_the_same_and_no_text_twice() -> None:
    tasks = {name: CARDS[name] for name in list(CARDS)[:5]}
    found = [list(expand(CARDS, tasks, count=5, seed=seed)) for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]
    texts = [(one.task, one.wording.text) for one in found[0]]
    assert len(texts) == len(set(texts)) > 5
    assert max(Counter(task for task, _ in texts).values()) <= 5


def test_proposals_stand_as_in_cards_and_no_card_is_changed(tmp_path: Path) -> None:
    tasks = {name: CARDS[name] for name in list(CARDS)[:3]}
    found = list(expand(CARDS, tasks, count=4))
    assert write_proposals(tmp_path / "new.toml", iter(found)) == len(found)
    top = read_toml(tmp_path / "new.toml")
    for name in tasks:
        table = top.table(name)
        lists = {form: table.texts(form) for form in FORMS}
        table.finish()
        assert lists == {
            form: tuple(one.wording.text for one in found if one.task == name and one.wording.form == form)
            for form in FORMS
        }
    with pytest.raises(StorageError, match=r"new\.toml: exists already"):
        write_proposals(tmp_path / "new.toml", iter(found))
    assert load_cards() == CARDS
    with pytest.raises(ConfigError, match="at least 1 proposal"):
        list(expand(CARDS, tasks, count=0))


@pytest.fixture
def server() -> Iterator[tuple[str, list[tuple[str | None, dict[str, object]]], list[tuple[int, bytes]]]]:
    """(address, what was asked, answers to give)."""
    asked: list[tuple[str | None, dict[str, object]]] = []
    answers: list[tuple[int, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.headers["Authorization"], body))
            status, content = answers[0] if self.path == "/v1/chat/completions" else (404, b"")
            self.send_response(status)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    served = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}/v1", asked, answers
    served.shutdown()
    served.server_close()


def test_a_served_model_is_asked_as_a_chat(server, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    url, asked, answers = server
    answers.append((200, json.dumps({"choices": [{"message": {"content": "A sentence."}}]}).encode()))
    monkeypatch.setenv("A_KEY", "word")
    assert ServedModel(url + "/", "small", "A_KEY").answer("Say it.", 3) == "A sentence."
    ((key, body),) = asked
    assert key == "Bearer word"
    assert body["messages"] == [{"role": "user", "content": "Say it."}]
    assert (body["model"], body["seed"]) == ("small", 3)


def test_a_server_that_fails_is_named(server) -> None:  # type: ignore[no-untyped-def]
    url, _, answers = server
    for answer, message in (
        ((500, b""), "gives no answer"),
        ((200, b"<html>"), "answered no chat completion"),
        ((200, b'{"choices": []}'), "answered no chat completion"),
        ((200, b'{"choices": [{"message": {"content": null}}]}'), "answered no text"),
    ):
        answers[:] = [answer]
        with pytest.raises(DownloadError, match=rf"v1/chat/completions: {message}"):
            ServedModel(url, "small").answer("Say it.", 1)
    with pytest.raises(DownloadError, match="is the server running"):
        ServedModel("http://127.0.0.1:9/v1", "small").answer("Say it.", 1)
    with pytest.raises(ConfigError, match="wanted the http address of a server, got 'file:"):
        ServedModel("file:///etc", "small")
    with pytest.raises(ConfigError, match="the environment variable NO_SUCH_KEY is not set"):
        ServedModel(url, "small", "NO_SUCH_KEY")


def test_a_model_in_a_folder_answers_the_same_for_the_same_seed(tmp_path: Path) -> None:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    words = {word: number for number, word in enumerate(["</s>", "<unk>", *"find a sentence that says this".split()])}
    plain = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="</s>", unk_token="<unk>", pad_token="</s>")
    torch.manual_seed(0)
    size = {"vocab_size": len(words), "pad_token_id": 0, "eos_token_id": 0}
    gpt = GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=1, n_positions=512, bos_token_id=0, **size))
    t5 = T5ForConditionalGeneration(
        T5Config(d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, decoder_start_token_id=0, **size)
    )
    for name, model in (("gpt", gpt), ("t5", t5)):
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        local = LocalModel(tmp_path / name)
        texts = [local.answer("find a sentence", seed) for seed in (1, 1, 2)]
        assert texts[0] == texts[1] and set(" ".join(texts).split()) <= set(words)
        assert not texts[0].startswith("find a sentence find")
    with pytest.raises(CheckpointError, match="no such folder"):
        LocalModel(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="no language model that transformers loads"):
        LocalModel(tmp_path)
