"""Judges: the real Qwen2.5-VL classes at random, a real endpoint on this machine, supplied answers, the cache."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from glance_bench.errors import GlanceBenchError, MissingData, UsageError
from glance_bench.judges import chat
from glance_bench.judges.cache import BATCH, LONGEST, CachedJudge
from glance_bench.judges.hub import HubJudge
from glance_bench.judges.imported import ImportedJudge
from glance_bench.judges.make import judge
from glance_bench.judges.openai import DEAD_AFTER, KEY_VARIABLE, OpenaiJudge
from glance_bench.judges.pictures import as_jpeg, data_url, is_black, pixel_key
from glance_bench.judges.qwen import QwenJudge, smart_size
from glance_bench.judges.wording import ONEIG, PLAIN, ask, plain_question, said
from glance_bench.sealed import sha256_bytes

ROOT = Path(__file__).parents[1]


def pictures(n: int, side: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


class Fake:
    """Answers with the question in capitals, and remembers what it was asked."""

    name = "fake"

    def __init__(self, recipe: str = "fake: 1") -> None:
        self.recipe = recipe
        self.asked: list[list[str]] = []

    def answer(self, images: np.ndarray, questions: Sequence[str], *, tokens: int = 128) -> list[str | None]:
        assert len(images) == len(questions)
        self.asked.append(list(questions))
        return [
            None if q == "silence" else f"{q.upper()} {int(image[0, 0, 0])}"
            for image, q in zip(images, questions, strict=True)
        ]


# names and small parts


@pytest.mark.parametrize(
    "name", ["", "gpt", "qwen", "transformers:", "openai", "import:", "transformers:x/y@main"]
)
def test_unknown_judges_are_refused_with_what_is_valid(name: str) -> None:
    with pytest.raises(UsageError, match=r"qwen2\.5-vl-7b|40 hex digits"):
        judge(name)


def test_missing_weights_are_missing_data_when_the_judge_is_made() -> None:
    with pytest.raises(MissingData, match=r"waits for qwen2\.5-vl-7b \(16\.6 GB\): glance-bench prefetch"):
        judge("qwen2.5-vl-7b")
    commit = "0123456789abcdef0123456789abcdef01234567"
    with pytest.raises(
        MissingData, match=f"waits for some/model@{commit}: glance-bench prefetch some/model@{commit}$"
    ):
        judge(f"transformers:some/model@{commit}")


def test_making_judges_loads_no_torch(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"x")
    code = (
        "import sys\nfrom glance_bench.judges.make import judge\nfrom glance_bench.metrics.dpg import dpg\n"
        "from glance_bench.metrics.oneig_alignment import oneig_alignment\n"
        f"name = 'transformers:{tmp_path}'\n"
        "assert judge(name).recipe and dpg(name).recipe and oneig_alignment('openai:https://a.b/v1#m').recipe\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("answer", "means"),
    [
        ("Yes", True),
        ("yes.", True),
        (" NO\n", False),
        ("maybe", None),
        ("", None),
        ("Yes, it is", None),
        ("y\x00es", None),
    ],
)
def test_what_is_a_yes(answer: str, means: bool | None) -> None:
    assert said(answer) is means


def test_instructions_come_off_again() -> None:
    for instruction in (ONEIG, PLAIN):
        assert plain_question(ask("Is there a dog?", instruction)) == "Is there a dog?"
    assert plain_question("Is there a dog?") == "Is there a dog?"
    assert ask("Is there a dog?", ONEIG) == "Is there a dog?. Please answer 'Yes' or 'No' only."


def test_pictures() -> None:
    image = pictures(1)[0]
    by_hand = sha256_bytes(b"16x16x3" + image.tobytes())
    assert pixel_key(image) == by_hand == pixel_key(np.asfortranarray(image))
    assert pixel_key(image.reshape(8, 32, 3)) != by_hand  # the same bytes, another picture
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG")  # Pillow's default quality
    assert np.array_equal(as_jpeg(image), np.asarray(Image.open(io.BytesIO(buffer.getvalue()))))
    sent = base64.b64decode(data_url(image).removeprefix("data:image/png;base64,"))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(sent))), image)
    assert is_black(np.zeros((2, 2, 3), np.uint8)) and not is_black(image)


# the cache


def test_a_question_is_asked_once(tmp_path: Path) -> None:
    fake, images = Fake(), pictures(2)
    images[:, 0, 0, 0] = 7, 8
    twice = images[[0, 0, 1, 0]]
    cached = CachedJudge(fake, tmp_path)
    wanted = ["A 7", "A 7", "A 8", "B 7"]
    assert cached.answer(twice, ["a", "a", "a", "b"]) == wanted
    assert fake.asked == [["a", "a", "b"]]
    assert CachedJudge(fake, tmp_path).answer(twice, ["a", "a", "a", "b"]) == wanted and len(fake.asked) == 1
    cached.answer(twice[:1], ["a"], tokens=9)  # another length of the answer is another question
    assert len(fake.asked) == 2
    CachedJudge(Fake("fake: 2"), tmp_path).answer(twice[:1], ["a"])
    assert len(list(tmp_path.glob("*.sqlite"))) == 2
    assert (cached.name, cached.recipe) == ("fake", "fake: 1")


def test_questions_without_an_answer_are_asked_again(tmp_path: Path) -> None:
    fake, images = Fake(), pictures(2)
    cached = CachedJudge(fake, tmp_path)
    assert cached.answer(images, ["silence", "a"])[0] is None
    cached.answer(images, ["silence", "a"])
    assert fake.asked == [["silence", "a"], ["silence"]]


def test_one_image_with_many_questions_is_hashed_once_and_batched(tmp_path: Path) -> None:
    fake, image = Fake(), pictures(1)[0]
    questions = [f"q{i}" for i in range(BATCH + 3)]
    same = np.broadcast_to(image, (len(questions), *image.shape))
    answers = CachedJudge(fake, tmp_path).answer(same, questions)
    assert [len(part) for part in fake.asked] == [BATCH, 3]
    assert answers == [f"{q.upper()} {image[0, 0, 0]}" for q in questions]


def test_any_text_can_be_kept(tmp_path: Path) -> None:
    odd = ["", "maybe", "x" * 10_000, "y" * 30_000, "\x00\x1b[31m\r\n", "half \ud800 pair"]

    class Odd(Fake):
        def answer(self, images: Any, questions: Sequence[str], *, tokens: int = 128) -> list[str | None]:
            return list(odd)

    cached = CachedJudge(Odd(), tmp_path)
    first = cached.answer(pictures(6), list("abcdef"))
    assert first == cached.answer(pictures(6), list("abcdef"))
    assert (
        first[:3] == odd[:3]
        and first[3] == "y" * LONGEST
        and first[4] == odd[4]
        and first[5] == "half ? pair"
    )


def test_half_a_surrogate_pair_in_a_question(tmp_path: Path) -> None:
    cached = CachedJudge(Fake(), tmp_path)
    assert cached.answer(pictures(1), ["a \ud800"]) == cached.answer(pictures(1), ["a \ud800"])


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GlanceBenchError, match="answers cannot be kept in .*file/answers"):
        CachedJudge(Fake(), tmp_path / "file" / "answers").answer(pictures(1), ["a"])


def test_a_damaged_file_of_answers_is_named(tmp_path: Path) -> None:
    cached = CachedJudge(Fake(), tmp_path)
    cached.file.write_bytes(b"this is no database" * 100)
    with pytest.raises(GlanceBenchError, match=r"\.sqlite cannot be used .*delete the file"):
        cached.answer(pictures(1), ["a"])


def test_a_judge_that_answers_too_little_is_refused(tmp_path: Path) -> None:
    class Short(Fake):
        def answer(self, images: Any, questions: Sequence[str], *, tokens: int = 128) -> list[str | None]:
            return ["yes"]

    with pytest.raises(GlanceBenchError, match="1 answers to 2 questions"):
        CachedJudge(Short(), tmp_path).answer(pictures(2), ["a", "b"])


SLOW = """
import sys, time
from pathlib import Path
import numpy as np
from glance_bench.judges.cache import CachedJudge
class Slow:
    name = recipe = "slow"
    def answer(self, images, questions, *, tokens=128):
        time.sleep({pause})
        print(len(questions), flush=True)
        return [q.upper() for q in questions]
