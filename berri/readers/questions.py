"""Readers for questions with their answers, paragraphs and facts."""

from __future__ import annotations

from berri.files import SourceFiles
from berri.readers.registry import reader
from berri.readers.tables import look_up, read_csv
from berri.record import Rows


@reader("squad")
def read_squad(files: SourceFiles) -> Rows:
    """SQuAD's form: `question`, the `paragraph` that answers it, the `answer`, and the article's `title`."""
    for name in files.names:
        for article in files.json(name)["data"]:
            for paragraph in article["paragraphs"]:
                for item in paragraph["qas"]:
                    yield {
                        "question": item["question"],
                        "paragraph": paragraph["context"],
                        "answer": [one["text"] for one in item.get("answers", ())][:1],
                        "title": article.get("title", "").replace("_", " "),
                    }


@reader("venue-faq")
def read_venue_faq(files: SourceFiles) -> Rows:
    """DSTC's knowledge snippets: `question`, `answer` and the `venue` or the service."""
    content = files.json(files.names[0])
    for domain, entities in content.items():
        for entity in entities.values():
            venue = entity.get("name") or domain
            for snippet in entity.get("docs", {}).values():
                yield {"question": f"{snippet['title']} ({venue})", "answer": snippet["body"], "venue": venue}


@reader("selqa")
def read_selqa(files: SourceFiles) -> Rows:
    """Questions with the `sentence` that answers, the other sentences of its `section` as `other`, and the article."""
    for name in files.names:
        for item in files.json(name):
            sentences = item["candidates"]
            right = [sentences[one] for one in item["answers"] if one < len(sentences)]
            other = [text for text in sentences if text not in right]
            section = " ".join(sentences)
            yield {
                "question": item["question"],
                "sentence": right,
                "other": other[:5],
                "section": section,
                "article": item["article"],
            }


@reader("strategyqa")
def read_strategyqa(files: SourceFiles) -> Rows:
    """Questions that need several `fact`s, the `steps` that lead to them, and the `term` they are about."""
    for item in files.json(files.names[0]):
        term = f"{item['term']}: {item['description']}" if item["description"] else None
        steps = [text for text in item.get("decomposition", ()) if "#" not in text]  # "#1" stands for an earlier answer
        yield {"question": item["question"], "fact": item["facts"], "steps": steps, "term": term}


@reader("disfl")
def read_disfl(files: SourceFiles) -> Rows:
    """Spoken questions, `disfluent`, and what was meant, `clean`."""
    for name in files.names:
        for item in files.json(name).values():
            yield {"disfluent": item["disfluent"], "clean": item["original"]}


@reader("cosmos")
def read_cosmos(files: SourceFiles) -> Rows:
    """Stories with a `question`, its right `answer`, and the wrong ones as `wrong`."""
    fields = {name: name for name in ("context", "question", "answer0", "answer1", "answer2", "answer3", "label")}
    for row in read_csv(files, fields=fields):
        answers = [row[f"answer{number}"] for number in range(4)]
        right = answers[int(str(row["label"]))]
        wrong = [str(text) for text in answers if text != right and not str(text).startswith("None of the above")]
        if not str(right).startswith("None of the above"):
            yield {"story": row["context"], "question": row["question"], "answer": right, "wrong": wrong}


@reader("tatqa")
def read_tatqa(files: SourceFiles) -> Rows:
    """Questions on annual reports with the `table` or the `paragraph` that answers them."""
    for name in files.names:
        for item in files.json(name):
            table = "\n".join(" | ".join(str(cell) for cell in row) for row in look_up(item, "table.table") or [])
            paragraphs = {str(one["order"]): one["text"] for one in item["paragraphs"]}
            for asked in item["questions"]:
                used = [paragraphs[one] for one in map(str, asked.get("rel_paragraphs") or ()) if one in paragraphs]
                source = asked.get("answer_from", "")
                yield {
                    "question": asked["question"],
                    "table": table if "table" in source else None,
                    "paragraph": used if "text" in source else None,
                }
