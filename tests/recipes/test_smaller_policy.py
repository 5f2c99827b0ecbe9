import torch
from transformers import LlamaConfig, LlamaForCausalLM

from recipes.revision_policy import IGNORE
from recipes.smaller_policy import Settings, main, shed
from stepmark.policies.local import LocalPolicy


def test_layers_that_do_nothing_go_first():
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 5}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=30, initializer_range=0.5, **sizes))
    every = list(model.model.layers)
    for idle in (every[1], every[3]):
        for matrix in (idle.self_attn.o_proj, idle.mlp.down_proj):
            torch.nn.init.zeros_(matrix.weight)
    ids = torch.randint(30, (20, 9)).tolist()
    with torch.no_grad():  # what the whole model would write
        wanted = [model(torch.tensor([row])).logits[0].argmax(-1).tolist() for row in ids]
    shed(model, 3, [(row, [*written[:-1], IGNORE]) for row, written in zip(ids, wanted, strict=True)], pad=0)
    assert list(model.model.layers) == [every[0], every[2], every[4]]
    assert model.config.num_hidden_layers == 3


def test_a_policy_without_a_layer_is_a_policy(tmp_path, capsys):
    main(Settings(tmp_path, layers=9, solutions=100, held_out=20))
    assert "9 layers: loss" in capsys.readouterr().out
    policy = LocalPolicy.load(tmp_path, dtype="float32")
    assert len(policy.engine.decoder.layers) == 9
    policy.close()
