"""The 37 tasks of the paper, and which of ours stand for them.

Source: Asai et al., Task-aware Retrieval with Instructions, 2023, and the table of instructions published with it,
whose row names are kept as they are.
"""

from __future__ import annotations

PAPER_TASKS: dict[str, tuple[str, ...]] = {
    "altlex": ("altlex-original-to-simple",),
    "cnn_dailymail": ("cnn-dailymail-highlights-to-article",),
    "coco_captions": ("coco-captions-same-picture",),
    "codesearch_go": ("codesearch-go-docstring-to-code",),
    "codesearch_java": ("codesearch-java-docstring-to-code",),
    "codesearch_javascript": ("codesearch-javascript-docstring-to-code",),
    "codesearch_ruby": ("codesearch-ruby-docstring-to-code",),
    "eli5_question_answer": ("eli5-question-to-answer",),
    "fever": ("fever-claim-to-evidence",),
    "gigaword": ("gigaword-sentence-to-headline",),
    "hotpotqa": ("hotpotqa-question-to-paragraph",),
    "yahoo_answers_title_answer": ("yahoo-answers-title-to-answer",),
    "mdmcqa": ("medmcqa-question-to-explanation",),
    "medical_sim": ("medical-sim-technical-to-plain",),
    "msmarco-triplets": ("msmarco-query-to-passage",),
    "multilexsum": ("multilexsum-long-to-short",),
    "nq": ("nq-question-to-passage",),
    "oqa": ("oqa-question-to-duplicate",),
    "agnews": ("agnews-title-to-summary",),
    "pubmedqa": ("pubmedqa-l-question-to-abstract",),
    "qrecc": ("qrecc-history-to-answer",),
    "record": ("record-statement-to-article",),
    "scitldr": ("scitldr-abstract-to-tldr",),
    "searchQA_top5_snippets": ("searchqa-clue-to-snippet",),
    "sentence-compression": ("sentence-compression-long-to-short",),
    "npr": ("npr-title-to-body",),
    "squad_pairs.jsonl": ("squad-xquad-en-question-to-paragraph", "squad-nqg-sentences-question-to-sentence"),
    "stackexchange_duplicate_questions_title-body_title-body": ("stackexchange-post-to-duplicate",),
    "stackexchange_duplicate_questions_title_title": ("stackexchange-title-to-duplicate",),
    "paq": ("paq-question-to-passage",),
    "triviaqa": ("triviaqa-question-to-passage",),
    "wikihow": ("wikihow-goal-to-steps",),
    "wow": ("wow-history-to-knowledge",),
    "wow response": ("wow-history-to-reply",),
    "xsum": ("xsum-article-to-summary",),
    "quora": ("quora-duplicate",),
    "ccnews": ("ccnews-title-to-article",),
}
"""Row of the paper's table -> names of our tasks that read the same set the same way, or a part of it."""
