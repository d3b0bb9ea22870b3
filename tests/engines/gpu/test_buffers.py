"""The bookkeeping of a GPU's ticks, without one."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from engines.context import ContextWindow
from engines.gpu.buffers import (
    bucket_for,
    bucket_sizes,
    fill_inputs,
    input_buffers,
    output_buffers,
    token_bytes,
    token_runs,
)
from tests.support.bundles import mouse_spec

SPEC = mouse_spec(n_context=4, token_size=16, n_heads=2)
MOST_ROWS = 5


@given(n_rows=st.integers(1, 1100), data=st.data())
def test_every_batch_has_a_bucket_less_than_twice_as_large(n_rows, data):
    sizes = bucket_sizes(n_rows)
    assert list(sizes) == sorted(set(sizes))
    assert sizes[-1] == n_rows
    n = data.draw(st.integers(1, n_rows))
    assert n <= bucket_for(n, sizes) < 2 * n


def test_buckets_are_few():
    assert bucket_sizes(1) == (1,)
    assert bucket_sizes(8) == (1, 2, 4, 8)
    assert bucket_sizes(10) == (1, 2, 4, 8, 10)
    assert len(bucket_sizes(1024)) == 11


def test_buffers_are_as_large_as_the_network_wants():
    inputs, outputs = input_buffers(SPEC), output_buffers(SPEC, SPEC.pathways, 2)
    assert {name: buffer.n_bytes(3) for name, buffer in inputs.items()} == {
        "epochs": 3 * 2 * 512 * 4,
        "mask": 3 * 4 * 2,
        "before": 3 * 3 * 8,
    }
    assert outputs["probabilities"].n_bytes(5) == 5 * 3 * 2 * 3 * 4
    assert token_bytes(SPEC) == 2 * 16 * 4


def test_neighbours_at_the_same_slot_are_written_by_one_copy():
    context = ContextWindow(SPEC, 6)
    n_slots, rows = context.n_slots, np.arange(6)
    assert [*token_runs(rows, context)] == [(0, 6, 0)]
    context.append(rows[:2], np.zeros((2, 2, 16), np.float32), np.ones((2, 2), bool))
    assert [*token_runs(rows, context)] == [(0, 2, 1), (2, 4, 2 * n_slots)]
    some = np.array([5, 4, 0, 1])
    assert [*token_runs(some, context)] == [(0, 1, 5 * n_slots), (1, 1, 4 * n_slots), (2, 2, 1)]
    assert [*token_runs(rows[:1], context)] == [(0, 1, 1)]


class RingMachine(RuleBasedStateMachine):
    """A ring kept by index against the window in host memory, whatever happens to the rows."""

    @initialize(n_rows=st.integers(1, MOST_ROWS), hops=st.integers(1, 3))
    def start(self, n_rows, hops):
        self.n_rows, self.buckets = n_rows, bucket_sizes(n_rows)
        self.context = ContextWindow(SPEC, n_rows, hops)
        self.ring = np.full((n_rows * self.context.n_slots, 2, 16), np.nan, np.float32)
        self.buffers = {
            name: np.zeros((n_rows, *buffer.shape), buffer.dtype)
            for name, buffer in input_buffers(SPEC).items()
        }
        self.count = 0
        self.saved = None

    @rule(data=st.data())
    def tick(self, data):
        numbers = st.lists(st.integers(0, self.n_rows - 1), unique=True, min_size=1)
        rows = np.array(data.draw(numbers), np.intp)
        n, bucket = len(rows), bucket_for(len(rows), self.buckets)
        flags = st.lists(st.booleans(), min_size=2 * n, max_size=2 * n)
        valid = np.array(data.draw(flags), bool).reshape(n, 2)
        mask = np.concatenate([self.context.mask(rows), valid[:, None]], axis=1)
        epochs = np.full((n, 2, 512), self.count + 1, np.float32)
        fill_inputs(self.buffers, bucket, rows, epochs, mask, self.context)

        before = self.buffers["before"][:bucket]
        read = np.where(mask[:, :-1, :, None], self.ring[before][:n], 0)
        np.testing.assert_array_equal(read, self.context.tokens(rows))
        np.testing.assert_array_equal(self.buffers["mask"][:n], mask)
        assert not self.buffers["mask"][n:bucket].any()
        assert (self.buffers["epochs"][:n] == self.count + 1).all()
        assert not self.buffers["epochs"][n:bucket].any()
        assert (before[n:] == 0).all()

        self.count += 1
        tokens = np.where(valid[..., None], np.full((n, 2, 16), self.count, np.float32), 0)
        written = []
        for first, length, slot in token_runs(rows, self.context):
            slots = slot + np.arange(length) * self.context.n_slots
            self.ring[slots] = tokens[first : first + length]
            written += range(first, first + length)
        assert written == [*range(n)]
        self.context.append(rows, tokens, valid)

    @rule(data=st.data())
    def save(self, data):
        self.saved = self.context.save(data.draw(st.integers(0, self.n_rows - 1)))

    @rule(data=st.data())
    def load(self, data):
        if self.saved is not None:
            row = data.draw(st.integers(0, self.n_rows - 1))
            self.context.load(row, self.saved)
            first = row * self.context.n_slots
            self.ring[first : first + self.context.n_slots] = self.saved["tokens"]

    @rule(data=st.data())
    def clear(self, data):
        self.context.clear(data.draw(st.integers(0, self.n_rows - 1)))


RingMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
TestRing = RingMachine.TestCase
