// The tracks of a subject's past, one below the other, on one axis of time.

import uPlot from "./vendor/uplot/uPlot.esm.js";
import { clock } from "./format.js";
import { colourOf, darkness, levelsOf, nightColour } from "./strip.js";
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
  return { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, size: AXIS, label, labelSize: LABEL, labelFont: "12px system-ui, sans-serif", space: 24, ...more };
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

// Shades the dark, below everything.
function shade(u) {
  const { top, height } = u.bbox;
  u.ctx.fillStyle = nightColour();
  for (const [from, to] of darkness(u.scales.x.min, u.scales.x.max)) {
    const [x0, x1] = [u.valToPos(from, "x", true), u.valToPos(to, "x", true)];
    u.ctx.fillRect(x0, top, x1 - x0, height);
  }
}

function nameOf(letter) {
  return store.looks.get(letter)?.name ?? "";
}

// By all stages of the night, for a person may be in REM alone for as long as is shown.
const levelsIn = (window) => levelsOf(Object.keys(window.probabilities));

// A track knows its height and series, takes what it shows out of a story, and draws it.
export const HYPNOGRAM = {
  label: "Stage",
  height: 110,
  series: () => [told("stage", (_, __, ___, i) => (i === null ? "–" : nameOf(HYPNOGRAM.letters[i]) || "–"))],
  axis: (window) => {
    const levels = levelsIn(window);
    return valueAxis(null, { size: AXIS + LABEL, splits: levels.map((_, i) => levels.length - 0.5 - i), values: () => levels, grid: { show: false }, ticks: { show: false } });
  },
  range: (window) => [0, levelsIn(window).length],
  letters: "",
  take: (window) => {
    HYPNOGRAM.letters = window.stages;
    return [Array.from(window.stages, () => 0)];
  },
  draw: (u, window) => {
    const levels = levelsIn(window);
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

// Dark to bright, told apart without colour, too (an approximation of matplotlib's magma).
const MAGMA = [[0, 0, 4], [40, 17, 89], [101, 26, 128], [158, 47, 127], [214, 69, 108], [248, 118, 92], [254, 176, 120], [252, 253, 191]];

function magma(x) {
  const at = Math.min(Math.max(x, 0), 1) * (MAGMA.length - 1);
  const k = Math.min(Math.floor(at), MAGMA.length - 2);
  return MAGMA[k].map((c, i) => Math.round(c + (at - k) * (MAGMA[k + 1][i] - c)));
}

function quantile(sorted, q) {
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
}

const TOP_HZ = 30.5;

export const SPECTROGRAM = {
  label: "EEG spectrogram",
  height: 140,
  series: () => [told("strongest", (_, __, ___, i) => {
    const { eeg_db: db, bands_hz: bands } = SPECTROGRAM.window;
    if (i === null || !db.length || db[0][i] === null) return "–";
    const best = db.reduce((at, band, k) => (band[i] - 10 * Math.log10(width(bands[k])) > db[at][i] - 10 * Math.log10(width(bands[at])) ? k : at), 0);
    return `${bands[best][0]} to ${bands[best][1]} Hz`;
  })],
  axis: () => valueAxis("Hz", { grid: { show: false } }),
  range: () => [0.5, TOP_HZ],
  take: (window) => {
    SPECTROGRAM.window = window;
    return [Array.from(window.stages, () => 0)];
  },
  // Density: the bands are not as wide as each other. The colours go from its 5th to its 99.5th percentile.
  draw: (u, window) => {
    const shown = window.bands_hz.map((band, k) => [band, window.eeg_db[k]]).filter(([band]) => band[1] <= TOP_HZ);
    const density = shown.map(([band, db]) => db.map((v) => (v === null ? null : v - 10 * Math.log10(width(band)))));
    const known = density.flat().filter((v) => v !== null).sort((a, b) => a - b);
    if (!known.length) return;
    const [low, high] = [quantile(known, 0.05), quantile(known, 0.995)];
    const image = new ImageData(window.stages.length, 1);
    const row = document.createElement("canvas");
    [row.width, row.height] = [window.stages.length, 1];
    const { start, step_s: step } = window;
    const [x0, x1] = [start, start + step * window.stages.length].map((t) => u.valToPos(t, "x", true));
    u.ctx.imageSmoothingEnabled = false;
    shown.forEach(([band], k) => {
      density[k].forEach((v, i) => {
        const colour = v === null ? [0, 0, 0, 0] : [...magma((v - low) / Math.max(1, high - low)), 255];
        image.data.set(colour, 4 * i);
      });
      row.getContext("2d").putImageData(image, 0, 0);
      const [y0, y1] = [band[1], band[0]].map((hz) => Math.round(u.valToPos(hz, "y", true)));
      u.ctx.drawImage(row, x0, y0, x1 - x0, y1 - y0);
    });
  },
};

const width = ([low, high]) => high - low;

export const EMG = {
  label: "EMG level",
  height: 90,
  series: () => [{ label: "EMG", stroke: colours().ink, width: 1, points: { show: false }, value: (_, v) => (v === null || v === undefined ? "–" : `${v.toFixed(1)} dB`) }],
  axis: () => valueAxis("dB re 1 µV²"),
  range: () => {
    const known = EMG.levels.filter((v) => v !== null);
    return known.length ? [Math.floor(Math.min(...known)) - 1, Math.ceil(Math.max(...known)) + 1] : [0, 1];
  },
  take: (window) => {
    EMG.levels = window.emg_db.map((v) => (v === null ? null : v / 10));
    return [EMG.levels];
  },
  draw: nothing,
};

// The tracks that there are, drawn anew with every story; `moved(start, end)` when a span is dragged.
export class Tracks {
  constructor(place, moved) {
    this.place = place;
    this.moved = moved;
    this.selected = null; // a span to be marked, Unix time, s
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
        scales: { x: { time: true, auto: false }, y: { range: () => track.range(this.window) } },
        axes: [{ ...timeAxis(), ...(last ? { size: 34 } : { values: (_, at) => at.map(() => ""), size: 6 }) }, track.axis(this.window)],
        series: [{ label: "time", value: (_, t) => (t === null || t === undefined ? "–" : clock(t, true)) }, ...track.series(this.window)],
        cursor: { sync: { key: this.sync.key }, drag: { x: true, y: false, setScale: false }, points: { show: false } },
        legend: { live: true },
        hooks: {
          drawClear: [(u) => within(u, () => shade(u))],
          draw: [(u) => within(u, () => track.draw(u, this.window)), (u) => within(u, () => this.mark(u))],
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

  setSelected(span) {
    this.selected = span;
    for (const plot of this.plots) plot.redraw(false);
  }

  mark(u) {
    if (!this.selected) return;
    const [x0, x1] = this.selected.map((t) => u.valToPos(t, "x", true));
    const { top, height } = u.bbox;
    u.ctx.fillStyle = "rgba(128, 128, 128, 0.35)";
    u.ctx.fillRect(x0, top, x1 - x0, height);
    u.ctx.strokeStyle = colours().ink;
    u.ctx.strokeRect(x0, top, x1 - x0, height);
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
