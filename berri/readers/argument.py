"""Readers for arguments and claims."""

from __future__ import annotations

import json
from collections.abc import Iterator

from berri.files import SourceFiles
from berri.readers.registry import reader
from berri.readers.tables import look_up, read_csv
from berri.record import Rows
from tart.errors import DataError


@reader("perspectrum")
def read_perspectrum(files: SourceFiles) -> Rows:
    """Claims with the perspectives that `support` and that `oppose` them, and with both as `perspective`.

    Claims from idebate are left out: a test collection is made from the same debates.
    """
    pool = {item["pId"]: item["text"] for item in files.json("perspective_pool_v1.0.json")}
    name = "perspectrum_with_answers_v1.0.json"
    for number, claim in enumerate(files.json(name), start=1):
        sides: dict[str, list[str]] = {"SUPPORT": [], "UNDERMINE": []}
        for cluster in claim.get("perspectives", ()):
            texts = [pool[one] for one in cluster["pids"] if one in pool]
            sides.setdefault(cluster.get("stance_label_3", ""), []).extend(texts)
        if "text" not in claim:
            files.bad("a claim without text", name, number, "text")
        elif claim.get("source") != "idebate":
            support, oppose = sides["SUPPORT"], sides["UNDERMINE"]
            yield {"claim": claim["text"], "support": support, "oppose": oppose, "perspective": support + oppose}


@reader("argkp")
def read_argkp(files: SourceFiles) -> Rows:
    """Arguments on a `topic` with the `key_point` that sums one up; `pro` or `con` is the argument by its side."""
    for part in ("train", "dev", "test"):
        points = {
            row["id"]: row["text"]
            for row in read_csv(
                files, fields={"id": "key_point_id", "text": "key_point"}, pattern=f"key_points_{part}.csv"
            )
        }
        matches: dict[object, list[str]] = {}
        wanted = {"argument": "arg_id", "point": "key_point_id"}
        for row in read_csv(files, fields=wanted, where={"label": ["1"]}, pattern=f"labels_{part}.csv"):
            if isinstance(point := points.get(row["point"]), str):
                matches.setdefault(row["argument"], []).append(point)
        fields = {"id": "arg_id", "argument": "argument", "topic": "topic", "stance": "stance"}
        for row in read_csv(files, fields=fields, pattern=f"arguments_{part}.csv"):
            side = "pro" if row["stance"] == "1" else "con"
            yield {
                "topic": row["topic"],
                "argument": row["argument"],
                side: row["argument"],
                "key_point": matches.get(row["id"]),
            }


@reader("fm2")
def read_fm2(files: SourceFiles) -> Rows:
    """Claims with the evidence that `supports` or `refutes` them, and others of the page, `other`."""
    for name, number, item in _json_lines(files):
        gold = look_up(item, "gold_evidence.*.text") or []
        other = [text for text in look_up(item, "retrieved_evidence.*.text") or [] if text not in gold]
        side = {"SUPPORTS": "supports", "REFUTES": "refutes"}.get(item.get("label", ""))
        if side is None:
            files.bad(f"unknown label {item.get('label')!r}", name, number, "label")
        else:
            page = item.get("wikipedia_page")
            yield {"claim": item.get("text"), side: gold, "evidence": gold, "other": other, "page": page}


@reader("wice")
def read_wice(files: SourceFiles) -> Rows:
    """Claims with the sentences of a web page that bear them out, `evidence`, and others of the page, `other`."""
    for _, _, item in _json_lines(files):
        sets = item.get("supporting_sentences") or []
        sentences = item.get("evidence") or []
        used = sorted({one for chosen in sets for one in chosen if isinstance(one, int) and one < len(sentences)})
        if used:
            joined = " ".join(sentences[one] for one in sorted({one for one in sets[0] if one < len(sentences)}))
            other = [text for place, text in enumerate(sentences) if place not in used and len(text) > 60]
            title = look_up(item, "meta.claim_title")
            yield {"claim": item.get("claim"), "evidence": joined, "other": other[:5], "subject": title}


def _json_lines(files: SourceFiles) -> Iterator[tuple[str, int, dict]]:  # type: ignore[type-arg]
    for name in files.names:
        for number, line in files.lines(name):
            try:
                item = json.loads(line)
            except (ValueError, RecursionError) as error:
                files.bad(f"not valid JSON ({error})", name, number)
                continue
            if isinstance(item, dict):
                yield name, number, item
            else:
                files.bad("wanted an object", name, number)


@reader("fnc1")
def read_fnc1(files: SourceFiles) -> Rows:
    """Headlines with the news articles that `agree`, `disagree` or `discuss`."""
    name = "competition_test_bodies.csv"
    bodies = {
        row["id"]: row["text"] for row in read_csv(files, fields={"id": "Body ID", "text": "articleBody"}, pattern=name)
    }
    fields = {"headline": "Headline", "id": "Body ID", "stance": "Stance"}
    for number, row in enumerate(read_csv(files, fields=fields, pattern="competition_test_stances.csv"), start=2):
        if row["id"] not in bodies:
            raise DataError(f"no article {row['id']!r}", path=files.path("competition_test_stances.csv"), line=number)
        if row["stance"] in ("agree", "disagree", "discuss"):
            body = bodies[row["id"]]
            yield {"headline": row["headline"], str(row["stance"]): body, "article": body}
