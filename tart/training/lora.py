"""LoRA: small matrices beside the linear layers of a frozen body are trained, and added to its weights at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def add_adapter(model: SentenceTransformer, rank: int) -> None:
    """Freeze the body and put an adapter beside each of its linear layers; what stands above the body stays as it is.

    Args:
        model: before training; its output doesn't change.
        rank: of the adapter's matrices; they are drawn from torch's generator.

    Source: arXiv 2106.09685, on all linear layers with alpha twice the rank, as arXiv 2305.14314 found it to be needed.
    """
    from peft import LoraConfig

    pooler = r".*\bpooler\b.*"  # BERT's own, which no pooling of sentence-transformers reads
    model.add_adapter(
        LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear", exclude_modules=pooler)
    )


def merge_adapter(model: SentenceTransformer) -> None:
    """Add the adapter to the body's weights: its modules are plain ones afterwards, and give the same vectors."""
    from peft.tuners.lora import LoraLayer

    body: Any = model.transformers_model
    for name, layer in [(name, module) for name, module in body.named_modules() if isinstance(module, LoraLayer)]:
        layer.merge()
        body.set_submodule(name, layer.get_base_layer())
    body._hf_peft_config_loaded = False
    del body.peft_config
