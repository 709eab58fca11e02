"""The three tokenizers, built from the world's own vocabulary; nothing is downloaded.

Lower-case caption words are one token each, and upper-case text (what signs and posters say) is one token a
character, because no merge has ever seen an upper-case word: quoted text reaches the encoders as characters.
"""

from __future__ import annotations

import json
import string
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer, Qwen2Tokenizer, T5Tokenizer

from glance_bench.testbed.scenes import KINDS, captions, sample_scene

QWEN_SPECIALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)


def _corpus() -> list[str]:
    """Captions of training scenes with a lone quote for their quoted text, so that no merge sees an upper-case word."""
    rng = np.random.default_rng(0)
    lines = []
    for index in range(3000):
        for text in captions(sample_scene(rng, KINDS[index % len(KINDS)])):
            lines.append(" ".join('"' if word.startswith('"') else word for word in text.split()))
    return lines


def _words() -> list[str]:
    return sorted({word for line in _corpus() for word in line.split()} - {'"'})


def t5_tokenizer(max_length: int) -> T5Tokenizer:
    """Unigram with one piece for each caption word and for each printable ASCII character; no sentinel tokens."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -4.0)]
    pieces += [(f"▁{word}", -2.0) for word in _words()]
    letters = string.ascii_letters + string.digits + string.punctuation
    pieces += [(letter, -6.0) for letter in letters]
    pieces += [('▁"', -6.0)]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=max_length)


def _learn_merges(
    lines: list[str], pre_tokenizer: pre_tokenizers.PreTokenizer, suffix: str
) -> list[tuple[str, str]]:
    """Byte-pair merges that make every word of `lines` one token."""
    ending: dict[str, Any] = {"end_of_word_suffix": suffix} if suffix else {}
    tokenizer = Tokenizer(models.BPE(**ending))
    tokenizer.pre_tokenizer = pre_tokenizer
    alphabet = sorted(ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=4000, initial_alphabet=alphabet, show_progress=False, **ending)
    tokenizer.train_from_iterator(lines, trainer)
    return [tuple(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]]


def clip_tokenizer() -> CLIPTokenizer:
    """CLIP's lower-casing BPE over bytes, as large as the world needs."""
    merges = _learn_merges(
        _corpus(), pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), ByteLevel(False)]), "</w>"
    )
    alphabet = sorted(ByteLevel.alphabet())
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet), *("".join(merge) for merge in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)


def qwen_tokenizer(template: str) -> Qwen2Tokenizer:
    """Qwen2's byte-level BPE, trained with the pipeline's prompt template so that its prefix is 34 tokens."""
    plain = template.replace("{}", " ")
    for special in QWEN_SPECIALS:
        plain = plain.replace(special, "\n")
    split = Qwen2Tokenizer()._tokenizer.pre_tokenizer
    merges = _learn_merges([*_corpus(), *[plain] * 50], split, "")
    tokens = [*sorted(ByteLevel.alphabet()), *("".join(merge) for merge in merges), *QWEN_SPECIALS]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=merges, extra_special_tokens=list(QWEN_SPECIALS[1:]))
    prefix = tokenizer(template.split("{}")[0]).input_ids
    if len(prefix) != 34:
        raise ValueError(f"the template's prefix is {len(prefix)} tokens, the pipeline drops 34")
    return tokenizer
