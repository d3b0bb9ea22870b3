import msgspec
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from engines.context import ContextWindow
from engines.errors import EngineError
from tests.support.bundles import mouse_spec

N_ROWS = 3
SIZE = 4
SPEC = mouse_spec(4, SIZE)

some_rows = st.lists(st.integers(0, N_ROWS - 1), unique=True)
one_row = st.integers(0, N_ROWS - 1)


class ContextMachine(RuleBasedStateMachine):
    """ContextWindow against lists that grow for ever."""

    @initialize(n_context=st.integers(1, 5), hops=st.integers(1, 3))
    def start(self, n_context, hops):
        self.n_context, self.hops = n_context, hops
        spec = msgspec.structs.replace(SPEC, n_context=n_context)
        self.window = ContextWindow(spec, N_ROWS, hops)
        self.other = ContextWindow(spec, N_ROWS, hops)
        self.past = [[] for _ in range(N_ROWS)]
        self.saved = None
        self.count = 0

    @rule(rows=some_rows, data=st.data())
    def append(self, rows, data):
        flags = st.lists(st.booleans(), min_size=2 * len(rows), max_size=2 * len(rows))
        valid = np.array(data.draw(flags), bool).reshape(len(rows), 2)
        tokens = np.full((len(rows), 2, SIZE), np.nan, np.float32)
        for i, row in enumerate(rows):
            self.count += 1
            tokens[i, valid[i]] = self.count
            self.past[row].append((np.where(valid[i][:, None], tokens[i], 0), valid[i]))
        self.window.append(np.array(rows, np.intp), tokens, valid)

    def naive(self, row, distances):
        past = self.past[row]
        empty = np.zeros((2, SIZE), np.float32), np.zeros(2, bool)
        slots = [past[-d] if d <= len(past) else empty for d in distances]
        return (
            np.array([token for token, _ in slots]).reshape(-1, 2, SIZE),
            np.array([valid for _, valid in slots], bool).reshape(-1, 2),
        )

    @invariant()
    def reads_what_was_appended(self):
        rows = [2, 0]
        tokens, mask = self.window.tokens(np.array(rows)), self.window.mask(np.array(rows))
        assert tokens.shape == (2, self.n_context - 1, 2, SIZE)
        assert tokens.dtype == np.float32
        distances = [k * self.hops for k in range(self.n_context - 1, 0, -1)]
        for i, row in enumerate(rows):
            expected_tokens, expected_mask = self.naive(row, distances)
            np.testing.assert_array_equal(tokens[i], expected_tokens)
            np.testing.assert_array_equal(mask[i], expected_mask)
        tokens.fill(np.nan)  # a copy: the ring must not see it
        mask.fill(True)

    @invariant()
    def counts_what_is_valid(self):
        rows = [1, 2, 0]
        distances = [1 + k * self.hops for k in range(self.n_context)]
        expected = [self.naive(row, distances)[1].any(axis=1).sum() for row in rows]
        assert self.window.slots_filled(np.array(rows)).tolist() == expected

    @rule(row=one_row)
    def clear(self, row):
        self.window.clear(row)
        self.past[row] = []

    @rule(row=one_row)
    def save(self, row):
        self.saved = self.window.save(row), list(self.past[row])

    @rule(row=one_row)
    def load(self, row):
        if self.saved is not None:
            context, past = self.saved
            self.window.load(row, context)
            self.past[row] = list(past)

    @rule(row=one_row, other_row=one_row)
    def move_through_another_window(self, row, other_row):
        context = self.window.save(row)
        self.other.load(other_row, context)
        copied = self.other.save(other_row)
        self.window.clear(row)
        self.window.load(row, copied)


ContextMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestContext = ContextMachine.TestCase


def test_saved_context_is_a_copy():
    window = ContextWindow(SPEC, 1)
    rows = np.array([0])
    window.append(rows, np.ones((1, 2, SIZE), np.float32), np.ones((1, 2), bool))
    saved = window.save(0)
    window.clear(0)
    assert saved["mask"].any()
    window.load(0, saved)
    saved["tokens"].fill(7)
    np.testing.assert_array_equal(window.save(0)["tokens"][-1], 1)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"tokens": np.zeros((5, 2, SIZE), np.float32)}, r"'tokens': expected \(4, 2, 4\) float32"),
        ({"tokens": np.zeros((4, 2, SIZE))}, "found .* float64"),
        ({"mask": np.zeros((4, 3), bool)}, r"'mask': expected \(4, 2\) bool, found \(4, 3\)"),
    ],
)
def test_context_that_does_not_fit_is_refused(change, complaint):
    window = ContextWindow(SPEC, 1)
    with pytest.raises(EngineError, match=complaint):
        window.load(0, window.save(0) | change)


def test_context_without_mask_is_refused():
    window = ContextWindow(SPEC, 1)
    with pytest.raises(EngineError, match=r"'mask': expected .* found nothing"):
        window.load(0, {"tokens": window.save(0)["tokens"]})