image = np.zeros((4, 4, 3), np.uint8)
questions = [f"q{{i}}" for i in range(160)]
answers = CachedJudge(Slow(), Path({folder!r})).answer(np.broadcast_to(image, (160, 4, 4, 3)), questions)
assert answers == [q.upper() for q in questions]
"""


def test_a_kill_half_way_loses_at_most_the_batch_under_way(tmp_path: Path) -> None:
    slow = SLOW.format(pause=0.4, folder=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", slow], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    for _ in range(3):  # the third batch is answered; whether it is kept depends on the moment
        assert process.stdout.readline().strip() == str(BATCH)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (file,) = tmp_path.glob("*.sqlite")
    with sqlite3.connect(file) as database:
        (kept,) = database.execute("SELECT count(*) FROM answers").fetchone()
    assert kept in (2 * BATCH, 3 * BATCH)
    again = [sys.executable, "-c", SLOW.format(pause=0, folder=str(tmp_path))]
    done = subprocess.run(again, capture_output=True, text=True, check=True, cwd=ROOT)
    assert sum(int(n) for n in done.stdout.split()) == 160 - kept


# supplied answers


def test_supplied_answers_by_file_and_by_pixels(tmp_path: Path) -> None:
    images = pictures(3)
    for i in range(2):
        Image.fromarray(images[i]).save(tmp_path / f"{i}.png")
    rows = [
        {"image": "0.png", "question": "Is there a dog?", "answer": "yes"},
        {"image": "1.png", "question": ask("Is there a dog?", PLAIN), "answer": "no"},
        {"pixels_sha256": pixel_key(images[2]).upper(), "question": "Is there a dog?", "answer": ""},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, ["image", "pixels_sha256", "question", "answer"], lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)
    for name in ("a.jsonl", "a.csv"):
        supplied = judge(f"import:{tmp_path / name}")
        assert supplied.name == f"import:{name}"
        asked = [ask("Is there a dog?", PLAIN)] * 3
        assert supplied.answer(images, asked) == ["yes", "no", ""]
        assert supplied.answer(images, ["Is there a cat?"] * 3) == [None] * 3
        assert supplied.answer(as_jpeg(images[0])[None], [ask("Is there a dog?", ONEIG)]) == ["yes"]
    recipes = {ImportedJudge(str(tmp_path / name)).recipe for name in ("a.jsonl", "a.csv")}
    assert len(recipes) == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "line 1: is not JSON"),
        ("[]", "line 1: expected a JSON object"),
        ('{"question": "q", "answer": true, "image": "0.png"}', "expected the texts question and answer"),
        ('{"question": "q", "answer": "yes"}', "expected image"),
        ('{"question": "q", "answer": "yes", "image": "none.png"}', "'none.png' cannot be read"),
        ('{"question": "q", "answer": "yes", "image": "bad.png"}', "'bad.png' cannot be read"),
        (
            '\n{"question": "q", "answer": "yes", "pixels_sha256": "a"}\n'
            '{"question": "q", "answer": "no", "pixels_sha256": "a"}',
            "line 3: a second, different answer",
        ),
    ],
)
def test_supplied_answers_of_the_wrong_form_name_the_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG half")
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(GlanceBenchError, match=says):
        ImportedJudge(str(tmp_path / "a.jsonl")).answer(pictures(1), ["q"])


def test_supplied_answers_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        judge(f"import:{tmp_path / 'none.csv'}")
    with pytest.raises(UsageError, match="jsonl or .csv"):
        judge(f"import:{tmp_path / 'none.txt'}")
    (tmp_path / "a.csv").write_bytes(b"question\xff")
    with pytest.raises(GlanceBenchError, match="not UTF-8"):
        judge(f"import:{tmp_path / 'a.csv'}").answer(pictures(1), ["q"])


# an endpoint


class Endpoint(ThreadingHTTPServer):
    """Answers by what the question says, and keeps every request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.failures = 0

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up waiting is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append(body)
        self.server.keys.append(self.headers.get("Authorization"))
        question = body["messages"][0]["content"][1]["text"]
        if question == "slow":
            time.sleep(0.6)
        elif question == "trickle":
            self.send_response(200)
            self.end_headers()
            for _ in range(20):
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.1)
            return
        elif question == "broken" or (question == "once" and self.server.failures == 0):
            self.server.failures += 1
            return self.reply(500, b"no")
        elif question == "forbidden":
            return self.reply(401, b"no")
        elif question == "elsewhere":
            return self.reply(302, b"", {"Location": "http://127.0.0.1:9/v1"})
        elif question == "nonsense":
            return self.reply(200, b"<html>")
        elif question == "deep":
            return self.reply(200, b"[" * 100_000)
        words = {"null": None, "long": "a" * 10_000, "control": "\x00\x1b[2J"}.get(
            question, f"{question}: Yes"
        )
        self.reply(200, json.dumps({"choices": [{"message": {"content": words}}]}).encode())

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def asking(endpoint: Endpoint) -> OpenaiJudge:
    target = f"http://127.0.0.1:{endpoint.server_port}/v1#tiny"
    return OpenaiJudge(target, timeout=0.25, pause=0.01)


