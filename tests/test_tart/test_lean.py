"""The lean form: the vectors and scores of the torch original, made once, noticed when damaged, refused when wrong."""

from __future__ import annotations

import ast
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling

import tart
from tart import BiEncoder, Document, Instruction, Query, Searcher
from tart.errors import CheckpointError, IndexMismatch
from tart.manifest import read_manifest, verify_parts
from tart.models import backend, lean_export, lean_form, load, notice
from tart.models.describe import describe_backend, describe_search
from tart.models.lean import LeanEncoder, LeanReranker
from tart.models.load import load_torch_encoder, load_torch_reranker
from tart.testing import KeywordEncoder, tiny_cross_encoder, tiny_sentence_transformer
from tart.text_format import PRESETS

WISH = Instruction("find code")
TEXTS = ["", "a", "été 中文 🎉", "read a file", "x" * 500, *("words of a text " * n for n in range(1, 9))]
QUERIES = [Query("a", "read a file", WISH), Query("b", "read"), Query("c", "x " * 500, WISH)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(backend, "has_gpu", lambda: False)
    return tmp_path / "cache" / "lean"


def folder_of(path: Path, *modules: torch.nn.Module, preset: str = "tart-dual", **settings: object) -> Path:
    body = tiny_sentence_transformer(**settings)  # type: ignore[arg-type]
    model = SentenceTransformer(modules=[body[0], *(modules or [body[1]])], similarity_fn_name="dot", device="cpu")
    BiEncoder(model, PRESETS[preset], "tiny").save(path)
    return path


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first * second).sum(axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)


@pytest.mark.parametrize(
    ("modules", "preset"),
    [
        ((Pooling(32, "mean"), Dense(32, 40, bias=False, activation_function=torch.nn.Identity())), "tart-dual"),
        ((Pooling(32, "cls"), Normalize()), "tart-reversed"),
        ((Pooling(32, "max"),), "e5"),
    ],
)
def test_vectors_and_texts_are_those_of_torch(
    tmp_path: Path, modules: tuple[torch.nn.Module, ...], preset: str
) -> None:
    folder = folder_of(tmp_path / "m", *modules, preset=preset)
    ours, theirs = tart.load_encoder(folder, backend="lean"), load_torch_encoder(folder)
    assert isinstance(ours, LeanEncoder) and ours.backend.startswith("lean ") and theirs.backend == "torch float32"
    for one in ("dim", "model_hash", "similarity", "text_format", "name", "max_tokens"):
        assert getattr(ours, one) == getattr(theirs, one)
    assert cosines(ours.encode_documents(TEXTS), theirs.encode_documents(TEXTS)).min() > 0.9999
    assert cosines(ours.encode_queries(QUERIES), theirs.encode_queries(QUERIES)).min() > 0.9999
    assert ours.read_queries(QUERIES) == theirs.read_queries(QUERIES)
    assert ours.read_documents(TEXTS) == theirs.read_documents(TEXTS)
    assert ours.encode_documents([]).shape == (0, ours.dim)


@pytest.mark.parametrize("labels", [1, 2])
def test_a_cross_encoder_orders_as_torch_does(tmp_path: Path, labels: int) -> None:
    tiny_cross_encoder(labels=labels).save_pretrained(str(tmp_path / "ce"))
    pairs = [(query, Document("d", text)) for query in QUERIES for text in TEXTS]
    for preset in ("plain", "tart-reversed"):
        ours = tart.load_reranker(tmp_path / "ce", text_format=preset, backend="lean")
        theirs = load_torch_reranker(tmp_path / "ce", text_format=preset)
        assert isinstance(ours, LeanReranker)
        assert ours.model_hash == theirs.model_hash
        assert [ours._texts(*pair) for pair in pairs] == [theirs._texts(*pair) for pair in pairs]  # type: ignore[union-attr]
        scores, wanted = ours.score(pairs), theirs.score(pairs)
        assert scores.shape == wanted.shape and scores.std() > 0
        assert np.abs(scores - wanted).max() < 0.02 * wanted.std()
    assert ours.score([]).shape == (0,)


