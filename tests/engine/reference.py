"""Small random models of each family, and a slow, plain sampler to compare the engine with."""

import numpy as np
import torch
import transformers

from stepmark.engine.decoder import Decoder
from stepmark.engine.draw import choose, keys, uniforms
from stepmark.engine.engine import Engine
from stepmark.engine.samples import Stops

VOCABULARY, END, NEWLINE, BLANK = 48, 1, 2, 3

FAMILIES = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", {}),
    "llama-gqa-bias-tied": (
        *("LlamaForCausalLM", "LlamaConfig"),
        {"num_key_value_heads": 2, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
    ),
    "llama3-rope": (
        *("LlamaForCausalLM", "LlamaConfig"),
        {
            "rope_parameters": {
                **{"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0},
                **{"high_freq_factor": 4.0, "original_max_position_embeddings": 64},
            }
        },
    ),
    "yarn-rope": (
        *("LlamaForCausalLM", "LlamaConfig"),
        {
            "rope_parameters": {
                **{"rope_type": "yarn", "rope_theta": 10000.0, "factor": 2.0},
                "original_max_position_embeddings": 64,
            }
        },
    ),
    "mistral-window": ("MistralForCausalLM", "MistralConfig", {"num_key_value_heads": 2, "sliding_window": 7}),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", {"num_key_value_heads": 1}),
    "qwen2-window": (
        *("Qwen2ForCausalLM", "Qwen2Config"),
        {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
    ),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", {"num_key_value_heads": 2, "head_dim": 24}),
}


def build(family: str, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    model, config, options = FAMILIES[family]
    torch.manual_seed(0)
    settings = {
        **{"vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3},
        **{"num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 128},
        **{"initializer_range": 0.3, "eos_token_id": END, "bos_token_id": 0, "pad_token_id": 0},
    } | options
    built = getattr(transformers, model)(getattr(transformers, config)(**settings))
    with torch.no_grad():
        for name, weight in built.named_parameters():
            if name.endswith("bias") or "norm" in name:
                weight.add_(torch.randn_like(weight) * 0.1)
    return built.to(dtype).eval()


def stops() -> Stops:
    tables = np.zeros((3, VOCABULARY), bool)
    tables[0, END] = tables[1, NEWLINE] = tables[2, [END, NEWLINE, BLANK]] = True
    return Stops(*tables)


def engine(model, **options) -> Engine:
    return Engine(Decoder(model.model), model.lm_head.weight.detach(), stops(), **options)


def draw_alone(model, tokens, index, sampling):
    """One sample by recomputing the whole sequence with transformers at every token."""
    key, ids, logprobs, content = keys(sampling.seed, np.array([index])), list(tokens), [], False
    table = stops()
    for count in range(1, sampling.max_tokens + 1):
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[:, -1].float()
        token, logprob = choose(
            *(logits, torch.tensor([0]), torch.from_numpy(uniforms(key, np.array([len(ids)])))),
            temperature_R=torch.tensor([float(sampling.temperature)]),
            top_p_R=torch.tensor([float(sampling.top_p)]),
            top_k_R=torch.tensor([sampling.top_k]),
        )
        ids.append(int(token))
        logprobs.append(float(logprob))
        content |= not table.blank[ids[-1]]
        if table.ends[ids[-1]]:
            return ids[len(tokens) :], logprobs, "stop"
        if sampling.stop == "step" and table.newline[ids[-1]] and content:
            return ids[len(tokens) :], logprobs, "step"
        if count == sampling.max_tokens or len(ids) == model.config.max_position_embeddings:
            return ids[len(tokens) :], logprobs, "length"
    raise AssertionError
