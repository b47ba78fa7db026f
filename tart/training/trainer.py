"""sentence-transformers' trainer with this project's batches: loop, optimizer, precision and checkpoints are theirs."""

from __future__ import annotations

import gc
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.evaluation import BaseEvaluator
from torch import distributed
from torch.utils.data import DataLoader
from transformers import EarlyStoppingCallback, PrinterCallback, ProgressCallback, TrainerCallback

from tart.errors import ConfigError, DataError
from tart.files import usable_cores
from tart.manifest import NAME, read_manifest, verify_parts, write_manifest
from tart.training.settings import DevelopmentSettings, LoopSettings, Precision

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder, SentenceTransformer
    from torch.utils.data import Dataset

logger = logging.getLogger(__name__)
CHECKPOINT = "tart-checkpoint/1"
MOST_WORKERS = 16  # more of them make batches faster than a GPU takes them
Evaluate = Callable[[], Mapping[str, float]]


def chosen_precision(wanted: Precision, gpu: bool = False) -> Precision:
    """The precision that is used: "auto" takes bf16 where the processor multiplies it.

    Args:
        wanted: by the recipe.
        gpu: whether the recipe is made for a GPU.

    Raises:
        ConfigError: there is no GPU, and the recipe is made for one or wants fp16.
    """
    if gpu and not torch.cuda.is_available():
        raise ConfigError(
            "loop.gpu: the recipe is made for a GPU, and there is none; take mini or mini-full, which are made for "
            "processors, or loop.gpu=false with a batch_size and a token_budget that fit this machine"
        )
    if wanted == "fp16" and not torch.cuda.is_available():
        raise ConfigError("loop.precision: fp16 needs a GPU; on this processor take bf16, or fp32")
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    capable = onednn and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "bf16" if capable else "fp32"


def training_arguments(
    work: Path, name: str, seed: int, loop: LoopSettings, development: DevelopmentSettings
) -> SentenceTransformerTrainingArguments:
    """The settings of a recipe as the trainer wants them.

    Raises:
        ConfigError: the recipe, or its precision, wants a GPU, and there is none.
    """
    precision, watched = chosen_precision(loop.precision, loop.gpu), bool(development.every)
    return SentenceTransformerTrainingArguments(
        output_dir=str(work),
        run_name=name,
        seed=seed,
        max_steps=loop.steps,
        per_device_train_batch_size=1,  # an item of the dataset is a whole batch
        learning_rate=loop.learning_rate,
        warmup_steps=round(loop.warmup * loop.steps),
        lr_scheduler_type="linear",
        adam_beta2=loop.beta2,
        max_grad_norm=loop.max_grad_norm,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        logging_steps=loop.log_every,
        logging_nan_inf_filter=False,
        save_steps=development.every or loop.save_every,  # the best checkpoint has to be one that was looked at
        save_total_limit=2,
        eval_strategy="steps" if watched else "no",
        eval_steps=development.every or None,
        metric_for_best_model=f"eval_{development.measure}" if watched else None,
        greater_is_better=not development.measure.startswith("wrong"),
        load_best_model_at_end=watched,
        restore_callback_states_from_checkpoint=bool(development.patience),
        report_to=["tensorboard"],
        dataloader_num_workers=_workers() if torch.cuda.is_available() else 0,
        dataloader_pin_memory=torch.cuda.is_available(),
        use_cpu=not torch.cuda.is_available(),
        ddp_backend="gloo" if "WORLD_SIZE" in os.environ and not torch.cuda.is_available() else None,
        disable_tqdm=False,
    )


