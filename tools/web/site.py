"""What the page is made of: its files, and under /api/ what it shows."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path

import anyio.to_thread
import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from daemon.compose import VERSION
from models.errors import RecordingError
from models.stages import COLOURS
from tools.live.board import Board, Decision
from tools.live.history import LETTERS, NOTHING, Window
from tools.shared.day import Day
from tools.web.events import Events
from tools.web.night import Night
from tools.web.scoring import KEYS, Saved, Scoring, save
from tools.web.traces import Traces
from tools.web.updates import Updates

STATIC = Path(__file__).with_name("static")
_TICK_S = 0.5
"""So often a browser is told what is new; it takes the page for lost after a few of them."""
_MOST_STEPS = 2000
_MOST_BYTES = 4 * 2**20


class StageLook(msgspec.Struct, frozen=True, kw_only=True):
    """How a stage is written and drawn."""

    name: str
    letter: str
    """Its character in strips and windows."""
    colour: str
    """#RRGGBB."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a page must know first."""

    version: str
    hours: float
    """How far back histories reach, h."""
    tick_s: float
    """So often an event comes, s."""
    stages: list[StageLook]
    nothing: str
    """The letter where no epoch is."""
    keys: dict[str, str]
    """Of a night that is over: which key gives which stage."""


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """The past of a subject."""

    span: tuple[float, float] | None
    """From when to when there are epochs, Unix time, s."""
    window: Window | None
    """What was asked for."""
    decisions: list[Decision]
    """How its rules decided lately, the newest last."""


class Site:
    """Answers the page's questions out of a board.

    Args:
        board: what is known.
        hours: how far back its histories reach.
        day: when it is light for the animals.
        traces: live signals; None: there are none.
        is_ending: whether the process is about to end.
        scored: where corrected nights are written, of a board that is a night.
    """

    def __init__(
        self,
        board: Board,
        hours: float,
        day: Day,
        traces: Traces | None,
        is_ending: Callable[[], bool],
        scored: Path | None = None,
    ) -> None:
        self._scored = scored
        self._traces = traces
        self._board, self._hours, self._day, self._is_ending = board, hours, day, is_ending
        self._about = About(
            version=VERSION,
            hours=hours,
            tick_s=_TICK_S,
            stages=[
                StageLook(name=n, letter=LETTERS[n], colour=c.picture) for n, c in COLOURS.items()
            ],
            nothing=NOTHING,
            keys=_keys(board),
        )

    def app(self) -> Starlette:
        """Return the application."""
        corrects = isinstance(self._board, Night) and self._scored is not None
        scoring = Route("/api/subjects/{name}/scoring", self._save, methods=["POST"])
        return Starlette(
            routes=[
                *[scoring] * corrects,
                Route("/", self._index),
                Route("/api/about", self._tell_about),
                Route("/api/events", self._follow),
                Route("/api/subjects/{name}", self._tell_story),
                Route("/api/subjects/{name}/trace", self._follow_trace),
                Mount("/static", StaticFiles(directory=STATIC)),
            ]
        )

    async def _index(self, _request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def _tell_about(self, _request: Request) -> Response:
        return _json(self._about)

    async def _follow(self, _request: Request) -> Events:
        return Events(self._updates())

    async def _updates(self) -> AsyncGenerator[bytes]:
        updates = Updates(self._board, self._day, self._hours)
        while not self._is_ending():
            yield updates.next()
            await asyncio.sleep(_TICK_S)

    async def _follow_trace(self, request: Request) -> Events:
        name = request.path_params["name"]
        with self._board.lock:
            if name not in self._board.subjects or self._traces is None:
                raise _no_subject(name)
        return Events(self._trace(self._traces, name))

    async def _trace(self, traces: Traces, name: str) -> AsyncGenerator[bytes]:
        async with aclosing(traces.follow(name)) as contents:
            async for content in contents:
                if self._is_ending():
                    return
                yield content

    async def _save(self, request: Request) -> Response:
        if request.headers.get("content-type") != "application/json":  # no form of another page
            raise HTTPException(415, "expected JSON")
        try:
            scoring = msgspec.json.decode(await _body(request), type=Scoring)
            saved = await anyio.to_thread.run_sync(
                self._save_now, request.path_params["name"], scoring
            )
        except (msgspec.DecodeError, RecordingError) as error:
            raise HTTPException(400, str(error)) from error
        return _json(saved)

    def _save_now(self, name: str, scoring: Scoring) -> Saved:
        records = self._board.records if isinstance(self._board, Night) else {}
        if name not in records or self._scored is None:
            raise _no_subject(name)
        return save(records[name], scoring, self._scored)

    async def _tell_story(self, request: Request) -> Response:
        start, end = _number(request, "start"), _number(request, "end")
        steps = int(min(_number(request, "steps"), _MOST_STEPS))
        if not (0 <= end - start <= 86_400 * 366 and steps >= 1):
            raise HTTPException(400, "expected start, end and steps of a span of time")
        story = await anyio.to_thread.run_sync(
            self._story, request.path_params["name"], start, end, steps
        )
        return _json(story)

    def _story(self, name: str, start: float, end: float, steps: int) -> Story:
        with self._board.lock:
            subject = self._board.subjects.get(name)
            if subject is None:
                raise _no_subject(name)
            history = subject.history
            return Story(
                span=(history.start, history.end) if history else None,
                window=history.window(start, end, steps) if history else None,
                decisions=subject.decisions,
            )


async def _body(request: Request) -> bytes:
    """Return what was sent, unless it is too much."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST_BYTES:
            raise HTTPException(413, f"expected at most {_MOST_BYTES} bytes")
    return body


def _keys(board: Board) -> dict[str, str]:
    if not isinstance(board, Night):
        return {}
    return KEYS[max((record.stages for record in board.records.values()), key=len)]


def _no_subject(name: str) -> HTTPException:
    return HTTPException(404, f"expected a subject, found {name!r}")


def _number(request: Request, name: str) -> float:
    try:
        number = float(request.query_params[name])
    except (KeyError, ValueError):
        raise HTTPException(400, f"expected {name}, a number") from None
    if not abs(number) < 1e11:
        raise HTTPException(400, f"expected {name}, a number within reason")
    return number


def _json(content: object) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")