def test_an_endpoint_gets_image_question_and_key(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # must not be asked for an address of this machine
    images = pictures(2)
    own = asking(endpoint)
    assert own.answer(images, ["a", "b"], tokens=5) == ["a: Yes", "b: Yes"]
    assert endpoint.keys == ["Bearer secret"] * 2
    body = next(body for body in endpoint.seen if body["messages"][0]["content"][1]["text"] == "a")
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("tiny", 0, 5)
    assert body["messages"][0]["content"][0]["image_url"]["url"] == data_url(images[0])
    assert own.name.endswith("/v1#tiny") and "secret" not in own.recipe


def test_an_endpoint_in_trouble(endpoint: Endpoint) -> None:
    own = asking(endpoint)
    asked = ["slow", "broken", "once", "nonsense", "null", "deep", "long", "control", "trickle"]
    found = dict(zip(asked, own.answer(pictures(len(asked)), asked), strict=True))
    assert [q for q, answer in found.items() if answer is None] == [
        "slow", "broken", "nonsense", "null", "deep", "trickle",
    ]  # fmt: skip
    assert (
        found["once"] == "once: Yes" and found["long"] == "a" * 10_000 and found["control"] == "\x00\x1b[2J"
    )
    counts = [body["messages"][0]["content"][1]["text"] for body in endpoint.seen]
    assert (counts.count("broken"), counts.count("slow"), counts.count("nonsense")) == (3, 3, 1)


def test_a_refusal_is_an_error_at_once(endpoint: Endpoint) -> None:
    for question, says in (("forbidden", "HTTP 401"), ("elsewhere", "HTTP 302")):
        with pytest.raises(GlanceBenchError, match=f"refused the request: {says}"):
            asking(endpoint).answer(pictures(1), [question])
    assert len(endpoint.seen) == 2


def test_an_endpoint_that_is_dead_is_an_error_and_not_asked_for_days() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        own = OpenaiJudge(f"http://127.0.0.1:{free.getsockname()[1]}#m", timeout=0.2, pause=0)
        assert own.answer(pictures(3), ["q"] * 3) == [None] * 3
        with pytest.raises(GlanceBenchError, match=f"left {DEAD_AFTER} questions in a row without an answer"):
            own.answer(pictures(20), ["q"] * 20)


@pytest.mark.parametrize(
    "target",
    [
        "http://example.org/v1#m",
        "https://example.org/v1",
        "ftp://127.0.0.1/#m",
        "file:///etc/passwd#m",
        "https://user:password@example.org/v1#m",
        "https://example.org/v1?key=1#m",
        "http://127.0.0.1.example.org/v1#m",
        "http://[::1/v1#m",
        "#m",
    ],
)
def test_addresses_that_are_refused(target: str) -> None:
    with pytest.raises(UsageError):
        OpenaiJudge(target)


def test_addresses_that_are_taken() -> None:
    for target in ("https://example.org/v1#org/model-7b", "http://localhost:8000#m", "http://[::1]:80/v1#m"):
        assert OpenaiJudge(target).name == f"openai:{target}"


# Qwen2.5-VL, real classes


@pytest.fixture(scope="module")
def tiny_judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from .tiny_judges import make_judge

    return make_judge(tmp_path_factory.mktemp("judge") / "qwen")


def step_by_step(folder: Path, image: np.ndarray, question: str, tokens: int) -> str:
    """The official recipe, one question, one token at a time without a key-value cache."""
    import torch
    from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration, Qwen2VLImageProcessor

    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    high, wide = (max(28, round(side / 28) * 28) for side in image.shape[:2])
    picture = Image.fromarray(image).resize((wide, high), Image.Resampling.BICUBIC)
    seen = Qwen2VLImageProcessor()(images=[picture], return_tensors="pt")
    assert seen["image_grid_thw"].tolist() == [[1, high // 14, wide // 14]]
    text = (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
        + "<|image_pad|>" * (high // 28 * wide // 28)
        + f"<|vision_end|>{question}<|im_end|>\n<|im_start|>assistant\n"
    )
    ids = tokenizer(text, return_tensors="pt").input_ids
    start = ids.shape[1]
    ends = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    for _ in range(tokens):
        with torch.no_grad():
            logits = (
                model(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    mm_token_type_ids=(ids == model.config.image_token_id).int(),
                    use_cache=False,
                    **seen,
                )
                .logits[0, -1]
                .clone()
            )
        for token in set(ids[0].tolist()):  # the repetition penalty of the published generation config
            logits[token] = logits[token] / 1.05 if logits[token] > 0 else logits[token] * 1.05
        ids = torch.cat([ids, logits.argmax()[None, None]], dim=1)
        if ids[0, -1].item() in ends:
            break
    return tokenizer.decode(ids[0, start:], skip_special_tokens=True)


def test_qwen_equals_the_recipe_step_by_step(tiny_judge: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "BATCH", 2)
    rng = np.random.default_rng(4)
    images = rng.integers(0, 256, (3, 70, 100, 3), dtype=np.uint8)
    questions = ["Is there a dog?", ask("Is the large dog that sits on the left brown?", ONEIG), "No"]
    own = QwenJudge(tiny_judge).answer(images, questions, tokens=6)
    wanted = [step_by_step(tiny_judge, image, q, 6) for image, q in zip(images, questions, strict=True)]
    assert own == wanted and len(set(own)) == 3
    picture = QwenJudge(tiny_judge)._model._picture(images[0])
    assert picture == Image.fromarray(images[0]).resize((112, 56), Image.Resampling.BICUBIC)
    again = QwenJudge(tiny_judge).answer(images[::-1], questions[::-1], tokens=6)
    assert again[::-1] == own  # neither order nor what shares a batch changes an answer


def test_qwen_sizes() -> None:
    assert smart_size(1024, 1024) == (1036, 1036)  # 36.57 tokens a side become 37
    assert smart_size(512, 512) == (504, 504)
    assert smart_size(20, 20) == (56, 56)  # fewer than 4 tokens
    assert smart_size(5000, 5000) == (
        3556,
        3556,
    )  # 128 tokens would be 3584; the area must not exceed 16384 tokens
    assert smart_size(8, 300) == (28, 308)
    with pytest.raises(UsageError, match="1x201"):
        smart_size(1, 201)


def test_a_local_folder_is_a_judge_by_its_digest(tiny_judge: Path) -> None:
    own = judge(f"transformers:{tiny_judge}")
    assert own.name == "transformers:qwen"
    assert "weights " in own.recipe and "float32" in own.recipe and str(tiny_judge) not in own.recipe
    (answer,) = own.answer(pictures(1, 56), ["Is there a dog?"], tokens=4)
    assert answer == step_by_step(tiny_judge, pictures(1, 56)[0], "Is there a dog?", 4)


def test_only_safetensors_and_whole_folders_are_loaded(tiny_judge: Path, tmp_path: Path) -> None:
    with pytest.raises(GlanceBenchError, match="config.json is missing"):
        HubJudge(str(tmp_path))
    (tmp_path / "config.json").write_text((tiny_judge / "config.json").read_text())
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(GlanceBenchError, match="no .*safetensors weights"):
        HubJudge(str(tmp_path))
    os.link(tiny_judge / "model.safetensors", tmp_path / "model.safetensors")
    with pytest.raises(GlanceBenchError, match="cannot be loaded"):
        HubJudge(str(tmp_path)).answer(pictures(1), ["q"])
