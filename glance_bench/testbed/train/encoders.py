"""The text encoders (CLIP, T5, Qwen2.5-VL), pre-trained to parse captions and then frozen.

A large encoder arrives knowing language. These learn it from one task: each token must tell, through a linear head
that is thrown away, what the caption says of it (the object it belongs to, with its attributes and place; the letter,
its column and its line), and summary positions must tell the whole scene. Colours then cannot swap between objects
for want of binding in the text, and letters carry their place. Only training scenes are parsed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from diffusers import QwenImagePipeline
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    T5Config,
    T5EncoderModel,
)

from glance_bench.testbed.scenes import (
    BACKGROUNDS,
    COLOURS,
    KINDS,
    PAPERS,
    RELATIONS,
    SEEN_WORDS,
    SHAPES,
    SIZES,
    Scene,
    caption,
    sample_scene,
)
from glance_bench.testbed.train import tokenizers

T5_LENGTH = 32  # tokens
WIDTH = 128  # of T5 and Qwen2.5-VL: the joint attention dimension of the transformers
POOLED = 64  # of CLIP
PLACES = ("centre", "left of", "right of", "above", "below", "count 2", "count 3", "under sign")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_WHOLE = {"kind": len(KINDS), "background": len(BACKGROUNDS) + len(PAPERS), "relation": 5, "count": 3}
_WHOLE |= {f"{key}{n}": size for n in (1, 2) for key, size in (("colour", 7), ("shape", 6), ("size", 3))}
_WHOLE |= {f"letter{column}": 27 for column in range(5)}
_PART = {
    "colour": 6,
    "shape": 5,
    "size": 3,
    "place": len(PLACES),
    "letter": 26,
    "column": 5,
    "row": 4,
    "length": 6,
}
FIELDS = _WHOLE | _PART


def _index(options: object, value: str) -> int:
    """1-based place of `value` among `options`, 0 if it is not among them."""
    names = list(options)  # type: ignore[call-overload]
    return names.index(value) + 1 if value in names else 0


def whole(scene: Scene) -> dict[str, int]:
    """What the caption as a whole says: field -> class."""
    says = {
        "kind": KINDS.index(scene.kind),
        "background": [*BACKGROUNDS, *PAPERS].index(scene.background),
        "relation": _index(RELATIONS, scene.relation),
        "count": scene.count - 1,
    }
    for number, thing in enumerate(scene.things, start=1):
        says[f"colour{number}"] = _index(COLOURS, thing.colour)
        says[f"shape{number}"] = _index(SHAPES, thing.shape)
        says[f"size{number}"] = _index(SIZES, thing.size)
    if scene.words:
        says |= {f"letter{column}": _index(LETTERS, letter) for column, letter in enumerate(scene.words[0])}
    return {field: says.get(field, 0) for field in _WHOLE}


def _place(scene: Scene, number: int) -> str:
    if scene.kind == "pair":
        opposite = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
        return scene.relation if number == 0 else opposite[scene.relation]
    return {"object": "centre", "count": f"count {scene.count}"}.get(scene.kind, "under sign")


def parts(scene: Scene, text: str) -> list[tuple[int, int, dict[str, int]]]:
    """Character spans of the caption `text` and what it says of them: (start, end, field -> class)."""
    spans = []
    after = 0
    for number, thing in enumerate(scene.things):
        start = text.index(thing.phrase(), after)
        after = start + len(thing.phrase())
        says = {
            "colour": list(COLOURS).index(thing.colour),
            "shape": SHAPES.index(thing.shape),
            "size": _index(SIZES, thing.size),
            "place": PLACES.index(_place(scene, number)),
        }
        spans.append((start, after, says))
    after = 0
    for row, word in enumerate(scene.words):
        start = text.index(f'"{word}"', after) + 1
        after = start + len(word)
        for column, letter in enumerate(word):
            says = {"letter": LETTERS.index(letter), "column": column, "row": row, "length": len(word)}
            spans.append((start + column, start + column + 1, says))
    return spans


def captioned_scenes(count: int, seed: int) -> list[tuple[Scene, str]]:
    """Training scenes with a caption each; random words beside the seen ones, so that spelling is learnt."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        words = SEEN_WORDS
        if rng.random() < 0.5:
            words = tuple("".join(rng.choice(list(LETTERS), int(rng.integers(3, 6)))) for _ in range(6))
        scene = sample_scene(rng, KINDS[index % len(KINDS)], words=words)
        made.append((scene, caption(scene, rng)))
    return made


