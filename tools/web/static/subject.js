// One subject: how it is now, its last hours, its probabilities and what its rules decided.

import { askJson } from "./connection.js";
import { clock, duration, element, percent, setText } from "./format.js";
import { describeQuality, describeRules, showStage } from "./tiles.js";
import { Scoring } from "./scoring.js";
import { isPast, since, store, utcNow } from "./store.js";
import { Trace } from "./trace.js";
import { EMG, HYPNODENSITY, HYPNOGRAM, SPECTROGRAM, Tracks } from "./tracks.js";

const LEAST_S = 30;
const TEN_MINUTES_S = 600;
const HOUR_S = 3600;
const SPANS = [["10 min", 600], ["1 h", 3600], ["3 h", 10800], ["12 h", 43200]];
const FOLLOW_MS = 2000;
const STEPS = 1200;
const NEW_DECISIONS = 12;

export class SubjectView {
  constructor(main, name) {
    this.name = name;
    this.seconds = HOUR_S;
    this.end = null; // null: follows the newest epoch
    this.busy = false;
    this.due = 0;
    this.scoring = isPast() ? new Scoring(name, () => this.showAgain()) : null;
    main.replaceChildren(...this.build());
    this.trace = null;
    this.tracks = new Tracks(this.place, (from, to) => (this.scoring ? this.select([from, to]) : this.goTo(from, to)));
    this.place.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    for (const part of [this.figure, this.scoring?.node]) part?.addEventListener("keydown", (event) => this.key(event));
  }

  build() {
    this.stage = element("span", { class: "stage" });
    this.confidence = element("span", { class: "confidence" });
    this.age = element("span", { class: "age" });
    this.troubles = element("p", { class: "troubles" });
    this.quality = element("p", { class: "quality" });
    this.rules = element("p", { class: "rules" });
    const head = element("div", { class: "subject-head" }, element("a", { href: "#/", class: "back" }, "‹ all subjects"), element("h2", {}, this.name), ...(this.scoring ? [] : [element("span", { class: "now" }, this.stage, this.confidence), this.age]));
    this.densities = element("tbody");
    const densities = element("table", {}, element("caption", {}, "Probabilities of the newest epoch"), row("th", "stage", "with the grammar", "net alone"), this.densities);
    this.decided = element("tbody");
    const decisions = element("table", {}, element("caption", {}, "What rules decided"), row("th", "time", "rule", "decision", "why"), this.decided);
    this.place = element("div", { class: "tracks" });
    this.shown = element("span", { class: "shown", role: "status" });
    const what = isPast() ? "The night" : "The last hours";
    const keys = isPast() ? "End goes to its end, Shift and arrow keys select, letters and digits give a stage" : "End follows";
    this.figure = element("figure", { class: "past", tabindex: "0", role: "group", "aria-label": `${what}; arrow keys move, plus and minus zoom, ${keys}` }, element("figcaption", {}, what), this.toolbar(), this.place);
    this.sides = element("div", { class: "sides" }, densities, decisions);
    if (this.scoring) return [head, this.figure, this.scoring.node];
    return [head, this.troubles, this.quality, this.rules, this.figure, this.sides];
  }

  toolbar() {
    const bar = element("div", { class: "toolbar", role: "toolbar", "aria-label": "Span of time" });
    const button = (text, label, act) => {
      const made = element("button", { type: "button", "aria-label": label }, text);
      made.addEventListener("click", act);
      bar.append(made);
      return made;
    };
    for (const [text, seconds] of SPANS) button(text, `show ${text}`, () => this.zoomTo(seconds));
    button("−", "zoom out", () => this.zoom(2));
    button("+", "zoom in", () => this.zoom(0.5));
    button("‹", "earlier", () => this.pan(-0.5));
    button("›", "later", () => this.pan(0.5));
    this.following = button(isPast() ? "end" : "now", isPast() ? "go to the end" : "follow the newest epoch", () => this.pan(Infinity));
    bar.append(this.shown);
    return bar;
  }

  get tile() {
    return store.tiles.get(this.name);
  }

  // The span that is shown, Unix time, s.
  get span() {
    const end = this.end ?? utcNow();
    return [end - this.seconds, end];
  }

  show(drawn) {
    const tile = this.tile;
    if (!tile) {
      setText(this.troubles, store.names.length ? `${this.name} is no subject of this daemon` : "");
      return;
    }
    showStage(tile, this.stage, this.confidence);
    setText(this.troubles, tile.troubles.join("; "));
    setText(this.quality, [describeQuality(tile), tile.reason ?? "", `stream ${tile.stream}`].filter(Boolean).join(" · "));
    setText(this.rules, describeRules(tile));
    if (!this.trace && !this.scoring) {
      this.trace = new Trace(this.name);
      this.sides.before(this.trace.node);
    }
    this.showDensities(tile);
    if (this.scoring) return this.tick();
    if (drawn?.includes(this.name)) this.due = Math.min(this.due, performance.now() + 500);
    this.tick();
  }

  showDensities(tile) {
    const stages = Object.keys(tile.probabilities);
    const have = [...this.densities.rows].map((r) => r.dataset.stage);
    if (stages.length && String(have) !== String(stages)) {
      this.densities.replaceChildren(...stages.map((stage) => {
        const made = row("td", stage, meter(`${stage}, with the grammar`), meter(`${stage}, net alone`));
        made.dataset.stage = stage;
        return made;
      }));
    }
    for (const r of this.densities.rows) {
      setMeter(r.cells[1], store.lost ? undefined : tile.probabilities[r.dataset.stage]);
      setMeter(r.cells[2], store.lost ? undefined : tile.evidence[r.dataset.stage]);
    }
  }

