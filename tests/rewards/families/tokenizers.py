"""Tokenizers with the quirks that published reward models rely on: Mistral's real one where mistral-common is
installed, and small stand-ins with the real special tokens, chat templates and merges across step ends."""

import importlib.util
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3_SPLIT = QWEN_SPLIT.replace(r"\p{N}|", r"\p{N}{1,3}|")

QWEN_CHAT = (
    "{%- if messages[0]['role'] == 'system' %}"
    "{{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}"
    "{%- else %}{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{%- endif %}"
    "{%- for message in messages %}{%- if not (message.role == 'system' and loop.first) %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}"
    "{%- endif %}{%- endfor %}"
)
LLAMA3_CHAT = (
    "{{- bos_token }}{%- if not date_string is defined %}{%- set date_string = strftime_now('%d %b %Y') %}{%- endif %}"
    "{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' }}{{- 'Cutting Knowledge Date: December 2023\\n' }}"
    "{{- 'Today Date: ' + date_string + '\\n\\n' }}{{- '<|eot_id|>' }}"
    "{%- for message in messages %}{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'"
    " + message['content'] | trim + '<|eot_id|>' }}{%- endfor %}"
)


def byte_level(split: str, merged: list[str], special: list[str], **names: str) -> PreTrainedTokenizerBase:
    """Bytes, and the texts `merged`, each built up character by character."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: index for index, character in enumerate(alphabet)}
    merges = []
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for text in merged:
        characters = splitter.pre_tokenize_str(text)[0][0]
        for length in range(2, len(characters) + 1):
            if characters[:length] not in vocabulary:
                vocabulary[characters[:length]] = len(vocabulary)
                merges.append((characters[: length - 1], characters[length - 1]))
    backend = Tokenizer(models.BPE(vocabulary, merges))
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(split), "isolated"), splitter])
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(special)
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


def qwen(*, bos: bool = False) -> PreTrainedTokenizerBase:
    """Merges a step's last full stop with the line end after it, as Qwen's does."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<extra_0>"]
    names = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"} | ({"bos_token": "<|endoftext|>"} if bos else {})
    made = byte_level(QWEN_SPLIT, [".\n", "\n\n", ".\n\n", "the", " the", " is"], special, **names)
    made.chat_template = QWEN_CHAT
    return made


def llama3() -> PreTrainedTokenizerBase:
    """Writes today's date into every conversation, and begins every text with its begin token."""
    special = ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"]
    merged = [" ки", " +", " -", "\n\n", ".\n", "Step", " is"]
    made = byte_level(
        LLAMA3_SPLIT, merged, special, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>", pad_token="<|eot_id|>"
    )
    bos = made.convert_tokens_to_ids("<|begin_of_text|>")
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", bos)]
    )
    made.chat_template = LLAMA3_CHAT
    return made


def mistral(*added: str, pad: str = "</s>") -> PreTrainedTokenizerBase:
    """Mistral 7B's own, from the SentencePiece model that mistral-common carries, as transformers converts it."""
    found = importlib.util.find_spec("mistral_common")
    if found is None or found.origin is None:
        pytest.skip("mistral-common is not installed: no real Mistral tokenizer")
    pieces = list(_pieces((Path(found.origin).parent / "data" / "tokenizer.model.v1").read_bytes()))
    vocabulary = {piece: index for index, (piece, _) in enumerate(pieces)}
    merges = [
        (score, vocabulary[piece[:cut]], vocabulary[piece[cut:]], piece[:cut], piece[cut:])
        for piece, score in pieces
        for cut in range(1, len(piece))
        if piece[:cut] in vocabulary and piece[cut:] in vocabulary
    ]
    merges.sort(key=lambda merge: (-merge[0], merge[1], merge[2]))
    backend = Tokenizer(
        models.BPE(vocabulary, [merge[3:] for merge in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.add_special_tokens(["<unk>", "<s>", "</s>", *added])
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token=pad
    )


def _pieces(model: bytes) -> Iterator[tuple[str, float]]:
    """(piece, score) of a SentencePiece model: field 1 of the message, of which fields 1 and 2 are these."""
    for number, value in _fields(model):
        if number == 1 and isinstance(value, bytes):
            piece = dict(_fields(value))
            text, score = piece[1], piece.get(2, b"\0\0\0\0")
            assert isinstance(text, bytes)
            assert isinstance(score, bytes)
            yield text.decode(), struct.unpack("<f", score)[0]


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """The fields of a protocol buffer message, in order."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    while at < len(message):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            yield number, varint()
        else:
            size = varint() if kind == 2 else {1: 8, 5: 4}[kind]
            yield number, message[at : at + size]
            at += size
