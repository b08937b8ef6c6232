"""Language models of Hugging Face for BIB, in place of the small one of the task's own.

A pretrained encoder stays frozen and differentiable: its input at each position is the expected
embedding of the token there under relaxed letters (Chen et al. 2023, arXiv 2301.02931). A token is
a letter, as in ProtBert (Rostlab/prot_bert), or k letters in a row, each k-mer overlapping the
next, as in DNABERT (zhihan1996/DNA_bert_3), with the product of its letters' weights. Features are
the mean of the last layer over these tokens, without the special tokens around a sequence.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ...core.errors import MissingDependencyError, SettingError
from ...datasets.sequence_design.instance import DesignTask

VARIABLE = "SYSOPT_LANGUAGE_MODEL"
MOST_K = 6  # most letters of a token


@dataclass(frozen=True, slots=True, eq=False)
class PretrainedModel:
    """A frozen encoder that reads one task's letters.

    Attributes:
        encoder: a transformer that takes `inputs_embeds`.
        tokens: float32 [V ** k, d]; embeddings of all k-mers, the last letter's changing fastest.
        before: float32 [s, d]; embeddings of the special tokens before a sequence.
        after: float32 [s', d]; embeddings of those after it.
        k: letters of a token.
    """

    encoder: torch.nn.Module
    tokens: Tensor
    before: Tensor
    after: Tensor
    k: int

    def features(self, soft: Tensor) -> Tensor:
        """Average the last layer over tokens: relaxed letters [B, L, V] to features [B, d]."""
        places = soft.shape[1] - self.k + 1
        chances = soft[:, :places]
        for letter in range(1, self.k):
            following = soft[:, letter : letter + places]
            chances = (chances[..., None] * following[..., None, :]).flatten(2)
        count = len(soft)
        inputs = torch.cat(
            [
                self.before.expand(count, -1, -1),
                chances @ self.tokens,
                self.after.expand(count, -1, -1),
            ],
            dim=1,
        )
        last: Tensor = self.encoder(inputs_embeds=inputs).last_hidden_state
        return last[:, len(self.before) : len(self.before) + places].mean(dim=1)


def chosen_model(task: DesignTask) -> PretrainedModel | None:
    """Load the model that SYSOPT_LANGUAGE_MODEL names; return None if that variable is not set.

    Raises:
        MissingDependencyError: transformers is not installed.
        SettingError: see `load`.
    """
    name = os.environ.get(VARIABLE)
    return load(name, task) if name else None


def load(name: str, task: DesignTask) -> PretrainedModel:
    """Load a model and fit its vocabulary to one task's letters.

    Args:
        name: a local folder with a saved model, or a model's name on the hub.
        task: the task.

    Raises:
        MissingDependencyError: transformers is not installed.
        SettingError: the model cannot be loaded, its vocabulary lacks the task's letters, or its
            longest input is shorter than the task's sequences.
    """
    encoder, tokenizer = _encoder_and_tokenizer(name)
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    k = _letters_of_a_token(name, task, vocabulary)
    before = [tokenizer.cls_token_id] if tokenizer.cls_token_id is not None else []
    end = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
    after = [end] if end is not None else []
    needed = len(before) + task.length - k + 1 + len(after)
    most = getattr(encoder.config, "max_position_embeddings", needed)
    if needed > most:
        raise SettingError(
            f"{VARIABLE}={name}: the model takes {most} tokens, and {task.name} needs {needed}; "
            "choose one for longer sequences"
        )
    embeddings = encoder.get_input_embeddings().weight
    kmers = [vocabulary[token] for token in _kmers(task, k)]
    return PretrainedModel(encoder, embeddings[kmers], embeddings[before], embeddings[after], k)


def _kmers(task: DesignTask, k: int) -> map[str]:
    return map("".join, itertools.product(task.alphabet, repeat=k))


def _letters_of_a_token(name: str, task: DesignTask, vocabulary: dict[str, int]) -> int:
    for k in range(1, min(MOST_K, task.length) + 1):
        if all(token in vocabulary for token in _kmers(task, k)):
            return k
    missing = [letter for letter in task.alphabet if letter not in vocabulary]
    raise SettingError(
        f"{VARIABLE}={name}: the vocabulary lacks letters of {task.name}, {', '.join(missing)}, "
        f"and the k-mers of all {task.letters}; choose a model of such sequences"
    )


@cache
def _encoder_and_tokenizer(name: str) -> tuple[Any, Any]:
    """Load a model once a process, so that a warmed-up contender does not wait for it."""
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{VARIABLE} needs transformers; pip install 'sysopt-gym[language_models]'"
        ) from error
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(name)
        encoder = transformers.AutoModel.from_pretrained(name, dtype=torch.float32)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise SettingError(
            f"{VARIABLE}={name}: transformers cannot load it: {reason}; give a folder that holds a "
            "saved model and its vocabulary, or a model's name on the hub"
        ) from error
    return encoder.eval().requires_grad_(False), tokenizer
