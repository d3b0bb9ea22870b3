"""Live signals on their way to one browser, from a daemon with keys."""

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, aclosing

import pytest

from tests.support.nights import trace
from tests.support.site import Site
from tools.web.traces import Traces


@pytest.fixture
def site(tmp_path):
    """A daemon's publisher with keys, which sends a trace of m1 and of m10 over and over."""
    ending = threading.Event()
    with ExitStack() as stack:
        site = Site(tmp_path, stack)

        def serve():
            seq = 0
            while not ending.is_set():
                for name in ("m10", "m1"):
                    site.publisher.publish(trace(seq, name))
                seq += 1
                site.publisher.serve(0.005)
                site.gate.serve()

        thread = threading.Thread(target=serve)
        thread.start()
        yield site
        ending.set()
        thread.join()


async def hear(traces, n):
    """Return the first n contents."""
    found = []
    async with aclosing(traces.follow("m1")) as contents:
        async for content in contents:
            found.append(json.loads(content))
            if len([each for each in found if each]) == n:
                return found
    return found


def test_a_browser_hears_its_animal_and_none_whose_name_begins_so(site):
    traces = Traces(site.publisher.endpoint, site.make("good"))
    with ThreadPoolExecutor(1) as pool:  # playwright has a loop of its own in this thread
        heard = pool.submit(lambda: asyncio.run(hear(traces, 5))).result(30)
    found = [each for each in heard if each]
    assert {each["subject"] for each in found} == {"m1"}
    assert [each["hop"] for each in found] == [found[0]["hop"] + k for k in range(5)]
    assert found[0]["microvolts"]["eeg"] == [-80.0, 90.0] * 6
