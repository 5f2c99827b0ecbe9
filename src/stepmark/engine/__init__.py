"""Batched decoding and scoring over a shared prefix cache, in process.

tree.py      which token sequences have their keys and values in the cache
cache.py     the tensors: a pool for the tree, blocks and trunks for the running rows
decoder.py   the forward pass of a Hugging Face decoder, with attention left open
attention.py attention of a prefill and of one decoding step over those tensors
draw.py      logits to tokens, with randomness that is a function of (seed, sample index, position)
rows.py      the texts that are computed, each once
samples.py   the running samples: what each has drawn, and on which row
openmp.py    who holds the processor's threads
worker.py    the thread that computes, one for all engines of the process
engine.py    requests join and leave a running batch; the awaitable face
processes.py a policy or a reward model in several processes
"""
