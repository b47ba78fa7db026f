"""TextFormat: the only place where instruction and query, title and text are joined into what a model reads.

A format is saved with every index and checkpoint, and refused when the two disagree: a model that was trained on
`instruction [SEP] query` silently loses quality when it reads `query [SEP] instruction`.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import asdict, dataclass, fields
from typing import Any

from tart.collection import Document, Query
from tart.errors import ConfigError
from tart.files import LONE_SURROGATE

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class TextFormat:
    """How a model wants its texts.

    Args:
        name: what reports call it.
        instructed_query: template with `{instruction}` and `{query}`, for a query that has an instruction.
        plain_query: template with `{query}`, for a query without one.
        document: template with `{text}`; a title, if there is one, is put before the text with a blank.
        knows_instructions: whether the model was trained with free instructions. If not, the first instruction that
            it meets is answered with one warning.
        max_query_tokens: tokens of a query that are read, special ones included; None: as many as the model can.
        max_document_tokens: the same for a document.
        plain_dims: where the first numbers of a vector are content and the others what kind of document is wanted, how
            many are content: a query without instruction wants no kind, and the others become 0. None: all stay.
        source: where the format was read.

    Raises:
        ConfigError: if a field is of another type, or a template lacks one of its placeholders or has another one.

    >>> fmt = TextFormat("mine", instructed_query="{instruction} [SEP] {query}", plain_query="{query}")
    >>> from tart import Instruction
    >>> fmt.query_text(Query("1", "sort a list", Instruction("Find code")))
    'Find code [SEP] sort a list'
    >>> fmt.document_text(Document("a", "the body", title="The title"))
    'The title the body'
    """

    name: str
    instructed_query: str = "{instruction} {query}"
    plain_query: str = "{query}"
    document: str = "{text}"
    knows_instructions: bool = True
    max_query_tokens: int | None = None
    max_document_tokens: int | None = None
    plain_dims: int | None = None
    source: str = ""

    def __post_init__(self) -> None:
        for field in ("name", "instructed_query", "plain_query", "document", "source", "knows_instructions"):
            kind, said = (bool, "true or false") if field == "knows_instructions" else (str, "a string")
            if not isinstance(getattr(self, field), kind):
                raise ConfigError(f"text format {self.name!r}: {field} must be {said}, got {getattr(self, field)!r}")
        for field, wanted in (
            ("instructed_query", ["instruction", "query"]),
            ("plain_query", ["query"]),
            ("document", ["text"]),
        ):
            found = sorted(_PLACEHOLDER.findall(getattr(self, field)))
            if found != wanted:
                names = " and ".join(f"{{{name}}}" for name in wanted)
                raise ConfigError(f"text format {self.name!r}: {field} must hold {names} once each, found {found}")
        for field in ("max_query_tokens", "max_document_tokens"):
            limit = getattr(self, field)
            if limit is not None and not (isinstance(limit, int) and limit >= 8):
                problem = f"{field} must be an integer of at least 8 or None, got {limit!r}"
                raise ConfigError(f"text format {self.name!r}: {problem}")
        if self.plain_dims is not None and not (type(self.plain_dims) is int and self.plain_dims >= 1):
            problem = f"plain_dims must be an integer of at least 1 or None, got {self.plain_dims!r}"
            raise ConfigError(f"text format {self.name!r}: {problem}")

    @property
    def instruction_first(self) -> bool:
        """Whether the instruction stands before the query."""
        return self.instructed_query.index("{instruction}") < self.instructed_query.index("{query}")

    def query_parts(self, query: Query) -> tuple[str, str, str]:
        """What stands before the query's own text, that text, and what stands after it: joined, the `query_text`."""
        if query.instruction is None:
            template, instruction = self.plain_query, ""
        else:
            template, instruction = self.instructed_query, query.instruction.text
        before, after = template.split("{query}")
        return (
            _encodable(before.replace("{instruction}", instruction)),
            _encodable(query.text),
            _encodable(after.replace("{instruction}", instruction)),
        )

    def query_text(self, query: Query) -> str:
        """The text that a model reads for a query."""
        return "".join(self.query_parts(query))

    def document_text(self, document: Document) -> str:
        """The text that a model reads for a document."""
        before, after = self.document.split("{text}")
        body = f"{document.title} {document.text}" if document.title else document.text
        return before + _encodable(body) + after

    def differences(self, other: TextFormat) -> str:
        """The names of the fields in which another format differs."""
        return ", ".join(
            field.name for field in fields(self) if getattr(self, field.name) != getattr(other, field.name)
        )

    def to_dict(self) -> dict[str, Any]:
        """All fields, JSON-able."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TextFormat:
        """The inverse of `to_dict`.

        Raises:
            ConfigError: if it is no dictionary, a key is unknown, or the name is missing.
        """
        known = [field.name for field in fields(cls)]
        if not isinstance(values, dict):
            raise ConfigError(f"a text format must be an object with fields, got {values!r}")
        for key in values:
            if key not in known:
                raise ConfigError(f"a text format has no field {key!r}; it has {', '.join(known)}")
        if "name" not in values:
            raise ConfigError("a text format needs a name")
        return cls(**values)


def _encodable(text: str) -> str:
    """Tokenizers refuse lone surrogates; U+FFFD, the replacement character, stands in for them."""
    return LONE_SURROGATE.sub("�", text)


PRESETS: dict[str, TextFormat] = {
    preset.name: preset
    for preset in (
        TextFormat(
            "plain",
            knows_instructions=False,
            source="no format of its own: the instruction is put before the query with a blank",
        ),
        TextFormat(
            "tart-dual",
            instructed_query="{instruction} [SEP] {query}",
            max_query_tokens=256,
            max_document_tokens=256,
            source="arXiv 2211.09260, training data and BEIR evaluation of its repository",
        ),
        TextFormat(
            "tart-full",
            instructed_query="{instruction} </s> {query}",
            source="arXiv 2211.09260, training data of TART-full: T5's own end-of-text token",
        ),
        TextFormat(
            "tart-full-sep",
            instructed_query="{instruction} [SEP] {query}",
            source="README and model card of facebook/tart-full-flan-t5-xl; T5 reads [SEP] as ordinary pieces",
        ),
        TextFormat(
            "tart-reversed",
            instructed_query="{query} [SEP] {instruction}",
            source="cross-task evaluation of TART's repository and wrappers that copied it; to redo their figures",
        ),
        TextFormat(
            "e5",
            instructed_query="query: {instruction} {query}",
            plain_query="query: {query}",
            document="passage: {text}",
            knows_instructions=False,
            source="model card of intfloat/e5-base-v2",
        ),
        TextFormat(
            "e5-instruct",
            instructed_query="Instruct: {instruction}\nQuery: {query}",
            source="model card of intfloat/e5-mistral-7b-instruct",
        ),
        TextFormat(
            "bge",
            instructed_query="{instruction} {query}",
            plain_query="Represent this sentence for searching relevant passages: {query}",
            knows_instructions=False,
            source="model card of BAAI/bge-base-en-v1.5; an instruction takes the place of its fixed one",
        ),
        TextFormat(
            "instructor",
            instructed_query="{instruction}: {query}",
            plain_query="Represent the question for retrieving supporting documents: {query}",
            document="Represent the document for retrieval: {text}",
            source="model card of hkunlp/instructor-large, which leaves the instruction out of the pooling",
        ),
        TextFormat(
            "promptriever",
            instructed_query="query:  {query} {instruction}",
            plain_query="query:  {query}",
            document="passage:  {text}",
            source="model card of samaya-ai/promptriever-llama2-7b-v1; two blanks after the colon",
        ),
    )
}
"""Text formats by name, each with its source."""


def named_format(name: str) -> TextFormat:
    """The preset of that name.

    Raises:
        ConfigError: if there is none; near names are suggested.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=3, cutoff=0.5) or sorted(PRESETS)
        raise ConfigError(f"unknown text format {name!r}; did you mean {', '.join(near)}?")
    return PRESETS[name]
