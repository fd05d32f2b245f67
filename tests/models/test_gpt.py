"""The transformer against blocks of transformers' GPT-2, and against attention written out."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from vibrissa.models.attender import GPT, GPTPlain
from vibrissa.models.attender.gpt import GPTAttender
from vibrissa.models.blocks.transformer import Attention, Block, Stack, take

WIDTH, HEADS, TOKENS = 24, 3, 11


def perturbed(module: torch.nn.Module) -> torch.nn.Module:
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return module.double().eval()


def test_attention_is_its_equation():
    torch.manual_seed(0)
    attention = perturbed(Attention(WIDTH, HEADS, 0.1, causal=True))
    assert isinstance(attention, Attention)
    x = torch.randn(2, TOKENS, WIDTH, dtype=torch.float64)
    projected = x @ attention.qkv.weight.T + attention.qkv.bias
    size = WIDTH // HEADS
    found = []
    for head in range(HEADS):
        q, k, v = (
            projected[..., part * WIDTH + head * size :][..., :size] for part in range(3)
        )  # fmt: skip
        y = torch.zeros_like(v)
        for i in range(TOKENS):
            weights = torch.exp((q[:, i, None] * k[:, : i + 1]).sum(-1) / math.sqrt(size))
            y[:, i] = (weights[..., None] * v[:, : i + 1]).sum(1) / weights.sum(1, keepdim=True)
        found.append(y)
    wanted = torch.cat(found, -1) @ attention.out.weight.T + attention.out.bias
    torch.testing.assert_close(attention(x), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("queries", [(10,), (1, 3, 5, 7, 9), (0, 4, 10)])
def test_chosen_queries_are_the_same(queries):
    torch.manual_seed(0)
    for causal in (True, False):
        block = perturbed(Block(WIDTH, HEADS, 0.1, causal=causal))
        x = torch.randn(2, TOKENS, WIDTH, dtype=torch.float64)
        torch.testing.assert_close(block(x, queries), take(block(x), queries), rtol=0, atol=1e-12)


def test_blocks_are_those_of_gpt2():
    pytest.importorskip("transformers", reason="the referee is not installed")
    from transformers import GPT2Config
    from transformers.models.gpt2.modeling_gpt2 import GPT2Model

    torch.manual_seed(0)
    stack = perturbed(Stack(3, WIDTH, HEADS, 0.1))
    assert isinstance(stack, Stack)
    config = GPT2Config(
        vocab_size=1, n_positions=TOKENS, n_embd=WIDTH, n_layer=3, n_head=HEADS,
        activation_function="gelu_new",
    )  # fmt: skip
    theirs: Any = GPT2Model(config).double().eval()
    with torch.no_grad():
        for ours, block in zip(stack, theirs.h, strict=True):
            assert isinstance(ours, Block)
            for mine, other in (
                (ours.norm1, block.ln_1), (ours.attention.qkv, block.attn.c_attn),
                (ours.attention.out, block.attn.c_proj), (ours.norm2, block.ln_2),
                (ours.perceptron.up, block.mlp.c_fc), (ours.perceptron.down, block.mlp.c_proj),
            ):  # fmt: skip
                other.weight.copy_(mine.weight.T if mine.weight.ndim > 1 else mine.weight)
                other.bias.copy_(mine.bias)
        theirs.ln_f.reset_parameters()
        theirs.wpe.weight.zero_()
        x = torch.randn(2, TOKENS, WIDTH, dtype=torch.float64)
        y, _ = stack.run(x, queries=None, keep=False, checkpointed=False)
        y = torch.nn.functional.layer_norm(y, (WIDTH,))
        wanted = theirs(inputs_embeds=x).last_hidden_state
    assert float((y - wanted).abs().max()) <= 1e-10
    # In single precision as well, where the requirement is 1e-5.
    stack, theirs = stack.float(), theirs.float()
    with torch.no_grad():
        y, _ = stack.run(x.float(), queries=None, keep=False, checkpointed=False)
        y = torch.nn.functional.layer_norm(y, (WIDTH,))
        assert float((y - theirs(inputs_embeds=x.float()).last_hidden_state).abs().max()) <= 1e-5


def test_action_tokens_stand_after_each_step():
    """Blocks on embedded steps and tokens in turn, read at the tokens."""
    torch.manual_seed(0)
    n_features, steps = 7, 5
    config = GPT(width=12, n_layers=2, n_heads=2, block_size=10)
    attender = perturbed(config.build(n_features, steps))
    assert isinstance(attender, GPTAttender)
    x = torch.randn(3, steps, n_features, dtype=torch.float64)
    sequence: list[Tensor] = []
    for t in range(steps):
        sequence += [x[:, t], attender.action_token.expand(3, -1)]
    tokens = torch.stack(sequence, 1) @ attender.embed.weight.T + attender.embed.bias
    tokens = tokens + attender.position.weight
    for block in attender.block:
        tokens = block(tokens)
    wanted = (attender.norm(tokens) @ attender.head.weight.T)[:, 1::2]
    torch.testing.assert_close(attender(x), wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(attender(x, steps=(4,)), wanted[:, 4:], rtol=0, atol=1e-12)
    plain = GPTPlain(width=12, n_layers=1, n_heads=2).build(n_features, steps)
    assert not any(name == "action_token" for name, _ in plain.named_parameters())


def test_initialisation_is_that_of_gpt2():
    torch.manual_seed(0)
    attender = GPT().build(512, 22)
    for k, block in enumerate(attender.block):
        assert isinstance(block, Block)
        assert float(block.attention.qkv.weight.detach().std()) == pytest.approx(0.02, rel=0.02), k
        for inner in (block.attention.out, block.perceptron.down):
            assert float(inner.weight.detach().std()) == pytest.approx(0.02 / 4, rel=0.02)
            assert not inner.bias.any()
    assert float(attender.position.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert float(attender.action_token.detach().std()) == pytest.approx(1, rel=0.2)
