"""Server-sent events that never wait for a slow browser for long, and never pile up for it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.types import Receive, Scope, Send

_STUCK_S = 30.0
"""A browser that takes nothing for so long is given up."""
_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]


class Events:
    """An answer that goes on: an event for each content, the next one once the last is sent.

    Args:
        contents: JSON of each event; asked for the next one when the browser has room.
    """

    def __init__(self, contents: AsyncGenerator[bytes]) -> None:
        self._contents = contents

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until they end, the browser hangs up, or it takes nothing more."""
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            async with aclosing(self._contents) as contents:
                async for content in contents:
                    body = b"data: " + content + b"\n\n"
                    more = {"type": "http.response.body", "body": body, "more_body": True}
                    await asyncio.wait_for(send(more), _STUCK_S)
                    if gone.done():
                        return
        except TimeoutError:
            return
        finally:
            gone.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
