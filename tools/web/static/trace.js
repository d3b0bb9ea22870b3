// The live signals of an animal, as the model reads them, of the last seconds.

import uPlot from "./vendor/uplot/uPlot.esm.js";
import { follow } from "./connection.js";
import { element, setText } from "./format.js";
import { timeAxis, valueAxis } from "./tracks.js";

const LENGTHS = [10, 20, 30]; // s
const KEPT_S = 30;
const PATIENCE_MS = 5000;
const HEIGHT = 110;
const USUAL = 0.995; // of the values lie within the plot; a spike may leave it

export class Trace {
  constructor(name) {
    this.seconds = LENGTHS[1];
    this.plots = new Map(); // by modality: plot, times, values, reach
    this.place = element("div", { class: "tracks" });
    this.state = element("span", { class: "shown", role: "status" }, "waiting for the next epoch …");
    this.buttons = LENGTHS.map((s) => {
      const button = element("button", { type: "button", "aria-label": `show the last ${s} s` }, `${s} s`);
      button.addEventListener("click", () => this.setLength(s));
      return button;
    });
    const bar = element("div", { class: "toolbar", role: "toolbar", "aria-label": "Length of the live signals" }, ...this.buttons, this.state);
    this.node = element("figure", { class: "past" }, element("figcaption", {}, "Live signals"), bar, this.place);
    this.setLength(this.seconds);
    this.resized = new ResizeObserver(() => this.fit());
    this.resized.observe(this.place);
    const lose = () => this.lose();
    this.end = follow(`/api/subjects/${encodeURIComponent(name)}/trace`, PATIENCE_MS, (message) => this.take(message), lose, lose);
  }

  setLength(seconds) {
    this.seconds = seconds;
    this.buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(LENGTHS[i] === seconds)));
    this.draw();
  }

  take(message) {
    if (!message) {
      if (performance.now() - (this.heard ?? 0) > PATIENCE_MS) this.lose();
      return;
    }
    this.heard = performance.now();
    const start = Date.parse(message.utc) / 1000;
    for (const [modality, values] of Object.entries(message.microvolts)) {
      this.append(this.plots.get(modality) ?? this.make(modality), start, message.span_s / values.length, values);
    }
    setText(this.state, "");
    this.draw();
  }

  append(kept, start, step, values) {
    const newest = kept.times.at(-1) ?? -Infinity;
    if (start < newest - step) Object.assign(kept, { times: [], values: [] }); // another clock
    else if (start > newest + 2 * step && kept.times.length) {
      kept.times.push(newest + step); // a gap is no line
      kept.values.push(null);
    }
    values.forEach((value, i) => {
      kept.times.push(start + (i + 0.5) * step);
      kept.values.push(value);
    });
    const end = kept.times.at(-1);
    const n = kept.times.findIndex((t) => t >= end - KEPT_S);
    kept.times.splice(0, n);
    kept.values.splice(0, n);
  }

  lose() {
    setText(this.state, "no live signal comes");
  }

  make(modality) {
    const kept = { times: [], values: [], reach: 1 };
    const ink = getComputedStyle(document.documentElement).getPropertyValue("--ink");
    kept.plot = new uPlot(
      {
        width: this.width(),
        height: HEIGHT,
        scales: { x: { time: true, auto: false }, y: { range: () => [-kept.reach, kept.reach] } },
        axes: [{ ...timeAxis(), size: 26 }, valueAxis(`${modality.toUpperCase()} µV`)],
        series: [{}, { stroke: ink, width: 1, points: { show: false } }],
        cursor: { show: false },
        legend: { show: false },
      },
      [[], []],
      this.place,
    );
    kept.plot.root.setAttribute("role", "img");
    kept.plot.root.setAttribute("aria-label", `${modality.toUpperCase()}, live`);
    this.plots.set(modality, kept);
    return kept;
  }

  draw() {
    for (const kept of this.plots.values()) {
      const sizes = kept.values.filter((v) => v).map(Math.abs).sort((a, b) => a - b);
      const usual = sizes[Math.floor(USUAL * (sizes.length - 1))] ?? 1;
      if (usual > kept.reach || usual < kept.reach / 4) kept.reach = roundUp(1.3 * usual);
      kept.plot.setData([kept.times, kept.values], false);
      const end = kept.times.at(-1) ?? 0;
      kept.plot.setScale("x", { min: end - this.seconds, max: end });
    }
  }

  width() {
    return Math.max(240, this.place.clientWidth);
  }

  fit() {
    for (const { plot } of this.plots.values()) plot.setSize({ width: this.width(), height: HEIGHT });
  }

  close() {
    this.end();
    this.resized.disconnect();
    for (const { plot } of this.plots.values()) plot.destroy();
  }
}

// The next of 1, 2, 5, 10, 20, …
function roundUp(value) {
  const unit = 10 ** Math.floor(Math.log10(Math.max(value, 1e-3)));
  return unit * [1, 2, 5, 10].find((n) => n * unit >= value);
}
