"""Writes a language model of a few kilobytes with weights set by hand: it answers with the class whose phrase is in the prompt.

    llama_cpp_model.py FILE.gguf CLASS=PHRASE...      llama_cpp_model.py late.gguf 'late=wind 1' 'on time=wind 0'

It answers 'I cannot say' to a prompt with none of the phrases, and to one with several what is there most often.

One layer of the architecture `llama`. A token is a phrase, an answer, or a byte of whatever else is in the text:

    the embedding of a phrase has 1 at its class -> attention is the same to every token (the queries are zero), and so
    adds up what phrases there are -> an answer's logit is the sum for its class; after an answer comes the end.
"""

import sys

import gguf
import numpy as np

WIDTH = 64  # of a token's vector: classes, sums of classes, and the two below
SUMS, ONE, ANSWERED = 16, 62, 63

classes, phrases = [], []
for pair in sys.argv[2:]:
    name, phrase = pair.split("=", 1)
    classes += [name] if name not in classes else []
    phrases.append((phrase, classes.index(name)))
assert 0 < len(classes) <= SUMS

TYPES = gguf.TokenType
tokens = [("<unk>", TYPES.UNKNOWN), ("<s>", TYPES.CONTROL), ("</s>", TYPES.CONTROL)]
END = 2
tokens += [(f"<0x{byte:02X}>", TYPES.BYTE) for byte in range(256)]
answers = len(tokens)
tokens += [(name.replace(" ", "\u2581"), TYPES.NORMAL) for name in [*classes, "I cannot say"]]
shown = len(tokens)
tokens += [(phrase, TYPES.USER_DEFINED) for phrase, _ in phrases]


def zeros(*shape):
    return np.zeros(shape, dtype=np.float32)


embedding, logits, value, output = (zeros(len(tokens), WIDTH), zeros(len(tokens), WIDTH), zeros(WIDTH, WIDTH), zeros(WIDTH, WIDTH))
embedding[:, ONE] = 1
embedding[answers:shown, ANSWERED] = 100
for at, (_, its) in enumerate(phrases):
    embedding[shown + at, its] = 1
for its in range(len(classes)):
    value[its, its] = 1
    output[SUMS + its, its] = 1000  # a sum is a mean over all tokens
    logits[answers + its, SUMS + its] = 1
logits[answers + len(classes), ONE] = 0.1
logits[END, ANSWERED] = 1000

file = gguf.GGUFWriter(sys.argv[1], "llama")
file.add_context_length(4096)
file.add_embedding_length(WIDTH)
file.add_block_count(1)
file.add_feed_forward_length(WIDTH)
file.add_head_count(1)
file.add_head_count_kv(1)
file.add_layer_norm_rms_eps(1e-6)
file.add_tokenizer_model("llama")
file.add_token_list([text for text, _ in tokens])
file.add_token_types([kind for _, kind in tokens])
file.add_token_scores([0.0] * len(tokens))
file.add_unk_token_id(0)
file.add_bos_token_id(1)
file.add_eos_token_id(END)
file.add_add_space_prefix(False)
file.add_chat_template(
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
ones = zeros(WIDTH) + 1
for name, tensor in {
    "token_embd": embedding,
    "output_norm": ones,
    "output": logits,
    "blk.0.attn_norm": ones,
    "blk.0.attn_q": zeros(WIDTH, WIDTH),
    "blk.0.attn_k": zeros(WIDTH, WIDTH),
    "blk.0.attn_v": value,
    "blk.0.attn_output": output,
    "blk.0.ffn_norm": ones,
    "blk.0.ffn_gate": zeros(WIDTH, WIDTH),
    "blk.0.ffn_up": zeros(WIDTH, WIDTH),
    "blk.0.ffn_down": zeros(WIDTH, WIDTH),
}.items():
    file.add_tensor(f"{name}.weight", tensor)
file.write_header_to_file()
file.write_kv_data_to_file()
file.write_tensors_to_file()
file.close()