class Parser(nn.Module):
    """An encoder and the linear head that reads its hidden states; only the encoder is kept."""

    def __init__(self, encoder: nn.Module, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(width, sum(FIELDS.values()))

    def loss(self, hidden: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Mean cross-entropy over the fields; hidden float32[..., width], targets int64[...] with -100 to skip."""
        logits = self.head(hidden).split(list(FIELDS.values()), dim=-1)
        terms = [
            F.cross_entropy(one.flatten(0, -2), targets[field].flatten(), ignore_index=-100)
            for field, one in zip(FIELDS, logits, strict=True)
            if field in targets and (targets[field] >= 0).any()
        ]
        return torch.stack(terms).mean()


def token_targets(
    scenes: list[tuple[Scene, str]], offsets: Tensor, shift: int, summary: Tensor
) -> dict[str, Tensor]:
    """Targets int64[N, T] for every field.

    offsets: int64[N, T, 2], character span of each token. shift: characters before the caption.
    summary: bool[N, T], the tokens that must tell the whole scene.
    """
    targets = {field: torch.full(offsets.shape[:2], -100) for field in FIELDS}
    for row, (scene, text) in enumerate(scenes):
        for field, value in whole(scene).items():
            targets[field][row, summary[row]] = value
        starts, ends = offsets[row, :, 0] - shift, offsets[row, :, 1] - shift
        for start, end, says in parts(scene, text):
            inside = (starts < end) & (ends > start) & (ends > starts)
            for field, value in says.items():
                targets[field][row, inside] = value
    return targets


@dataclass(frozen=True)
class TextPart:
    """One encoder with its tokenizer, and how its parsing loss is computed."""

    tokenizer: Any
    parser: Parser


def t5() -> TextPart:
    tokenizer = tokenizers.t5_tokenizer(T5_LENGTH)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=WIDTH,
        d_kv=32,
        d_ff=2 * WIDTH,
        num_layers=3,
        num_heads=4,
        relative_attention_max_distance=32,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        use_cache=False,
    )
    return TextPart(tokenizer, Parser(T5EncoderModel(config), WIDTH))


def t5_loss(part: TextPart, scenes: list[tuple[Scene, str]]) -> Tensor:
    """Every token of the padded sequence tells the scene: FLUX's transformer attends to the padding too."""
    texts = [text for _, text in scenes]
    batch = part.tokenizer(
        texts,
        padding="max_length",
        max_length=T5_LENGTH,
        truncation=True,
        return_offsets_mapping=True,
        return_tensors="pt",
    )
    hidden = part.parser.encoder(batch.input_ids)[0]
    summary = torch.ones_like(batch.input_ids, dtype=torch.bool)
    return part.parser.loss(hidden, token_targets(scenes, batch.offset_mapping, 0, summary))


def clip() -> TextPart:
    tokenizer = tokenizers.clip_tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=POOLED,
        intermediate_size=4 * POOLED,
        projection_dim=POOLED,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return TextPart(tokenizer, Parser(CLIPTextModel(config), POOLED))


def clip_loss(part: TextPart, scenes: list[tuple[Scene, str]]) -> Tensor:
    """The pooled output, which modulates FLUX's blocks, tells the scene."""
    texts = [text for _, text in scenes]
    ids = part.tokenizer(
        texts, padding="longest", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids
    pooled = part.parser.encoder(ids).pooler_output
    wanted = [whole(scene) for scene, _ in scenes]
    return part.parser.loss(pooled, {field: torch.tensor([one[field] for one in wanted]) for field in _WHOLE})


@cache
def qwen_template() -> str:
    """The prompt template of the real pipeline, with its `{}`."""
    blank = QwenImagePipeline.__new__(QwenImagePipeline)
    QwenImagePipeline.__init__(
        blank, scheduler=None, vae=None, text_encoder=None, tokenizer=None, transformer=None
    )
    return blank.prompt_template_encode


def qwen() -> TextPart:
    tokenizer = tokenizers.qwen_tokenizer(qwen_template())
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in tokenizers.QWEN_SPECIALS}
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": WIDTH,
            "intermediate_size": 2 * WIDTH,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 2048,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]},
            "bos_token_id": None,
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={
            "depth": 1,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": WIDTH,
            "fullatt_block_indexes": [0],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.model.visual.requires_grad_(False)
    return TextPart(tokenizer, Parser(model, WIDTH))


def qwen_loss(part: TextPart, scenes: list[tuple[Scene, str]]) -> Tensor:
    """Tokens are causal: the five tokens of the template after the caption tell the whole scene."""
    before = qwen_template().split("{}")[0]
    texts = [qwen_template().format(text) for _, text in scenes]
    batch = part.tokenizer(texts, padding=True, return_offsets_mapping=True, return_tensors="pt")
    output = part.parser.encoder.model.language_model(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask
    )
    ends = torch.tensor([len(before) + len(text) for _, text in scenes])
    summary = (batch.offset_mapping[..., 0] >= ends[:, None]) & batch.attention_mask.bool()
    targets = token_targets(scenes, batch.offset_mapping, len(before), summary)
    return part.parser.loss(output.last_hidden_state, targets)