def test_where_only_the_first_token_is_read_the_last_layer_is_for_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_cross_encoder().save_pretrained(str(tmp_path / "ce"))
    pairs = [(query, Document("d", text)) for query in QUERIES for text in TEXTS]
    cuts: list[int] = []
    keep = lean_export.keep_first_token
    monkeypatch.setattr(lean_export, "keep_first_token", lambda graph: cuts.append(keep(graph)))
    short = tart.load_reranker(tmp_path / "ce", backend="lean").score(pairs)
    assert cuts == [3]  # what attention asks with, the mask's row, and what its answer is added to
    tart.load_encoder(folder_of(tmp_path / "m"), backend="lean")
    assert cuts == [3, 0]
    monkeypatch.setattr(lean_export, "keep_first_token", lambda graph: 0)
    monkeypatch.setenv("TART_CACHE", str(tmp_path / "other"))
    np.testing.assert_allclose(tart.load_reranker(tmp_path / "ce", backend="lean").score(pairs), short, atol=1e-6)


def test_int8_is_made_by_choice_alone_and_tells_what_it_costs(
    tmp_path: Path, own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = folder_of(tmp_path / "m")
    exact = tart.load_encoder(folder, backend="lean")
    for _ in range(2):  # made once, told each time
        caplog.clear()
        small = tart.load_encoder(folder, backend="lean-int8")
        told = f"{folder} in int8: nDCG@10 "
        assert sum(record.getMessage().startswith(told) for record in caplog.records) == 1
        assert isinstance(small, LeanEncoder) and small.backend == "lean int8"
    assert small.model_hash == exact.model_hash and exact.backend != "lean int8"
    found, wanted = small.encode_documents(TEXTS), exact.encode_documents(TEXTS)
    assert 0.98 < cosines(found, wanted).min() < 0.999999
    Searcher.build(["read a file", "something"], exact, tmp_path / "index")
    with pytest.raises(IndexMismatch, match="'lean int8'"):
        Searcher.open(tmp_path / "index", backend="lean-int8")
    Searcher.build(["read a file", "something"], small, tmp_path / "index", overwrite=True)
    again = Searcher.open(tmp_path / "index")
    assert again.encoder.backend == "lean int8"  # that choice is the index's too
    (form,) = own_cache.glob("*-int8")
    why = "the vectors of the index were made so, and meet no others"
    assert describe_search(again.manifest) == {"backend": "lean int8", "why": why, "lean_form": str(form)}


def test_int8_of_a_cross_encoder(tmp_path: Path) -> None:
    tiny_cross_encoder().save_pretrained(str(tmp_path / "ce"))
    pairs = [(query, Document("d", text)) for query in QUERIES for text in TEXTS]
    small, exact = (tart.load_reranker(tmp_path / "ce", backend=one) for one in ("lean-int8", "lean"))  # type: ignore[arg-type]
    assert isinstance(small, LeanReranker) and small.backend == "lean int8"
    assert small.model_hash == exact.model_hash
    assert np.corrcoef(small.score(pairs), exact.score(pairs))[0, 1] > 0.8


def test_it_is_made_once_and_found_again(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path / "m")
    assert describe_backend(folder)["lean_form"] is None
    with ThreadPoolExecutor(2) as pool:  # two at once: one makes it, the other one waits
        first, second = pool.map(lambda _: tart.load_encoder(folder), range(2))
    np.testing.assert_array_equal(first.encode_documents(TEXTS), second.encode_documents(TEXTS))
    (form,) = [path for path in own_cache.iterdir() if path.is_dir()]
    assert describe_backend(folder)["lean_form"] == str(form)
    monkeypatch.setattr(load, "_torch_encoder", None)
    assert isinstance(tart.load_encoder(folder), LeanEncoder)
    monkeypatch.undo()


def test_of_two_processes_one_makes_it_and_both_load_it(tmp_path: Path, own_cache: Path) -> None:
    folder = folder_of(tmp_path / "m")
    code = (
        "import sys, tart\nfrom tart.models import lean_form\nfind = lean_form.find_form\n"
        "def find_and_wait(*model):\n    form = find(*model)\n    print(form, flush=True), sys.stdin.readline()\n"
        "    return form\n"
        "lean_form.find_form = find_and_wait\n"
        f"encoder = tart.load_encoder({str(folder)!r}, backend='lean')\n"
        f"print(encoder.backend, encoder.encode_documents({TEXTS!a}).tobytes().hex())"
    )
    root, pipe = Path(__file__).parents[2], subprocess.PIPE
    both = [
        subprocess.Popen([sys.executable, "-c", code], cwd=root, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        for _ in range(2)
    ]
    assert [one.stdout.readline() for one in both if one.stdout] == ["None\n"] * 2  # each has looked: there is none yet
    for one in both:
        assert one.stdin and one.stdin.write("\n")
        one.stdin.flush()
    (first, told), (second, also_told) = (one.communicate() for one in both)
    assert [one.returncode for one in both] == [0, 0], told + also_told
    assert first == second and first.startswith("lean ")
    assert (told + also_told).count("making its lean form") == 1
    (form,) = [path for path in own_cache.iterdir() if path.is_dir()]
    verify_parts(form, read_manifest(form, lean_form.KIND))


def test_a_flipped_byte_is_noticed_and_other_weights_have_another_form(
    tmp_path: Path, own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = folder_of(tmp_path / "m")
    before = tart.load_encoder(folder).encode_documents(TEXTS)
    (weights,) = own_cache.glob("*/model.bin")
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    caplog.clear()
    np.testing.assert_array_equal(tart.load_encoder(folder).encode_documents(TEXTS), before)
    said = [record.getMessage() for record in caplog.records]
    assert any(
        "model.bin: damaged: its sha256 is not the manifest's; the lean form is made anew" in one for one in said
    )
    folder_of(tmp_path / "other", seed=1)
    (tmp_path / "other" / "model.safetensors").replace(folder / "model.safetensors")
    assert np.abs(tart.load_encoder(folder).encode_documents(TEXTS) - before).max() > 0.01


def test_a_form_that_disagrees_is_removed_and_the_model_runs_on_torch(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = folder_of(tmp_path / "m")
    monkeypatch.setattr(lean_export, "_least_cosine", lambda first, second: 0.9)
    for _ in range(2):  # the second time nobody tries, and nobody says it again
        assert isinstance(tart.load_encoder(folder), BiEncoder)
        said = [record.getMessage() for record in caplog.records if "runs on torch" in record.getMessage()]
        assert said == [f"{folder}: runs on torch: its lean form disagrees with it: 0.900000, wanted 0.9999"]
        monkeypatch.setattr(lean_export, "export_lean", None)
    assert [path.name for path in own_cache.glob("*/*")] == ["manifest.json"]
    assert "disagrees" in str(describe_backend(folder)["why"])
    with pytest.raises(CheckpointError, match="disagrees with it"):
        tart.load_encoder(folder, backend="lean")


def test_bfloat16_that_is_off_gives_way_to_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    form = lean_form.LeanForm(tmp_path, {"agreement": {"float32": 1.0, "bfloat16": 0.9998}})
    monkeypatch.setattr(lean_form, "lean_precision", lambda: ("bfloat16", "the processor has it"))
    assert form.precision == "float32"
    form.facts["agreement"]["bfloat16"] = 0.99995
    assert form.precision == "bfloat16"


def test_a_processor_without_bfloat16_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one, another = folder_of(tmp_path / "one"), folder_of(tmp_path / "another")
    notice.warn_once.cache_clear()
    for found, precision, told in (("avx512_bf16", "bfloat16", 0), (None, "float32", 1)):
        monkeypatch.setattr(backend, "bfloat16_instruction", lambda found=found: found)
        for folder in (one, another, one):
            assert tart.load_encoder(folder).backend == f"lean {precision}"
        said = "lean forms compute in float32: the processor has none of amx_bf16, avx512_bf16"
        assert caplog.text.count(said) == told


def test_a_model_that_lean_can_not_take_runs_on_torch_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folders = [folder_of(tmp_path / name, include_prompt=False) for name in ("one", "another")]
    for folder in (*folders, *folders):
        assert isinstance(tart.load_encoder(folder), BiEncoder)
    for folder in folders:
        assert caplog.text.count(f"{folder}: runs on torch: it leaves a prompt out of the mean") == 1


def test_a_form_that_can_not_run_gives_way_to_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = folder_of(tmp_path / "model")
    monkeypatch.setattr(lean_form.LeanForm, "load", lambda self: (_ for _ in ()).throw(CheckpointError("no compiler")))
    assert tart.load_encoder(folder).backend.startswith("torch")
    assert "runs on torch: no compiler" in caplog.text
    with pytest.raises(CheckpointError, match="no compiler"):
        tart.load_encoder(folder, backend="lean")


def test_export_writes_it_beside_the_plain_form(tmp_path: Path, own_cache: Path) -> None:
    from tart.models.export import export_model

    export_model(folder_of(tmp_path / "m"), tmp_path / "out")
    assert {path.name for path in (tmp_path / "out" / "lean").iterdir()} == {
        "manifest.json", "model.bin", "model.xml", "tokenizer.json"
    }  # fmt: skip
    encoder = tart.load_encoder(tmp_path / "out", backend="lean")
    assert isinstance(encoder, LeanEncoder) and not own_cache.exists()
    theirs = SentenceTransformer(str(tmp_path / "out")).encode(TEXTS)
    assert cosines(encoder.encode_documents(TEXTS), theirs).min() > 0.9999


def test_backends_that_differ_by_rounding_may_meet_others_not(tmp_path: Path) -> None:
    encoder = KeywordEncoder(["cat", "dog"])
    rows = [
        ("torch float32", "lean bfloat16", True),
        ("lean int8", "lean int8", True),
        ("lean int8", "lean bfloat16", False),
    ]
    for made_by, asked_by, fits in rows:
        encoder.backend = made_by
        Searcher.build(["a cat", "a dog"], encoder, tmp_path / "index", overwrite=True)
        encoder.backend = asked_by
        if fits:
            assert Searcher.open(tmp_path / "index", encoder).search("dog")[0].text == "a dog"
        else:
            with pytest.raises(
                IndexMismatch, match="made by 'lean int8', those of queries would be by 'lean bfloat16'"
            ):
                Searcher.open(tmp_path / "index", encoder)


def test_a_search_never_imports_torch(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m")
    (tmp_path / "texts.jsonl").write_text('{"_id": "a", "text": "read a file"}\n{"_id": "b", "text": "something"}\n')
    Searcher.build(tmp_path / "texts.jsonl", folder, tmp_path / "index", backend="lean")
    code = (
        f"import sys\nsys.argv = ['tart', 'search', {str(tmp_path / 'index')!r}, 'read', '--backend', 'lean']\n"
        "from tart.cli import main\ntry: main()\nexcept SystemExit as end: assert not end.code\n"
        "print([name for name in ('torch', 'transformers', 'sentence_transformers', 'bm25s') if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root, env={**os.environ}
    )
    assert "read a file" in done.stdout
    assert ast.literal_eval(done.stdout.splitlines()[-1]) == []


@pytest.mark.parametrize("threads", [8])
def test_threads_share_one_model(tmp_path: Path, threads: int) -> None:
    encoder = tart.load_encoder(folder_of(tmp_path / "m"), backend="lean")
    alone = [encoder.encode_documents([text]) for text in TEXTS]
    with ThreadPoolExecutor(threads) as pool:
        together = list(pool.map(lambda text: encoder.encode_documents([text]), TEXTS * 4))
    for one, again in zip(alone * 4, together, strict=True):
        np.testing.assert_array_equal(one, again)
    assert logging.root.manager.disable == logging.NOTSET
