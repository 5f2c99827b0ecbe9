"""The bundled model's tokenizer: a word, digit or sign of Quantities is one token; any other text is read as bytes."""

import itertools

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from stepmark.problems import quantities

PAD, BOS, EOS, JUDGE = "<|pad|>", "<|bos|>", "<|eos|>", "<|judge|>"
RIGHT, WRONG = " +", " -"


def build() -> PreTrainedTokenizerFast:
    """A tokenizer that loses nothing: `decode(encode(text)) == text` for any text."""
    split = pre_tokenizers.Split(Regex(r"'s| ?[A-Za-z]+| ?\d| ?[^\sA-Za-z\d]|\s"), "isolated")
    pieces = set()
    for problem in itertools.chain(quantities.generate("train", 6000), quantities.generate("ood", 2000)):
        text = problem.question + "\n" + "\n".join(quantities.solve(problem)) + "\n"
        pieces |= {piece for piece, _ in split.pre_tokenize_str(text)}
    pieces |= {lead + name for lead in ("", " ") for name in (*quantities.NAMES, *map(str, range(10)))}
    pieces |= {RIGHT, WRONG, " "}
    special = [PAD, BOS, EOS, JUDGE]
    vocabulary = [(token, 0.0) for token in special]
    vocabulary += [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
    vocabulary += [(piece, -1.0) for piece in sorted(pieces)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        additional_special_tokens=[JUDGE],
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )
