// Stages given by hand: spans in the order in which they were given, undone one by one, saved at last.

import { sendJson } from "./connection.js";
import { clock, element, setText } from "./format.js";
import { store } from "./store.js";

export class Scoring {
  constructor(name, changed) {
    this.name = name;
    this.changed = changed;
    this.selected = null; // [start, end], Unix time, s
    this.kept = `hypnod-scoring ${store.daemon?.endpoint} ${name}`;
    this.spans = JSON.parse(localStorage.getItem(this.kept) ?? "[]"); // a closed tab loses nothing
    this.node = this.build();
    this.tell();
  }

  build() {
    this.what = element("span", { class: "shown", role: "status" });
    const button = (text, act) => {
      const made = element("button", { type: "button" }, text);
      made.addEventListener("click", act);
      return made;
    };
    const order = store.about.stages.map((stage) => stage.name); // an object puts its digits first
    const byStage = Object.entries(store.about.keys).sort(([, a], [, b]) => order.indexOf(a) - order.indexOf(b));
    const keys = byStage.map(([key, stage]) => button(`${key.toUpperCase()}: ${stage}`, () => this.give(stage)));
    this.undoing = button("undo (Ctrl-Z)", () => this.undo());
    const bar = element("div", { class: "toolbar", role: "toolbar", "aria-label": "Give the selected span a stage" }, ...keys, this.undoing);
    this.who = element("input", { id: "scorer", required: "", maxlength: 60, autocomplete: "name", value: localStorage.getItem("hypnod-scorer") ?? "" });
    this.told = element("p", { role: "status" });
    const form = element("form", { class: "token" }, element("label", { for: "scorer" }, "Your name"), this.who, element("button", {}, "save as EDF+ and CSV"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.save();
    });
    return element("section", { class: "past", "aria-label": "Correct by hand" }, element("h3", {}, "Correct by hand"), this.what, bar, form, this.told);
  }

  // Takes a span, [start, end]; null: nothing is selected.
  select(span) {
    this.selected = span;
    this.tell();
  }

  give(stage) {
    if (!this.selected) return;
    const [start, end] = this.selected;
    this.spans.push({ start, end, stage });
    this.keep();
  }

  undo() {
    this.spans.pop();
    this.keep();
  }

  keep() {
    localStorage.setItem(this.kept, JSON.stringify(this.spans));
    setText(this.told, "");
    this.tell();
    this.changed();
  }

  tell() {
    const n = `${this.spans.length} ${this.spans.length === 1 ? "correction" : "corrections"}`;
    const span = this.selected ? `${clock(this.selected[0], true)} to ${clock(this.selected[1], true)} is selected` : "Drag over a span, or Shift and ← →";
    setText(this.what, `${span}; ${n}`);
    this.undoing.disabled = !this.spans.length;
  }

  // The letters of a window with what was corrected in them.
  correct(window) {
    const letters = Array.from(window.stages);
    for (const { start, end, stage } of this.spans) {
      const first = Math.max(0, Math.ceil((start - window.start) / window.step_s - 0.5));
      const last = Math.min(letters.length, Math.ceil((end - window.start) / window.step_s - 0.5));
      const { letter } = store.looks.get(stage);
      for (let i = first; i < last; i += 1) {
        if (letters[i] !== store.about.nothing) letters[i] = letter; // what is not there has no stage
      }
    }
    return { ...window, stages: letters.join("") };
  }

  async save() {
    const scorer = this.who.value.trim();
    localStorage.setItem("hypnod-scorer", scorer);
    try {
      const saved = await sendJson(`/api/subjects/${encodeURIComponent(this.name)}/scoring`, { scorer, spans: this.spans });
      const epochs = `${saved.epochs_changed} ${saved.epochs_changed === 1 ? "epoch" : "epochs"}`;
      setText(this.told, `saved, ${epochs} corrected: ${saved.files.join(" and ")}`);
    } catch (error) {
      setText(this.told, `not saved: ${error.message}`);
    }
  }

  // Does what a key asks for; returns whether it was one.
  key(event) {
    if ((event.ctrlKey || event.metaKey) && event.key === "z") this.undo();
    else if (!event.ctrlKey && !event.metaKey && !event.altKey && event.key in store.about.keys) this.give(store.about.keys[event.key]);
    else return false;
    return true;
  }
}
