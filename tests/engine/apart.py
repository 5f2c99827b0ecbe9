"""What the tests of processes load there; it imports no torch, so that a process is there at once."""

import asyncio
import os
import signal

from stepmark.errors import InputError
from stepmark.policies.base import ScriptedPolicy


class Slow:
    """A policy that says where it computes, or never answers, or kills its process, or fails, by the number of samples
    that it is asked for."""

    def __init__(self, *, memory: int = 0) -> None:
        self.scripted = ScriptedPolicy.replies([f"{os.getpid()} {memory}\n"])
        self.given_up = 0

    async def sample(self, prefix, n, sampling):
        match n:
            case 1:
                return await self.scripted.sample(prefix, n, sampling)
            case 2:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    self.given_up += 1
                    raise
            case 3:
                pass
            case 4:
                os.kill(os.getpid(), signal.SIGKILL)
            case 5:
                raise InputError("no", path="here", line=3)
            case _:
                raise ZeroDivisionError("by zero")
        return self.given_up

    def close(self) -> None:
        pass


def no_model(**_):
    raise InputError("there is no model", path="nowhere")


def ended(**_):
    os.kill(os.getpid(), signal.SIGKILL)
