"""One HTTP server, asked with care: at most so many requests at once, kept-alive connections, and another try where a
try can help."""

import random
from asyncio import Semaphore, sleep
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from types import TracebackType
from typing import Any

import httpx2
import msgspec

from stepmark.errors import BackendError, InputError

FIRST_DELAY = 0.5
"""seconds before the second try, at most; the bound doubles with every try"""
LONGEST_DELAY = 30.0
QUOTED = 500
"""characters of a server's message that an error repeats"""


class Client:
    """Talks JSON to one server. Use it within one event loop, in `async with`.

    At most `at_once` requests are in flight, the others wait their turn. Each has a kept-alive connection and an HTTP
    client of its own: a client that has several looks at all of them for every request. A request is tried `tries`
    times where the server is busy (408, 429), fails (5xx), cannot be reached, breaks off or stays silent for `timeout`
    seconds. Between two tries passes what the server asks for (Retry-After) and a random time on top, uniform up to a
    bound that doubles (full jitter), so that callers who failed together do not return together. A server that asks for
    more than `timeout` seconds is not asked again. A try that failed may have made the server compute; it tells nobody,
    so nobody counts it.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        at_once: int = 64,
        tries: int = 6,
        timeout: float = 600.0,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """`url` is the server's root, with or without the `/v1` of the OpenAI protocol. `key` goes into the
        Authorization header and nowhere else. `transport` replaces the network, in tests say."""
        if at_once < 1 or tries < 1:
            raise InputError(f"at_once is {at_once} and tries {tries}", remedy="both are at least 1")
        self.url = url.rstrip("/").removesuffix("/v1")
        if not self.url.startswith(("http://", "https://")):
            raise InputError(f"{url!r} is no address of a server", remedy="give http://HOST:PORT or https://HOST")
        self.tries = tries
        self.timeout = timeout
        self._turn = Semaphore(at_once)
        self._connect = partial(
            httpx2.AsyncClient,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(timeout, connect=min(timeout, 20.0)),
            transport=transport,
            verify=httpx2.create_ssl_context(),  # once: it takes 20 ms
        )
        self._connections: list[httpx2.AsyncClient] = []
        self._free: list[httpx2.AsyncClient] = []
        self._closed = False

    async def post(self, path: str, body: dict[str, Any]) -> bytes:
        """The body of the server's answer.

        Raises InputError where the server refuses the request (4xx) and BackendError where no try succeeded, each
        with the server's own words.
        """
        return await self._ask("POST", path, msgspec.json.encode(body))

    async def get(self, path: str) -> bytes:
        """As `post`, of what a server tells unasked."""
        return await self._ask("GET", path, None)

    async def _ask(self, method: str, path: str, content: bytes | None) -> bytes:
        async with self._turn, self._connection() as http:
            for tried in range(1, self.tries + 1):
                asked = 0.0
                try:
                    reply = await http.request(
                        *(method, self.url + path),
                        content=content,
                        headers={"Content-Type": "application/json"} if content else {},
                    )
                except httpx2.RequestError as error:
                    failure = f"{self.url + path}: {type(error).__name__}{f': {error}' if str(error) else ''}"
                else:
                    if reply.is_success:
                        return reply.content
                    words = _words(reply)
                    failure = f"{self.url + path} answered {reply.status_code}: {words}"
                    if reply.status_code < 500 and reply.status_code not in (408, 429):
                        raise InputError(failure, remedy=_remedy(reply.status_code, words))
                    asked = _retry_after(reply)
                if tried == self.tries or asked > self.timeout:
                    break
                await sleep(asked + random.uniform(0, min(LONGEST_DELAY, FIRST_DELAY * 2 ** (tried - 1))))
        raise BackendError(f"{failure} (after {tried} {'try' if tried == 1 else 'tries'})")

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[httpx2.AsyncClient]:
        """A connection that nobody uses, a new one where there is none."""
        if self._closed:
            raise BackendError(f"the connection to {self.url} is closed")
        if self._free:
            http = self._free.pop()
        else:
            http = self._connect()
            self._connections.append(http)
        try:
            yield http
        finally:
            self._free.append(http)

    async def close(self) -> None:
        """Closes the connections; requests in flight fail."""
        self._closed = True
        for http in self._connections:
            await http.aclose()

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _words(reply: httpx2.Response) -> str:
    """What the server says of its error: the message within the JSON of OpenAI's protocol and of FastAPI, or all."""
    said: Any = reply.text
    with suppress(msgspec.DecodeError):
        said = msgspec.json.decode(reply.content)
    for name in ("error", "message", "detail"):
        if isinstance(said, dict) and name in said:
            said = said[name]
    return (str(said).strip() or reply.reason_phrase)[:QUOTED]


def _remedy(status: int, words: str) -> str | None:
    if status == 400 and ("context" in words or "max_tokens" in words):
        return "lower max_tokens, or give the server a longer context"
    return {
        401: "give the server's key",
        403: "give a key that may do this",
        404: "check the address and the model's name",
    }.get(status)


def _retry_after(reply: httpx2.Response) -> float:
    """Seconds that the server asks to wait, given as a number or a date; 0 where it does not ask."""
    value = reply.headers.get("Retry-After", "")
    with suppress(ValueError):
        return max(0.0, float(value))
    try:
        then = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
