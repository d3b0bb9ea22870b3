"""The page in a real browser: what a lab manager sees, hears and does on it."""

import re

import pytest

from tests.rigs.lsl import wait_until
from tests.support.talker import RULE, Talker
from tests.tools.web.conftest import PHONE, SCREEN, serve_from

axe_api = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-core")
expect = pytest.importorskip("playwright.sync_api", reason="needs playwright").expect
expect.set_options(timeout=30_000)


def tile(page, name):
    return page.locator(".tile", has=page.locator(".name", has_text=re.compile(f"^{name}$")))


def assert_accessible(page):
    """Nothing that axe-core calls serious or critical."""
    found = axe_api.Axe().run(page).response["violations"]
    worst = [v for v in found if v["impact"] in ("serious", "critical")]
    assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in worst] == []


def fits(page):
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_every_animal_has_a_tile_and_those_in_trouble_come_first(server, open_page):
    page = open_page(server.url)
    expect(page.locator(".tile .name")).to_have_text(["m3", "m2", "m4", "m1"])
    expect(page.locator("#summary")).to_have_text("3 of 4 subjects staged · 1 not · 2 to look at")
    spoken = page.get_by_role("link", name=re.compile(r"^m1 \d+ s ago NREM 85 % .*EEG ok"))
    expect(spoken).to_be_visible()
    for name, words in {
        "m1": ["NREM", "85 %", "EEG ok · EMG ok · drift 0.4", f"{RULE} armed", " s ago"],
        "m2": ["NREM", "EMG flat"],
        "m3": ["ART", "EEG mains; EMG mains"],
        "m4": ["NREM", "drift 1.7: unlike the training animals"],
    }.items():
        for word in words:
            expect(tile(page, name)).to_contain_text(word)
    expect(page.locator("#lost")).to_be_hidden()


def test_its_strip_shows_what_was_staged_before_the_page_was_opened(server, open_page):
    page = open_page(server.url)
    expect(tile(page, "m1")).to_contain_text("NREM")
    page.wait_for_function(
        """() => {  // a fifth of half an hour is far more than was staged since the page was opened
            const canvas = document.querySelector('a[href="#/m1"] canvas');
            const { width, height } = canvas;
            const pixels = canvas.getContext("2d").getImageData(0, 0, width, height).data;
            let blue = 0;
            for (let i = 0; i < pixels.length; i += 4) {
                blue += pixels[i] === 0x2f && pixels[i + 1] === 0x6d && pixels[i + 2] === 0xb5;
            }
            return blue > width * height / 3 / 5;
        }"""
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_read_by_a_screen_reader_and_fits_a_phone(server, open_page, scheme):
    page = open_page(server.url, PHONE, color_scheme=scheme)
    expect(page.locator(".tile")).to_have_count(4)
    assert fits(page)
    assert_accessible(page)
    page.get_by_role("link", name="m1").click()
    expect(page.get_by_role("heading", name="m1")).to_be_visible()
    expect(page.locator(".u-wrap")).not_to_have_count(0)
    assert fits(page)
    assert_accessible(page)


def test_an_address_that_names_no_animal_says_so(server, open_page):
    page = open_page(server.url + "#/%E0%A4%A")
    page.wait_for_selector("text=%E0%A4%A is no subject of this daemon")


def test_a_keyboard_goes_to_an_animal_through_its_night_and_back(server, open_page):
    page = open_page(server.url)
    expect(page.locator(".tile")).to_have_count(4)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#/m3"
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="m3")).to_be_visible()
    past = page.get_by_role("group", name="The last hours")
    past.focus()
    shown = past.locator(".shown")
    expect(shown).to_contain_text("following")
    page.keyboard.press("ArrowLeft")
    expect(shown).not_to_contain_text("following")
    page.keyboard.press("End")
    expect(shown).to_contain_text("following")
    page.get_by_role("link", name="all subjects").press("Enter")
    expect(page.locator(".tile")).to_have_count(4)


def test_an_animal_tells_its_probabilities_and_decisions(server, open_page):
    page = open_page(f"{server.url}#/m1")
    grammar = page.get_by_role("meter", name="NREM, with the grammar")
    expect(grammar).to_have_js_property("value", 0.85)
    expect(page.get_by_role("meter", name="NREM, net alone")).to_have_js_property("value", 0.6)
    decided = page.get_by_role("table", name="What rules decided")
    expect(decided).to_contain_text(f"{RULE}offNREM, 90 %")
    page.get_by_role("button", name="show 10 min").click()
    plot = page.locator(".u-over").first
    plot.hover()
    for k, told in enumerate((r"\d\d:\d\d:\d\d.*NREM", "85 %", "1.5 to 2.5 Hz", "12.3 dB")):
        expect(page.locator(".u-legend").nth(k)).to_contain_text(re.compile(told, re.DOTALL))


def test_scales_follow_what_is_shown(server, open_page):
    """An animal that wakes up is not cut off at what it did while it slept."""
    page = open_page(f"{server.url}#/m1")
    expect(page.locator(".u-over").first).to_be_visible()
    live, past = page.evaluate("""async () => {
      const { EMG, Tracks } = await import("/static/tracks.js");
      const { Trace } = await import("/static/trace.js");
      const [trace, place] = [new Trace("m1"), document.createElement("div")];
      const tracks = new Tracks(place, () => {});
      document.body.append(trace.node, place);
      for (const size of [2, 50]) {
        const utc = new Date(1000 * size).toISOString();
        trace.take({ utc, span_s: 1, microvolts: { emg: Array(100).fill(size) } });
        const emg_db = Array(3).fill(10 * size);
        const window = { start: 0, step_s: 1, stages: "aaa", probabilities: {}, emg_db };
        tracks.show(window, [EMG], [0, 3]);
        await Promise.resolve();  // the plots take what they were given all at once
      }
      const found = [trace.plots.get("emg").plot.scales.y.max, tracks.plots[0].scales.y.max];
      trace.close();
      return found;
    }""")
    assert live > 50
    assert past > 50


