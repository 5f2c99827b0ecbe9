"""Reward models that classify tokens, behind vLLM's pooling API (`/pooling` of a server with `--runner pooling`)."""

from collections.abc import Callable, Sequence

import msgspec

from stepmark.errors import BackendError
from stepmark.policies.client import Client
from stepmark.rewards.base import checked
from stepmark.rewards.examples import Encoded
from stepmark.types import Cost, Prefix, Problem, StepScores


def right_is_last(classes: Sequence[float]) -> float:
    """The probability of the last class, as in Qwen2.5-Math-PRM, whose classes are wrong and right."""
    return classes[-1]


class PoolingReward:
    """Scores a solution by a server's classes of its tokens: one request each, read where its steps are judged.

    `encode` lays out problem and steps in the model's tokens (`Encoder.encode`, say), `score` makes a score of the
    class probabilities of one token. The server must give the classes of every token: start it with
    `--pooler-config '{"tok_pooling_type": "ALL"}'`. By itself vLLM gives those of `Qwen2ForProcessRewardModel` at each
    token 151651 alone, wherever that came from; here places are counted while the ids are laid out. A model whose head
    vLLM does not load, as those that `stepmark train` writes, is not covered.

    The cost is the tokens that the server says it read: it scores a longer prefix from the first token again.
    """

    def __init__(
        self,
        client: Client,
        model: str,
        encode: Callable[[Problem, Sequence[str]], Encoded],
        *,
        score: Callable[[Sequence[float]], float] = right_is_last,
    ) -> None:
        self.client = client
        self.model = model
        self.encode = encode
        self.read = score

    async def score(self, prefix: Prefix) -> StepScores:
        """See `RewardModel.score`. Raises BackendError too where the server gives other than one list of classes for
        each token, or no usage."""
        encoded = self.encode(prefix.problem, prefix.steps)
        body = {"model": self.model, "input": encoded.ids_T, "task": "token_classify", "use_activation": True}
        content = await self.client.post("/pooling", body)
        try:
            reply = msgspec.json.decode(content, type=_Reply)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BackendError(f"the server's answer cannot be read: {error}: {content[:200]!r}") from error
        classes_T = reply.data[0].data if len(reply.data) == 1 else []
        if len(classes_T) != len(encoded.ids_T):
            raise BackendError(
                f"the server gives the classes of {len(classes_T)} tokens, of {len(encoded.ids_T)}; it must pool ALL"
            )
        scores = [self.read(classes_T[position]) for position in encoded.judged_S]
        return checked(prefix, scores, Cost(scored=reply.usage.prompt_tokens, requests=1))


class _Usage(msgspec.Struct):
    prompt_tokens: int


class _Pooled(msgspec.Struct):
    data: list[list[float]]


class _Reply(msgspec.Struct):
    data: list[_Pooled]
    usage: _Usage
