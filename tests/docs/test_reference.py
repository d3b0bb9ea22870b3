import pytest

from daemon.config import StagingConfig
from docs.reference import config_page, field_docs, messages_page
from tests.rigs import forked
from tests.support.paths import ROOT


def reference(*arguments):
    return forked.run("-m", "docs.reference", *arguments, cwd=ROOT)


def test_the_pages_are_fresh():
    found = reference("--check")
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize("page", ["config.md", "messages.md"])
def test_a_stale_page_is_said_and_left_alone(tmp_path, page):
    assert reference("--docs", tmp_path).returncode == 0
    (tmp_path / page).write_text("old", "utf-8")
    found = reference("--check", "--docs", tmp_path)
    assert found.returncode == 1
    assert f"expected {tmp_path / page} as generated" in found.stderr
    assert found.stderr.count("\n") == 1
    assert (tmp_path / page).read_text("utf-8") == "old"
    reference("--docs", tmp_path)
    assert reference("--check", "--docs", tmp_path).returncode == 0


def test_a_field_is_told_by_the_text_below_it():
    docs = field_docs(StagingConfig)
    assert set(docs) == set(StagingConfig.__struct_fields__)
    assert docs["hop_s"].startswith("Time between two live epochs' onsets, s; the epoch length")


def test_tables_have_types_bounds_and_defaults():
    page = config_page()
    assert "## `[[streams.subjects]]`" in page
    assert "| `port` | integer ≥ 0, ≤ 65535 | `9570` |" in page
    assert '| `unit` | `"V"` or' in page
    assert "| `stall_s` | number ≥ 0.05, ≤ 3600 | `2.0` |" in page
    assert (
        "| `min_rms_uv` | number ≥ 0, ≤ 1e+06 | `0.1`; required where the table is given |" in page
    )
    assert "| `latency_s` | number or null | From the arrival" in messages_page()
