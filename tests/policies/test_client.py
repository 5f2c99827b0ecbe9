"""A request is tried again where that can help, waits as it is told, and fails in the server's own words."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest

from stepmark.errors import BackendError, InputError
from stepmark.policies import client as module
from stepmark.policies.client import Client


class Server:
    """Answers what it is given, in turn (an exception is raised), then 200 for ever; counts what is in flight."""

    def __init__(self, *answers):
        self.answers, self.requests, self.running, self.most = list(answers), [], 0, 0

    async def __call__(self, request):
        self.requests.append(request)
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        answer = self.answers.pop(0) if self.answers else httpx2.Response(200, content=b"{}")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def post(self, times=1, **options):
        async def run():
            async with Client("http://server/v1", transport=httpx2.MockTransport(self), **options) as client:
                return await asyncio.gather(*(client.post("/v1/completions", {"n": i}) for i in range(times)))

        return asyncio.run(run())


@pytest.fixture
def waits(monkeypatch):
    """The waits between tries, which take no time here."""
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    monkeypatch.setattr(module, "sleep", sleep)
    return waits


BUSY = httpx2.Response(429)


@pytest.mark.parametrize(
    "failure",
    [
        *(httpx2.Response(status) for status in (408, 429, 500, 502, 503, 504)),
        *(kind("gone") for kind in (httpx2.ConnectError, httpx2.ReadError, httpx2.ReadTimeout, httpx2.PoolTimeout)),
        httpx2.RemoteProtocolError("the connection was closed"),
    ],
    ids=repr,
)
def test_what_may_pass_is_tried_again(failure, waits):
    server = Server(failure, failure)
    assert server.post() == [b"{}"]
    assert len(server.requests) == 3
    assert len(waits) == 2


def test_waits_are_random_below_a_bound_that_doubles(waits):
    with pytest.raises(BackendError):
        Server(*(httpx2.Response(500) for _ in range(12))).post(tries=12)
    bounds = [min(module.LONGEST_DELAY, module.FIRST_DELAY * 2**i) for i in range(11)]
    assert all(0 <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))
    assert len(set(waits)) == len(waits)  # equal ones have probability 0


def test_a_server_that_asks_for_time_gets_it(waits):
    in_a_minute = datetime.now(UTC) + timedelta(seconds=60)
    for asked in ("7", format_datetime(in_a_minute)):
        Server(httpx2.Response(429, headers={"Retry-After": asked})).post()
    since = (datetime.now(UTC) - in_a_minute).total_seconds() + 60
    assert 7 <= waits[0] <= 7 + module.FIRST_DELAY
    assert 59 - since <= waits[1] <= 60 + module.FIRST_DELAY  # a date has no fractions of a second


def test_a_server_that_asks_for_too_much_time_is_not_asked_again(waits):
    with pytest.raises(BackendError, match=r"come tomorrow.*after 1 try"):
        Server(httpx2.Response(429, headers={"Retry-After": "86400"}, text="come tomorrow")).post()
    assert waits == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx2.Response(400, json={"error": {"message": "n must be 1", "code": 400}}), "answered 400: n must be 1"),
        (httpx2.Response(401, json={"error": "no key"}), "no key .give the server's key"),
        (httpx2.Response(404, json={"detail": "Not Found"}), "Not Found .check the address"),
        (httpx2.Response(422, text="what is top_k?"), "what is top_k"),
        (httpx2.Response(307, headers={"Location": "http://elsewhere"}), "307: Temporary Redirect"),
    ],
)
def test_a_refusal_is_the_callers_fault_and_is_not_tried_again(answer, words, waits):
    server = Server(answer)
    with pytest.raises(InputError, match=words):
        server.post()
    assert len(server.requests) == 1


def test_a_server_that_never_recovers_is_a_backend_error_in_its_own_words(waits):
    server = Server(*(httpx2.Response(503, json={"error": {"message": "the engine is dead"}}) for _ in range(9)))
    with pytest.raises(BackendError, match=r"503: the engine is dead \(after 3 tries\)"):
        server.post(tries=3)


def test_requests_in_flight_are_bounded():
    server = Server()
    server.post(times=50, at_once=4)
    assert server.most == 4
    assert len(server.requests) == 50


def test_the_key_is_sent_and_the_address_may_end_in_v1():
    server = Server()
    server.post(key="secret")
    (request,) = server.requests
    assert request.headers["Authorization"] == "Bearer secret"
    assert str(request.url) == "http://server/v1/completions"


@pytest.mark.parametrize("options", [{"url": "server"}, {"url": "ftp://server"}, {"at_once": 0}, {"tries": 0}])
def test_settings_that_cannot_work_are_refused(options):
    with pytest.raises(InputError):
        Client(**{"url": "http://server"} | options)


def test_a_closed_client_refuses():
    async def run():
        client = Client("http://server", transport=httpx2.MockTransport(Server()))
        await client.close()
        await client.post("/", {})

    with pytest.raises(BackendError, match="closed"):
        asyncio.run(run())


def test_connections_are_kept_and_one_that_breaks_off_is_replaced(waits):
    """A server of sockets: it breaks off within its first answer and keeps the next connection for all the others."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    connections, ended = 0, []

    async def serve(reader, writer):
        nonlocal connections
        connections += 1
        first = connections == 1
        ended.append(end := asyncio.Event())
        with suppress(asyncio.IncompleteReadError):  # the client closes
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                (length,) = (line for line in head.split(b"\r\n") if line.startswith(b"content-length"))
                await reader.readexactly(int(length.split(b":")[1]))
                writer.write(answer[:-1] if first else answer)
                if first:
                    break
        writer.close()
        await writer.wait_closed()
        end.set()

    async def run():
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with Client(f"http://127.0.0.1:{port}") as client:
                answers = [await client.post("/", {}) for _ in range(5)]
            for end in ended:
                await end.wait()
            return answers

    assert asyncio.run(run()) == [b"{}"] * 5
    assert connections == 2
    assert len(waits) == 1
