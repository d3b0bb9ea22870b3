// The tracks of a subject's past, one below the other, on one axis of time.

import uPlot from "./vendor/uplot/uPlot.esm.js";
import { clock } from "./format.js";
import { colourOf, levelsOf } from "./strip.js";
import { store } from "./store.js";

const LABEL = 16;
const AXIS = 48; // width of the axes on the left, which lets the tracks lie below each other

function colours() {
  const style = getComputedStyle(document.documentElement);
  return { ink: style.getPropertyValue("--faint"), line: style.getPropertyValue("--line") };
}

export function timeAxis() {
  const { ink, line } = colours();
  return {
    stroke: ink,
    grid: { stroke: line, width: 1 },
    ticks: { stroke: line, width: 1 },
    space: 70,
    values: (_, at, __, ___, step) => at.map((t) => clock(t, step < 60)),
  };
}

export function valueAxis(label, more = {}) {
  const { ink, line } = colours();
  return { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, size: AXIS, label, labelSize: LABEL, labelFont: "12px system-ui, sans-serif", ...more };
}

const nothing = () => null;

// One series that is told in the legend and drawn by a hook.
const told = (label, value) => ({ label, stroke: "transparent", paths: nothing, points: { show: false }, value });

// Fills [from, to) of the axis of time, and of that of values, with a colour.
function fill(u, colour, from, to, low, high) {
  const [x0, x1] = [u.valToPos(from, "x", true), u.valToPos(to, "x", true)];
  const [y0, y1] = [u.valToPos(high, "y", true), u.valToPos(low, "y", true)];
  u.ctx.fillStyle = colour;
  u.ctx.fillRect(Math.floor(x0), y0, Math.max(1, Math.ceil(x1) - Math.floor(x0)), y1 - y0);
}

// Draws within the plot, whatever reaches beyond it.
function within(u, draw) {
  const { left, top, width, height } = u.bbox;
  u.ctx.save();
  u.ctx.beginPath();
  u.ctx.rect(left, top, width, height);
  u.ctx.clip();
  draw();
  u.ctx.restore();
}

function nameOf(letter) {
  return store.looks.get(letter)?.name ?? "";
}

// A track knows its height and series, takes what it shows out of a story, and draws it.
export const HYPNOGRAM = {
  label: "Stage",
  height: 110,
  series: () => [told("stage", (_, __, ___, i) => (i === null ? "–" : nameOf(HYPNOGRAM.letters[i]) || "–"))],
  axis: () => {
    const levels = levelsOf([...new Set(HYPNOGRAM.letters)].map(nameOf));
    return valueAxis(null, { size: AXIS + LABEL, splits: levels.map((_, i) => levels.length - 0.5 - i), values: () => levels, grid: { show: false }, ticks: { show: false } });
  },
  range: () => [0, levelsOf([...new Set(HYPNOGRAM.letters)].map(nameOf)).length],
  letters: "",
  take: (window) => {
    HYPNOGRAM.letters = window.stages;
    return [Array.from(window.stages, () => 0)];
  },
  draw: (u, window) => {
    const levels = levelsOf([...new Set(window.stages)].map(nameOf));
    Array.from(window.stages).forEach((letter, i) => {
      const name = nameOf(letter);
      if (!name) return;
      const at = levels.indexOf(name);
      const from = window.start + i * window.step_s;
      const low = at < 0 ? 0 : levels.length - 1 - at;
      fill(u, colourOf(name), from, from + window.step_s, low, at < 0 ? 0.08 : low + 1);
    });
  },
};

export const HYPNODENSITY = {
  label: "Hypnodensity",
  height: 130,
  series: (window) => Object.keys(window.probabilities).map((name) => told(name, (_, value) => (value === null || value === undefined ? "–" : `${value} %`))),
  axis: () => valueAxis("%"),
  range: () => [0, 100],
  take: (window) => Object.values(window.probabilities),
  draw: (u, window) => {
    const stages = Object.entries(window.probabilities);
    for (let i = 0; i < window.stages.length; i++) {
      let low = 0;
      const from = window.start + i * window.step_s;
      stages.forEach(([name, values], k) => {
        if (values[i] === null) return;
        const high = k === stages.length - 1 ? 100 : low + values[i]; // rounded, they make 99 or 101
        fill(u, colourOf(name), from, from + window.step_s, low, high);
        low = high;
      });
    }
  },
};

// The tracks that there are, drawn anew with every story; `moved(start, end)` when a span is dragged.
export class Tracks {
  constructor(place, moved) {
    this.place = place;
    this.moved = moved;
    this.plots = [];
    this.sync = uPlot.sync("past");
    this.window = null;
    this.resized = new ResizeObserver(() => this.fit());
    this.resized.observe(place);
  }

  show(window, tracks, span) {
    const key = `${tracks.map((track) => track.label)}|${Object.keys(window.probabilities)}|${window.stages.length > 0}`;
    this.window = window;
    this.span = span;
    const times = Array.from(window.stages, (_, i) => window.start + (i + 0.5) * window.step_s);
    const data = tracks.map((track) => [times, ...track.take(window)]);
    if (key !== this.key) {
      this.clear();
      this.key = key;
      this.plots = tracks.map((track, i) => this.make(track, data[i], i === tracks.length - 1));
    } else {
      this.plots.forEach((plot, i) => plot.setData(data[i], false));
    }
    for (const plot of this.plots) plot.setScale("x", { min: span[0], max: span[1] });
  }

  make(track, data, last) {
    const plot = new uPlot(
      {
        width: this.width(),
        height: track.height + (last ? 34 : 6),
        scales: { x: { time: true, auto: false }, y: { auto: false, range: (u) => track.range(this.window, u) } },
        axes: [{ ...timeAxis(), ...(last ? { size: 34 } : { values: (_, at) => at.map(() => ""), size: 6 }) }, track.axis(this.window)],
        series: [{ label: "time", value: (_, t) => (t === null || t === undefined ? "–" : clock(t, true)) }, ...track.series(this.window)],
        cursor: { sync: { key: this.sync.key }, drag: { x: true, y: false, setScale: false }, points: { show: false } },
        legend: { live: true },
        hooks: {
          draw: [(u) => within(u, () => track.draw(u, this.window))],
          setSelect: [(u) => this.select(u)],
        },
      },
      data,
      this.place,
    );
    plot.root.setAttribute("role", "img");
    plot.root.setAttribute("aria-label", track.label);
    return plot;
  }

  select(u) {
    const { left, width } = u.select;
    if (width > 4) this.moved(u.posToVal(left, "x"), u.posToVal(left + width, "x"));
    u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
  }

  width() {
    return Math.max(240, this.place.clientWidth);
  }

  fit() {
    for (const plot of this.plots) plot.setSize({ width: this.width(), height: plot.height });
  }

  clear() {
    for (const plot of this.plots) plot.destroy();
    this.plots = [];
  }

  close() {
    this.resized.disconnect();
    this.clear();
  }
}
