"""Stand-ins for tests, notebooks and authors of plug-ins: no download, no training, answers that can be foretold."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tart.collection import Corpus, Document, Query, TestCollection
from tart.instruction import Instruction
from tart.retrieval.protocols import EncodedText, FloatArray, Similarity
from tart.text_format import PRESETS, TextFormat

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder, SentenceTransformer
    from transformers import BertConfig


class KeywordEncoder:
    """An `Encoder` whose vector counts keywords: who wins a search can be worked out by hand.

    Args:
        keywords: one dimension each; case doesn't matter.

    >>> encoder = KeywordEncoder(["cat", "dog"])
    >>> encoder.encode_documents(["Dog bites dog", "a cat"]).tolist()
    [[0.0, 2.0], [1.0, 0.0]]
    """

    def __init__(self, keywords: Iterable[str]) -> None:
        self.keywords = [keyword.lower() for keyword in keywords]
        self.name = "keywords"
        self.text_format: TextFormat = PRESETS["tart-dual"]
        self.similarity: Similarity = "dot"
        self.backend = "keywords"

    @property
    def dim(self) -> int:
        """Number of keywords."""
        return len(self.keywords)

    @property
    def model_hash(self) -> str:
        """Changes with the keywords."""
        return hashlib.sha256(" ".join(self.keywords).encode()).hexdigest()

    def encode_queries(self, queries: Sequence[Query]) -> FloatArray:
        """Keyword counts of instruction and query together, shape (len(queries), dim)."""
        return self._count([self.text_format.query_text(query) for query in queries])

    def encode_documents(self, documents: Sequence[Document | str]) -> FloatArray:
        """Keyword counts of title and text together, shape (len(documents), dim)."""
        return self._count([self._text(document) for document in documents])

    def read_queries(self, queries: Sequence[Query]) -> list[EncodedText]:
        """The joined text; it reads everything."""
        texts = [self.text_format.query_text(query) for query in queries]
        return [EncodedText(text, len(text.split()), 0) for text in texts]

    def read_documents(self, documents: Sequence[Document | str]) -> list[EncodedText]:
        """The joined text; it reads everything."""
        texts = [self._text(document) for document in documents]
        return [EncodedText(text, len(text.split()), 0) for text in texts]

    def _text(self, document: Document | str) -> str:
        return document if isinstance(document, str) else self.text_format.document_text(document)

    def _count(self, texts: list[str]) -> FloatArray:
        rows = [re.findall(r"\w+", text.lower()) for text in texts]
        counts = [[words.count(keyword) for keyword in self.keywords] for words in rows]
        return np.asarray(counts, dtype=np.float32).reshape(len(texts), self.dim)


class KeywordReranker:
    """A `Reranker` that counts how many distinct words of query and instruction a document holds."""

    name = "keyword-overlap"
    text_format: TextFormat = PRESETS["plain"]

    def score(self, pairs: Sequence[tuple[Query, Document]]) -> FloatArray:
        """Shared distinct words, shape (len(pairs),)."""

        def words(text: str) -> set[str]:
            return set(re.findall(r"\w+", text.lower()))

        format_ = self.text_format
        shared = [len(words(format_.query_text(q)) & words(format_.document_text(d))) for q, d in pairs]
        return np.asarray(shared, dtype=np.float32)


def toy_collection() -> TestCollection:
    """Eight documents about four things, each once as code and once as prose; the instruction says which is wanted."""
    things = {"sort": "list", "read": "file", "open": "socket", "parse": "date"}
    documents = []
    for verb, noun in things.items():
        documents.append(Document(f"code-{verb}", f"def {verb}_{noun}(x): return {verb}(x) code", f"{verb} {noun}"))
        documents.append(Document(f"prose-{verb}", f"This prose explains how to {verb} a {noun}.", f"{verb} {noun}"))
    queries, qrels = [], {}
    for verb, noun in things.items():
        for kind in ("code", "prose"):
            queries.append(Query(f"{verb}-{kind}", f"{verb} a {noun}", Instruction(f"Find {kind} that does this")))
            qrels[f"{verb}-{kind}"] = {f"{kind}-{verb}": 1}
    return TestCollection("toy", Corpus(documents), tuple(queries), qrels)


def tiny_tokenizer_words(words: Iterable[str] = ()) -> list[str]:
    """The vocabulary of tiny models: special tokens, characters, pieces that continue a word, and whole words."""
    characters = [chr(code) for code in range(33, 127)]
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{char}" for char in characters), *words]


def tiny_sentence_transformer(
    *,
    dim: int = 32,
    seed: int = 0,
    similarity: Similarity = "cosine",
    max_tokens: int = 64,
    include_prompt: bool = True,
    words: Sequence[str] = (),
) -> SentenceTransformer:
    """A BERT with two layers and random weights, whose tokens are single characters; made in memory in a moment.

    Args:
        dim: length of its vectors, a multiple of 4.
        seed: of its weights.
        similarity: what it says of itself.
        max_tokens: where it stops reading.
        include_prompt: whether the tokens of a prompt count in the mean (INSTRUCTOR's don't).
        words: whole words, lower case, that are one token each.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertModel

    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(seed)
        BertModel(_tiny_config(dim, words)).save_pretrained(folder)
        _tiny_tokenizer(max_tokens, words).save_pretrained(folder)
        body = Transformer(folder, max_seq_length=max_tokens)
    pooling = Pooling(dim, "mean", include_prompt=include_prompt)
    return SentenceTransformer(modules=[body, pooling], similarity_fn_name=similarity, device="cpu")


def tiny_cross_encoder(
    *, dim: int = 32, seed: int = 0, labels: int = 1, max_tokens: int = 64, words: Sequence[str] = ()
) -> CrossEncoder:
    """A cross-encoder on the same BERT, with random weights but for one thing: its tokens look at their equals.

    Queries and keys of its attention are the embeddings themselves, and places count little. So it can compare two
    texts, which a trained body can and random weights would take hours to learn.

    Args:
        dim: width of its layers, a multiple of 4.
        seed: of its weights.
        labels: 1 for a score, 2 for "not relevant" and "relevant".
        max_tokens: where it stops reading a pair.
        words: whole words, lower case, that are one token each.
    """
    import torch
    from sentence_transformers import CrossEncoder
    from transformers import BertForSequenceClassification

    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(seed)
        config = _tiny_config(dim, words)
        config.num_labels = labels
        model = BertForSequenceClassification(config)
        with torch.no_grad():
            model.bert.embeddings.position_embeddings.weight.mul_(0.1)
            for name, weight in model.named_parameters():
                if name.endswith(("attention.self.query.weight", "attention.self.key.weight")):
                    torch.nn.init.eye_(weight)
        model.save_pretrained(folder)
        _tiny_tokenizer(max_tokens, words).save_pretrained(folder)
        made: CrossEncoder = CrossEncoder(folder, device="cpu")
        return made


def _tiny_tokenizer(max_tokens: int, words: Sequence[str]) -> Any:
    from tokenizers import BertWordPieceTokenizer
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: row for row, word in enumerate(tiny_tokenizer_words(words))}
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=BertWordPieceTokenizer(vocab=vocabulary)._tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=max_tokens,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],  # as BERT's
    )


def _tiny_config(dim: int, words: Sequence[str]) -> BertConfig:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=len(tiny_tokenizer_words(words)),
        hidden_size=dim,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=2 * dim,
        max_position_embeddings=512,
    )
