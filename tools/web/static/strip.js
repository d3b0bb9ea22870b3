// A hypnogram as a strip: Wake at the top, REM in the middle, NREM at the bottom, on light and dark.

import { store } from "./store.js";

// In the order of a hypnogram, from the top; what is no stage has no level.
const MOUSE = ["Wake", "REM", "NREM"];
const HUMAN = ["W", "REM", "N1", "N2", "N3"];

export function levelsOf(names) {
  return names.some((name) => name !== "REM" && HUMAN.includes(name)) ? HUMAN : MOUSE;
}

// The commonest letter of a piece of a strip; nothing counts only where there is nothing else.
function commonest(letters, from, to) {
  const votes = {};
  let best = store.about.nothing;
  for (let i = from; i < to; i++) {
    const letter = letters[i];
    if (letter === undefined || letter === store.about.nothing) continue;
    votes[letter] = (votes[letter] ?? 0) + 1;
    if (!(votes[best] >= votes[letter])) best = letter;
  }
  return best;
}

// Makes a canvas as sharp as the screen; returns its context and size in CSS pixels.
export function prepare(canvas) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const ratio = window.devicePixelRatio || 1;
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

export function colourOf(name) {
  return store.looks.get(name)?.colour ?? "#888888";
}

// The spans of [start, end] in which it is dark; none where it is not known when it is light.
export function darkness(start, end) {
  const dark = [];
  let from = start;
  for (const [on, off] of store.lights) {
    if (on > from) dark.push([from, Math.min(on, end)]);
    from = Math.max(from, off);
  }
  if (store.lights.length && from < end) dark.push([from, end]);
  return dark.filter(([a, b]) => a < b);
}

export function nightColour() {
  return getComputedStyle(document.documentElement).getPropertyValue("--night");
}

// Draws the epochs of [start, end], Unix time, s; `stages` are those of the subject, as far as known.
export function drawStrip(canvas, strip, stages, start, end) {
  const { context, width, height } = prepare(canvas);
  if (!width) return;
  const step = (end - start) / width;
  context.fillStyle = nightColour();
  for (const [from, to] of darkness(start, end)) context.fillRect((from - start) / step, 0, (to - from) / step, height);
  const names = [...new Set(strip.letters)].map((letter) => store.looks.get(letter)?.name ?? "");
  const levels = levelsOf([...stages, ...names]);
  const thick = height / levels.length;
  for (let x = 0; x < width; x++) {
    const from = (start + x * step) / strip.cell_s - strip.first;
    const to = Math.max(from + step / strip.cell_s, Math.floor(from) + 1);
    const look = store.looks.get(commonest(strip.letters, Math.max(0, Math.floor(from)), Math.floor(to)));
    if (!look) continue;
    const level = levels.indexOf(look.name);
    context.fillStyle = look.colour;
    if (level < 0) context.fillRect(x, height - 2, 1, 2);
    else context.fillRect(x, level * thick, 1, thick);
  }
}