def _workers() -> int:
    """Processes that make batches for a GPU; those of one machine that train together share its cores."""
    sharing = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(min(usable_cores() // sharing - 1, MOST_WORKERS), 0)


class TartTrainer(SentenceTransformerTrainer):
    """Trains on a dataset whose item i is the batch of step i; checkpoints carry a manifest, written last.

    Args:
        model: what is trained.
        args: as `training_arguments` gives them.
        batches: the dataset.
        loss: called with features and labels of a batch.
        evaluate: gives the development measures; None to watch the loss alone.
        loop: learning rate and weight decay of the layers above the base.
        patience: evaluations without a better figure before it stops; 0: never.
    """

    def __init__(
        self,
        model: SentenceTransformer | CrossEncoder,
        args: SentenceTransformerTrainingArguments,
        batches: Dataset[dict[str, Any]],
        loss: torch.nn.Module,
        evaluate: Evaluate | None,
        loop: LoopSettings,
        patience: int = 0,
    ) -> None:
        self._batches, self._loop, self._before, self._started = batches, loop, 0.0, time.monotonic()
        callbacks: list[TrainerCallback] = [EarlyStoppingCallback(patience)] if patience else []
        evaluator = None if evaluate is None else _Watcher(evaluate)
        super().__init__(
            model=model,  # type: ignore[arg-type]  # a CrossEncoder is as good to it
            args=args,
            loss=loss,
            evaluator=evaluator,
            callbacks=callbacks,
        )
        self.remove_callback(PrinterCallback)
        if not args.disable_tqdm and not _is_terminal():
            self.remove_callback(ProgressCallback)
            self.add_callback(_Lines())

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The batches in their order; nothing is drawn here."""
        self.accelerator.even_batches = False
        loader: DataLoader[Any] = DataLoader(
            self._batches,
            batch_size=1,
            shuffle=False,
            collate_fn=_only,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )
        prepared: DataLoader[Any] = self.accelerator.prepare(loader)
        return prepared

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The loss of a batch.

        Raises:
            DataError: naming step and examples, if it is not a number.
        """
        label = inputs["label"]
        loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if not torch.isfinite(loss if torch.is_tensor(loss) else loss[0]):
            named = ", ".join(label["ids"][:8])
            raise DataError(
                f"the loss of step {label['step'] + 1} is not a finite number; its examples are {named} and "
                f"{max(len(label['ids']) - 8, 0)} more; lower the learning rate, or take precision fp32"
            )
        return loss

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW; the layers above the base have their own learning rate and no decay, which would wear the copies."""
        if self.optimizer is None:
            body = {id(weight) for weight in self.model[0].parameters()}
            rate, head, decay = self.args.learning_rate, self._loop.head_learning_rate, self._loop.weight_decay
            trained = [(name, weight) for name, weight in self.model.named_parameters() if weight.requires_grad]
            groups = [
                _group(trained, lambda name, weight: id(weight) in body and weight.ndim > 1, rate, decay),
                _group(trained, lambda name, weight: id(weight) in body and weight.ndim < 2, rate, 0.0),
                _group(trained, lambda name, weight: id(weight) not in body, head, 0.0),
            ]
            betas = (self.args.adam_beta1, self.args.adam_beta2)
            self.optimizer = torch.optim.AdamW([one for one in groups if one["params"]], betas=betas)
        return self.optimizer

    def part(self) -> None:
        """End the connection with the other processes, which call this too; afterwards each goes its own way.

        What wraps the model goes first: taken apart later, or at exit, it waits for a connection that is gone, and the
        process hangs or aborts.
        """
        distributed.barrier()
        self.loss.model = self.model  # type: ignore[attr-defined]
        self.model_wrapped = self.model
        self.accelerator.free_memory()
        gc.collect()
        distributed.destroy_process_group()

    def run(self, checkpoint: Path | None) -> float:
        """Train, from a checkpoint on if there is one.

        Returns:
            Seconds that it took, those before the checkpoint included.
        """
        if checkpoint is not None:
            self._before = float(read_manifest(checkpoint, CHECKPOINT)["seconds"])
        self._started = time.monotonic()
        self.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        return self._seconds()

    def _seconds(self) -> float:
        return self._before + time.monotonic() - self._started

    def _load_best_model(self) -> None:
        """As the trainer's own, which tells of a checkpoint that it can't load and goes on with other weights."""
        self._load_from_checkpoint(str(self.state.best_model_checkpoint))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
            write_manifest(folder, CHECKPOINT, {"step": self.state.global_step, "seconds": self._seconds()})


def newest_checkpoint(work: Path) -> Path | None:
    """The newest whole checkpoint of a run; those that a kill left half written are passed over."""
    found = sorted(work.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    for folder in found:
        if not (folder / NAME).is_file():
            continue
        try:
            verify_parts(folder, read_manifest(folder, CHECKPOINT))
        except DataError as error:
            logger.warning("passed over: %s", error)
            continue
        return folder
    return None


def _group(trained: list[tuple[str, Any]], belongs: Callable[[str, Any], bool], rate: float, decay: float) -> Any:
    return {"params": [one for name, one in trained if belongs(name, one)], "lr": rate, "weight_decay": decay}


def _only(items: list[Any]) -> Any:
    return items[0]


def _is_terminal() -> bool:
    import sys

    return sys.stderr.isatty()


class _Watcher(BaseEvaluator):
    """The development search in the form that the trainer calls."""

    def __init__(self, evaluate: Evaluate) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._evaluate_now = evaluate

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        return dict(self._evaluate_now())


class _Lines(TrainerCallback):
    """Without a terminal: a line for each entry of the log."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **more: Any) -> None:
        if state.is_world_process_zero and logs:
            parts = [f"{key} {value:.4g}" for key, value in logs.items() if isinstance(value, float)]
            logger.info("step %d of %d: %s", state.global_step, state.max_steps, ", ".join(parts))
