"""Readers for conversations and captions."""

from __future__ import annotations

import re

from berri.files import SourceFiles
from berri.readers.registry import reader
from berri.record import Rows


@reader("captions")
def read_captions(files: SourceFiles) -> Rows:
    """Flickr8k: `image#number<TAB>caption`; each caption with the others of its image, which is its class."""
    images: dict[str, list[str]] = {}
    for name in files.names:
        for number, line in files.lines(name):
            image, tab, caption = line.partition("\t")
            if not tab:
                files.bad("wanted an image, a tab and a caption", name, number)
            else:
                images.setdefault(image.split("#")[0], []).append(caption.removesuffix(" ."))
    for image, captions in images.items():
        for caption in captions:
            yield {"query": caption, "same": [one for one in captions if one != caption], "class": image}


@reader("topical-chat")
def read_topical_chat(files: SourceFiles) -> Rows:
    """Conversations: each turn from the third on as `response` to the two before it, the `context`."""
    for name in files.names:
        for talk in files.json(name).values():
            turns = [turn["message"] for turn in talk["content"]]
            for place in range(2, len(turns)):
                yield {"context": " ".join(turns[place - 2 : place]), "response": turns[place]}


@reader("friends")
def read_friends(files: SourceFiles) -> Rows:
    """Questions on scenes of a series, with the `scene` as `speaker: words`."""
    for name in files.names:
        for episode in files.json(name)["data"]:
            for paragraph in episode["paragraphs"]:
                lines = paragraph["utterances:"]
                scene = "\n".join(f"{' and '.join(one['speakers'])}: {one['utterance']}" for one in lines)
                for asked in paragraph["qas"]:
                    yield {"question": asked["question"], "scene": scene}


@reader("qamr")
def read_qamr(files: SourceFiles) -> Rows:
    """Blocks: `#id`, a `sentence`, and lines of a `question`, blanks or tabs, and its answers."""
    for name in files.names:
        sentence, expected = "", False
        for _, line in files.lines(name):
            if line.startswith("#"):
                sentence, expected = "", True
            elif expected:
                sentence, expected = line.strip(), False
            elif sentence and (match := re.match(r"(.+?\?)\s{2,}", line)):
                yield {"question": match[1], "sentence": sentence}
