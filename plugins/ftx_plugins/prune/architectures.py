"""The families of encoders that can be pruned, and where each keeps its linear layers.

Every family here splits heads with a view of (…, -1, head size): the sizes of its linear layers alone say how many
heads there are. Light: the hooks import it.
"""

from __future__ import annotations

from dataclasses import replace

from ftx import Architecture

_BERT = Architecture(
    name="bert",
    layers="encoder.layer",
    attention_in=("attention.self.query", "attention.self.key", "attention.self.value"),
    attention_out="attention.output.dense",
    ffn_in=("intermediate.dense",),
    ffn_out="output.dense",
)

ARCHITECTURES = (
    _BERT,
    replace(_BERT, name="roberta"),
    replace(_BERT, name="xlm-roberta"),
    replace(_BERT, name="camembert"),
    replace(_BERT, name="electra"),
    Architecture(
        name="distilbert",
        layers="transformer.layer",
        attention_in=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
        attention_out="attention.out_lin",
        ffn_in=("ffn.lin1",),
        ffn_out="ffn.lin2",
        width_field="hidden_dim",
    ),
    Architecture(
        name="modernbert",
        layers="layers",
        attention_in=("attn.Wqkv",),
        attention_out="attn.Wo",
        ffn_in=("mlp.Wi",),
        ffn_out="mlp.Wo",
        gated=True,
        # Its first layer has no norm in front of the attention: the embeddings have one.
        fixed_first_layer=True,
    ),
)
