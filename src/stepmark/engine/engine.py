"""Requests join and leave a running batch; the awaitable face of the engine.

The worker's thread alone touches the model and the cache. In each round of an engine it drops what was given up,
prefills waiting prefixes, lets their samples join the batch, and takes one decoding step with all rows. A waiting
request holds nothing but its token ids, so callers may queue without bound; they wait for rows and cache.
"""

import asyncio
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from stepmark.engine.attention import PrefillAttention
from stepmark.engine.cache import Ints, Pool
from stepmark.engine.decoder import Decoder
from stepmark.engine.rows import Rows
from stepmark.engine.samples import SHARERS, STOP, Samples, Stops
from stepmark.engine.tree import Node, Places, PrefixTree
from stepmark.engine.worker import WORKER
from stepmark.errors import BackendError, InputError
from stepmark.types import Cost, Finish, Sampling

PREFILL_TOKENS = 8192
"""new tokens of one prefill, padding included; a longer prefix goes alone"""
SHARED_WAIT = 16
"""tokens that a request must have in common with one being prefilled to wait for it instead of computing them again"""
LOOK_AHEAD = 256
"""waiting requests that one round looks at"""


@dataclass(frozen=True)
class Drawn:
    """One sample: its new tokens, with the end token if it ended."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish: Finish
    cost: Cost


@dataclass(frozen=True)
class Reading:
    """What is read of a sequence at the positions asked for: final hidden states [positions, hidden], or what the
    engine's `readout` makes of them."""

    values: Tensor
    cost: Cost


@dataclass(eq=False)
class _Read:
    tokens: tuple[int, ...]
    positions: list[int]
    future: "Future[Reading]" = field(default_factory=Future)

    @property
    def reusable(self) -> int:
        return min(self.positions)


@dataclass(eq=False)
class _Sample:
    tokens: tuple[int, ...]
    n: int
    sampling: Sampling
    limit: int
    future: "Future[list[Drawn]]" = field(default_factory=Future)
    node: Node | None = None
    """pinned from prefill until the last row has joined"""
    logits: Tensor | None = None
    """after the prefix [vocabulary]"""
    computed: int = 0
    """prefix tokens that were not in the cache"""
    joined: int = 0
    left: int = 0
    drawn: list[Drawn | None] = field(default_factory=list)

    @property
    def reusable(self) -> int:
        return len(self.tokens) - 1