def test_live_signals_are_asked_for_as_long_as_they_are_on_the_page(server, talker, open_page):
    page = open_page(f"{server.url}#/m1")
    live = page.get_by_role("figure", name="Live signals")
    for modality in ("EEG", "EMG"):
        expect(live.get_by_role("img", name=f"{modality}, live")).to_be_visible()
    assert talker.viewed == ["m1"]
    page.get_by_role("button", name="show the last 10 s").click()
    page.get_by_role("link", name="all subjects").click()
    wait_until(lambda: not talker.viewed, "nobody looks any more")


def test_a_tab_that_nobody_sees_asks_for_nothing_and_comes_back(server, talker, open_page):
    """A browser has six connections to a server: a fourth animal in a tab would not open."""
    page = open_page(server.url + "#/m2")
    page.wait_for_selector(".uplot[aria-label='EEG, live']")
    show = "value => { Object.defineProperty(document, 'hidden', { value, configurable: true }); "
    show += "document.dispatchEvent(new Event('visibilitychange')); }"
    page.evaluate(show, True)
    wait_until(lambda: not talker.viewed, "nobody looks any more")
    page.wait_for_selector("#lost:not([hidden])")
    page.evaluate(show, False)
    wait_until(lambda: talker.viewed == ["m2"], "somebody looks again")
    page.wait_for_selector("#lost[hidden]", state="attached")


def test_who_says_nothing_more_is_told_from_who_sleeps(tmp_path, open_page):
    with Talker(tmp_path / "j.sqlite", ["m1", "m2"]) as talker, serve_from(talker) as server:
        page = open_page(server.url)
        expect(tile(page, "m2")).to_contain_text("NREM")
        talker.changes["m2"] = None
        expect(tile(page, "m2")).to_contain_text("silent: no epoch comes")
        expect(tile(page, "m2").locator(".stage")).to_have_text("–")
        expect(tile(page, "m1").locator(".stage")).to_have_text("NREM")
        expect(page.locator(".tile .name")).to_have_text(["m2", "m1"])
        talker.troubles = {"journal": "the disk is full"}
        expect(page.locator("#summary")).to_contain_text("journal: the disk is full")


def test_nothing_old_is_shown_as_present_when_the_daemon_or_the_server_is_gone(tmp_path, open_page):
    path = tmp_path / "journal.sqlite"
    with Talker(path, ["m1"]) as talker, serve_from(talker) as server:
        page = open_page(server.url)
        expect(tile(page, "m1")).to_contain_text("NREM")
        talker.close()
        expect(page.get_by_role("alert")).to_contain_text("Lost: no connection to the daemon")
        expect(tile(page, "m1").locator(".stage")).to_have_text("?")
        assert_accessible(page)
        with Talker(path, ["m1"], after=talker):
            expect(page.get_by_role("alert")).to_be_hidden()
            expect(tile(page, "m1").locator(".stage")).to_have_text("NREM")
        expect(page.get_by_role("alert")).to_contain_text("Lost: no connection to the daemon")
        server.kill()
        expect(page.get_by_role("alert")).to_contain_text("the server does not answer")


def test_a_token_is_taken_from_behind_the_hash_or_asked_for(tmp_path, open_page):
    file = tmp_path / "token"
    file.write_text("0123456789abcdef" * 2)
    file.chmod(0o600)
    with (
        Talker(tmp_path / "j.sqlite", ["m1"]) as talker,
        serve_from(talker, "--token", str(file)) as server,
    ):
        page = open_page(server.url)
        expect(page.get_by_role("alert")).to_contain_text("the server asks for a token")
        page.get_by_label("Token").fill("no such token")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_role("alert")).to_contain_text("the server refuses this token")
        expect(page.get_by_label("Token")).to_have_value("")
        assert_accessible(page)
        page.get_by_label("Token").fill(file.read_text())
        page.get_by_role("button", name="Show").click()
        expect(tile(page, "m1")).to_contain_text("NREM")
        page = open_page(f"{server.url}#token={file.read_text()}")
        expect(tile(page, "m1")).to_contain_text("NREM")
        assert page.url == f"{server.url}#/"
        page.reload()
        expect(tile(page, "m1")).to_contain_text("NREM")


def test_a_stream_that_is_not_found_has_its_animals_on_the_page_too(tmp_path, open_page):
    with Talker(tmp_path / "j.sqlite", ["m1"], state="RESOLVING") as talker:
        talker.changes["m1"] = None
        with serve_from(talker) as server:
            page = open_page(server.url)
            expect(tile(page, "m1")).to_contain_text("resolving: as it is said")
            expect(tile(page, "m1")).to_contain_text("no epoch")


def test_64_animals_are_on_one_screen(tmp_path, open_page):
    names = [f"m{k:02}" for k in range(1, 65)]
    with Talker(tmp_path / "j.sqlite", names) as talker, serve_from(talker) as server:
        page = open_page(server.url)
        expect(page.locator(".stage", has_text="NREM")).to_have_count(64)
        height = page.evaluate("document.documentElement.scrollHeight")
        assert height <= SCREEN["height"]