  tick() {
    const tile = this.tile;
    const s = tile ? since(tile) : null;
    setText(this.age, s === null ? (isPast() ? "" : "no epoch") : `${duration(s)} ago`);
    if (performance.now() >= this.due && !this.busy && tile) this.load();
  }

  async load() {
    this.busy = true;
    const follows = this.end === null && !isPast();
    this.due = follows ? performance.now() + Math.max(FOLLOW_MS, this.seconds) : Infinity;
    const [start, end] = this.span;
    const query = new URLSearchParams({ start, end, steps: STEPS });
    try {
      const story = await askJson(`/api/subjects/${encodeURIComponent(this.name)}?${query}`);
      if (!this.story && story.span) {
        this.seconds = this.usual(end - story.span[0]);
        this.again = this.seconds > end - start;
      }
      this.story = story;
      if (!this.closed) this.showStory(story, this.end === null ? [end - this.seconds, end] : [start, end]);
    } catch (error) {
      setText(this.shown, `not to be had: ${error.message}`);
      this.due = performance.now() + FOLLOW_MS;
    } finally {
      this.busy = false;
    }
    if (this.again) {
      this.again = false;
      this.load();
    }
  }

  // Draws what is known already, with what was corrected.
  showAgain() {
    if (this.story?.window) this.showStory(this.story, this.span);
  }

  select(span) {
    this.scoring.select(span);
    this.tracks.setSelected(span);
    this.figure.focus(); // keys are heard there
  }

  // Lets the selection end a step later or earlier; the first one begins in the middle.
  reach(steps) {
    const step = this.story?.window?.step_s;
    if (!step) return;
    const middle = (this.span[0] + this.span[1]) / 2;
    const [from, to] = this.scoring.selected ?? [middle, middle];
    this.select([from, Math.max(from + step, to + steps * step)]);
  }

  // What is shown at first of so long a history: a night that is over whole.
  usual(seconds) {
    return Math.max(TEN_MINUTES_S, isPast() ? seconds : Math.min(HOUR_S, seconds));
  }

  showStory(story, span) {
    if (!story.window) {
      setText(this.shown, "no epoch yet");
      this.due = performance.now() + FOLLOW_MS;
      return;
    }
    const window = this.scoring ? this.scoring.correct(story.window) : story.window;
    const hasEmg = "emg" in (this.tile?.validity ?? {}) || window.emg_db.some((level) => level !== null);
    this.tracks.show(window, [HYPNOGRAM, HYPNODENSITY, SPECTROGRAM, ...(hasEmg ? [EMG] : [])], span);
    setText(this.shown, `${clock(span[0], true)} to ${clock(span[1], true)}${this.end === null && !isPast() ? ", following" : ""}`);
    this.following.setAttribute("aria-pressed", String(this.end === null));
    const newest = story.decisions.slice(-NEW_DECISIONS).reverse();
    this.decided.replaceChildren(...newest.map((d) => row("td", clock(Date.parse(d.utc) / 1000, true), d.rule, d.action, d.reason)));
    if (!newest.length) this.decided.replaceChildren(row("td", "–", "none", "", ""));
  }

  goTo(from, to) {
    this.seconds = Math.max(LEAST_S, to - from);
    this.end = to >= utcNow() - 2 ? null : to;
    this.reload();
  }

  zoomTo(seconds, at = 0.5) {
    const [start, end] = this.span;
    const middle = start + at * (end - start);
    const span = Math.min(Math.max(LEAST_S, seconds), 3600 * store.about.hours);
    if (this.end === null) this.seconds = span;
    else this.goTo(middle - at * span, middle + (1 - at) * span);
    this.reload();
  }

  zoom(factor, at) {
    this.zoomTo(this.seconds * factor, at);
  }

  pan(fraction) {
    const [start, end] = this.span;
    const by = fraction * (end - start);
    if (end + by >= utcNow()) this.end = null;
    else this.end = end + by;
    this.reload();
  }

  reload() {
    if (this.busy) this.again = true;
    else this.load();
  }

  wheel(event) {
    if (!event.ctrlKey && !event.shiftKey) return; // the page scrolls
    event.preventDefault();
    const box = this.place.getBoundingClientRect();
    if (event.shiftKey) this.pan(Math.sign(event.deltaX || event.deltaY) * 0.1);
    else this.zoom(event.deltaY > 0 ? 1.25 : 0.8, (event.clientX - box.left) / box.width);
  }

  key(event) {
    if (event.target.tagName === "INPUT") return;
    if (this.scoring?.key(event)) {
      event.preventDefault();
      return;
    }
    if (this.scoring && event.shiftKey && event.key.startsWith("Arrow")) {
      event.preventDefault();
      this.reach(event.key === "ArrowRight" ? 1 : -1);
      return;
    }
    const act = { ArrowLeft: () => this.pan(-0.25), ArrowRight: () => this.pan(0.25), "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2), End: () => this.pan(Infinity), Home: () => this.zoomTo(3600 * store.about.hours) }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  close() {
    this.closed = true;
    this.tracks.close();
    this.trace?.close();
  }
}

function row(kind, ...cells) {
  return element("tr", {}, ...cells.map((cell) => element(kind, kind === "th" ? { scope: "col" } : {}, cell)));
}

function meter(label) {
  return element("span", { class: "metered" }, element("meter", { min: 0, max: 1, "aria-label": label }), element("span"));
}

function setMeter(cell, value) {
  const [bar, text] = cell.firstChild.children;
  bar.value = value ?? 0;
  setText(text, value === undefined ? "–" : percent(value));
}