class Engine:
    """Samples from and reads the hidden states of one model.

    `head` [vocabulary, hidden] turns hidden states into logits; without head and stops the engine only reads. `readout`
    is applied to the hidden states [positions, hidden] of readings and to the ids [positions] of the tokens that follow
    them there (0 after the last), many at once, in the thread that computes. At most
    `rows` samples run at once, fewer when `memory` does not hold them: bytes of keys and values, a quarter for the
    prefix tree, a quarter for prefixes that running samples share, half for the samples' own tokens. A sample joins
    when it can grow to its limit. Samples of one request are computed as one for as long as they write the same; their
    costs count what each has written.

    In float32 a sample's tokens do not depend on what else runs: its randomness is its own, and the logits differ by
    rounding only (about 1e-6), which changes a token about once in a million. In bfloat16 rounding is larger (about
    1e-2): now and then a token differs, and what follows it; the distribution stays the model's.
    """

    def __init__(
        self,
        decoder: Decoder,
        head: Tensor | None = None,
        stops: Stops | None = None,
        *,
        readout: Callable[[Tensor, Tensor], Tensor] | None = None,
        rows: int = 1024,
        memory: int = 4 << 30,
    ) -> None:
        if head is None or stops is None:
            rows, head, stops = 0, decoder.embedding[:0], Stops(*np.zeros((3, 0), bool))
        if len(stops.ends) != len(head):
            raise InputError(f"stop tables of {len(stops.ends)} tokens for a head of {len(head)}")
        self.decoder = decoder
        self.head = head
        self.readout = readout or (lambda hidden, following: hidden)
        tokens = memory // decoder.token_bytes
        running = tokens - tokens // 4 if rows else 0
        self.tree = PrefixTree(tokens - running)
        self.pool = Pool(decoder, tokens - running)
        self.rows = Rows(decoder, head, rows=rows, trunks=rows // SHARERS[0], tokens=running)
        self.samples = Samples(self.rows, stops, capacity=rows)
        self._lock = threading.Lock()
        self._inbox: list[_Sample | _Read] = []
        self._unanswered: set[_Sample | _Read] = set()
        self._given_up: list[_Sample] = []
        self._idle = threading.Event()
        self._idle.set()
        self._broken: BackendError | None = None
        self._reads: deque[_Read] = deque()
        self._waiting: deque[_Sample] = deque()
        self._ready: deque[_Sample] = deque()

    async def sample(self, tokens: Sequence[int], n: int, sampling: Sampling) -> list[Drawn]:
        """`n` continuations of `tokens`, in the order of their index; see `Policy.sample` for seeds and costs.

        A cancelled call frees its rows. Raises InputError when `tokens` leave no room, BackendError when the engine
        failed or was closed.
        """
        self.check()
        self._check_tokens(tokens)
        limit = min(sampling.max_tokens, self.decoder.context - len(tokens))
        if limit < 1:
            raise InputError(f"a prefix of {len(tokens)} tokens fills the context of {self.decoder.context}")
        job = _Sample(tuple(tokens), n, sampling, limit, left=n, drawn=[None] * n)
        if not self.samples.portion(n, len(tokens), limit):
            raise InputError(
                f"a prefix of {len(tokens)} tokens with {limit} new ones does not fit in the engine's memory",
                remedy="give it more memory or lower max_tokens",
            )
        self._submit(job)
        return await asyncio.wrap_future(job.future)

    async def read(self, tokens: Sequence[int], positions: Sequence[int]) -> Reading:
        """The readout of `tokens` at `positions` (indices into `tokens`, any order).

        Only the tokens from the lowest position on are computed when those before it are in the cache, so scoring the
        new step of a solution costs that step. `cost.scored` counts computed tokens, `cost.cached` the others.
        """
        self.check()
        self._check_tokens(tokens)
        if not positions or not all(0 <= position < len(tokens) for position in positions):
            raise InputError(f"positions {list(positions)} are not within the {len(tokens)} tokens")
        if len(tokens) > self.decoder.context:
            raise InputError(f"{len(tokens)} tokens exceed the model's context of {self.decoder.context}")
        job = _Read(tuple(tokens), list(positions))
        self._submit(job)
        return await asyncio.wrap_future(job.future)

    def check(self) -> None:
        """Raises BackendError when the engine has failed or was closed."""
        if self._broken is not None:
            raise BackendError(str(self._broken)) from self._broken.__cause__

    def close(self) -> None:
        """Ends all work and frees the memory at once: keys and values, and the weights, which nobody but the caller may
        still hold. Every caller that still waits gets a BackendError."""
        with self._lock:
            self._broken = self._broken or BackendError("the engine is closed")
        self._idle.wait()
        for name in ("decoder", "head", "readout", "tree", "pool", "rows", "samples", "_reads", "_waiting", "_ready"):
            vars(self).pop(name, None)
        torch.cuda.empty_cache()

    def _check_tokens(self, tokens: Sequence[int]) -> None:
        if not tokens:
            raise InputError("a request of no tokens")
        if len(tokens) > self.tree.capacity:
            raise InputError(
                f"{len(tokens)} tokens do not fit in the engine's cache of {self.tree.capacity}",
                remedy="give it more memory",
            )
        if not 0 <= min(tokens) <= max(tokens) < self.decoder.vocabulary:
            raise InputError(f"token ids outside the vocabulary of {self.decoder.vocabulary}")

    def _submit(self, job: _Sample | _Read) -> None:
        with self._lock:
            self.check()
            self._inbox.append(job)
            self._unanswered.add(job)
            job.future.add_done_callback(lambda _: self._answered(job))
            if self._idle.is_set():
                self._idle.clear()
                WORKER.take_up(self._round)

    def _answered(self, job: _Sample | _Read) -> None:
        """A request has its result or its error, or its caller has gone."""
        self._unanswered.discard(job)
        if isinstance(job, _Sample) and job.future.cancelled():
            self._given_up.append(job)

    def _round(self) -> bool:
        """Whether there may be more to do."""
        try:
            if not self._collect():
                return False
            self._drop()
            self._prefill()
            self._join()
            self._decode()
        except BaseException as error:
            self._fail(error)
            return False
        return True

    def _collect(self) -> bool:
        """Takes new requests in; False when there is nothing left to do, and then the engine is idle."""
        with self._lock:
            if self._broken is not None:
                raise self._broken
            for job in self._inbox:
                if isinstance(job, _Read):
                    self._reads.append(job)
                else:
                    self._waiting.append(job)
            self._inbox.clear()
            busy = bool(self._reads or self._waiting or self._ready or self.samples.count or self._given_up)
            if not busy:
                self._idle.set()
            return busy

    def _fail(self, error: BaseException) -> None:
        """Every waiting caller gets the error; the engine takes no more requests."""
        traceback.clear_frames(error.__traceback__)  # they hold tensors, for as long as somebody holds the error
        with self._lock:
            if not isinstance(error, BackendError):
                self._broken = BackendError(f"the engine failed: {type(error).__name__}: {error}")
                self._broken.__cause__ = error
            jobs = list(self._unanswered)
            self._idle.set()
        for job in jobs:
            if job.future.set_running_or_notify_cancel():
                failure = BackendError(str(self._broken))
                failure.__cause__ = error
                job.future.set_exception(failure)

    def _drop(self) -> None:
        """Frees what cancelled requests hold."""
        given_up: set[_Sample] = set()
        while self._given_up:
            given_up.add(self._given_up.pop())
        if not given_up:
            return
        for job in given_up.intersection(self._ready):
            self._ready.remove(job)
            self._unpin(job)
        gone = [sample for sample in range(self.samples.count) if self.samples.owner[sample] in given_up]
        if gone:
            self.samples.leave(np.array(gone))

    def _prefill(self) -> None:
        """Computes the unknown part of waiting sequences, each distinct one once."""
        batch: list[_Prefill] = []
        later: list[_Sample | _Read] = []
        free = self.samples.capacity - self.samples.count - sum(job.n - job.joined for job in self._ready)
        longest = 0
        while len(batch) + len(later) < LOOK_AHEAD and (job := self._next(free)) is not None:
            match = self.tree.match(job.tokens)
            start = min(match.ready, job.reusable)
            width = max(longest, len(job.tokens) - start)
            full = bool(batch) and width * (len(batch) + 1) > PREFILL_TOKENS
            if full or len(match.places) - match.ready >= SHARED_WAIT:
                later.append(job)
                continue
            node, rest = match.node, job.tokens[len(match.places) :]
            if rest:
                child = self.tree.extend(node, rest, ready=False)
                if child is None:
                    later.append(job)
                    break
                node = child
            node.pins += 1
            path = np.concatenate([match.places, node.places]) if rest else match.places
            batch.append(_Prefill(job, node, path, start, len(match.places)))
            longest = width
            free -= job.n if isinstance(job, _Sample) else 0
        for job in reversed(later):
            self._put_back(job)
        if batch:
            self._compute(batch)

    def _next(self, free: int) -> "_Sample | _Read | None":
        """The next waiting request whose prefill is of use now: any reading, and samples while rows are free."""
        while self._reads:
            if not (read := self._reads.popleft()).future.cancelled():
                return read
        while self._waiting and free > 0:
            if not (sample := self._waiting.popleft()).future.cancelled():
                return sample
        return None

    def _put_back(self, job: "_Sample | _Read") -> None:
        if isinstance(job, _Read):
            self._reads.appendleft(job)
        else:
            self._waiting.appendleft(job)

    def _compute(self, batch: "list[_Prefill]") -> None:
        """One forward pass over the new tokens of the batch; readings are answered, samples become ready to join."""
        starts = np.array([part.start for part in batch])
        counts = np.array([len(part.path) for part in batch]) - starts
        ids = np.concatenate([part.job.tokens[part.start :] for part in batch])
        positions = np.concatenate([np.arange(part.start, len(part.path)) for part in batch])
        attention = PrefillAttention(
            *(self.decoder, self.pool, [part.path for part in batch]),
            starts=starts,
            known=np.array([part.known for part in batch]),
        )
        device = self.decoder.device
        hidden = self.decoder.forward(
            torch.from_numpy(ids).to(device), torch.from_numpy(positions).to(device), attention
        )
        ends = np.cumsum(counts)
        last = torch.from_numpy(ends - 1).to(device)
        logits = torch.nn.functional.linear(hidden.index_select(0, last), self.head)
        values = self._read_out(hidden, batch, ends - counts - starts)
        for part, start, count, row in zip(batch, starts.tolist(), counts.tolist(), logits, strict=True):
            _mark_ready(part.node)
            job = part.job
            if isinstance(job, _Read):
                part.node.pins -= 1
                reading = Reading(next(values), Cost(scored=count, cached=start, requests=1))
                if job.future.set_running_or_notify_cancel():
                    job.future.set_result(reading)
            else:
                job.node, job.logits, job.computed = part.node, row, count
                self._ready.append(job)

    def _read_out(self, hidden: Tensor, batch: "list[_Prefill]", firsts: Ints) -> Iterator[Tensor]:
        """What each reading of the batch asked for; `firsts` is where in `hidden` each sequence's token 0 would be."""
        reads = [
            (part.job, int(first)) for part, first in zip(batch, firsts, strict=True) if isinstance(part.job, _Read)
        ]
        if not reads:
            return iter(())
        places = torch.tensor([first + at for job, first in reads for at in job.positions], device=hidden.device)
        following = torch.tensor([(*job.tokens, 0)[at + 1] for job, _ in reads for at in job.positions])
        values = self.readout(hidden.index_select(0, places), following.to(hidden.device))
        return iter(torch.split(values, [len(job.positions) for job, _ in reads]))

    def _join(self) -> None:
        """Samples of prefilled prefixes join while there is room, in order."""
        while self._ready:
            job = self._ready[0]
            length, prefix = len(job.tokens), None
            while job.joined < job.n:
                portion = self.samples.portion(job.n - job.joined, length, job.limit)
                if not self.samples.room(portion, length, job.limit):
                    break
                if prefix is None:
                    prefix = self.pool.read(self.tree.match(job.tokens).places)
                assert job.logits is not None
                indices = job.sampling.first + np.arange(job.joined, job.joined + portion)
                self.samples.join(
                    job, indices, prefix=prefix, logits=job.logits, sampling=job.sampling, limit=job.limit
                )
                job.joined += portion
            if job.joined < job.n:
                break
            self._unpin(self._ready.popleft())
        self.samples.draw_first()
        self._retire()

    def _decode(self) -> None:
        if self.samples.count:
            self.samples.step()
            self._retire()

    def _retire(self) -> None:
        """Finished samples leave; what may yet be continued joins the prefix tree."""
        ended = self.samples.ended()
        if not len(ended):
            return
        self._remember(ended[self.samples.finish[ended] != STOP])
        for sample in ended:
            done = self.samples.result(sample)
            job: _Sample = done.owner
            length, count = len(job.tokens), len(done.token_ids)
            place = done.index - job.sampling.first
            if place == 0:
                cost = Cost(prompt=job.computed, cached=length - job.computed, generated=count, requests=1)
            else:
                cost = Cost(cached=length, generated=count)
            job.drawn[place] = Drawn(tuple(done.token_ids), tuple(done.logprobs), done.finish, cost)
            job.left -= 1
            if not job.left and job.future.set_running_or_notify_cancel():
                job.future.set_result([drawn for drawn in job.drawn if drawn is not None])
        self.samples.leave(ended)

    def _remember(self, ended: Ints) -> None:
        """Stores the keys and values of what samples wrote, except the last token, which was never fed."""
        nodes: list[Node] = []
        places: list[Places] = []
        rows: list[Ints] = []
        columns: list[Ints] = []
        for sample in ended:
            job, count = self.samples.owner[sample], self.samples.generated[sample] - 1
            tokens = job.tokens + tuple(self.samples.tokens[sample, :count].tolist())
            match = self.tree.match(tokens)
            known = len(match.places)
            if not len(job.tokens) <= known < len(tokens):
                continue
            node = self.tree.extend(match.node, tokens[known:], ready=True)
            if node is None:
                continue
            node.pins += 1
            nodes.append(node)
            places.append(node.places)  # of the whole run: a later row of this loop may split the node
            row = self.samples.row[sample]
            end = self.rows.own[row]
            columns.append(np.arange(end - len(node.places), end))
            rows.append(np.full(len(node.places), row))
        if nodes:
            self.pool.write(
                np.concatenate(places), self.rows.blocks.read(np.concatenate(rows), np.concatenate(columns))
            )
        for node in nodes:
            node.pins -= 1

    def _unpin(self, job: _Sample) -> None:
        assert job.node is not None
        job.node.pins -= 1
        job.node = job.logits = None


@dataclass(frozen=True)
class _Prefill:
    """One sequence of a prefill."""

    job: _Sample | _Read
    node: Node
    """where the sequence ends; pinned"""
    path: Places
    """of all its tokens"""
    start: int
    """the first token that is computed"""
    known: int
    """the first token whose keys and values the pool does not have"""


def _mark_ready(node: Node) -> None:
    """The path to `node` has been computed."""
    step: Node | None = node
    while step is not None and not step.ready:
        step.ready = True
        step = step.parent
