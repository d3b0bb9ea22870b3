// What the server has told: stages and their looks, the daemon, and of each subject tile and strip.

import { inkOn } from "./format.js";

export const store = {
  about: null,
  looks: new Map(), // by letter and by name
  names: [],
  tiles: new Map(),
  strips: new Map(),
  lights: [], // from when to when it is light, Unix time, s
  daemon: null,
  lost: "connecting …", // why nothing is known now; null where all is as told
  heard: null, // of the last event: the server's clocks, and this page's
};

const RANK = { bad: 0, warn: 1, fine: 2 };

export function setAbout(about) {
  store.about = about;
  for (const stage of about.stages) {
    store.looks.set(stage.letter, stage);
    store.looks.set(stage.name, stage);
    const root = document.documentElement.style;
    root.setProperty(`--stage-${stage.name}`, stage.colour);
    root.setProperty(`--ink-${stage.name}`, inkOn(stage.colour));
  }
}

// Takes an event in; returns the names of those whose strip changed.
export function take(update, first) {
  if (first) {
    store.tiles.clear();
    store.strips.clear();
  }
  store.heard = { now: update.now, utc: update.utc, at: performance.now() };
  store.daemon = update.daemon;
  store.lost = update.daemon.lost;
  store.names = update.names;
  if (update.lights) store.lights = update.lights;
  const drawn = [];
  for (const tile of update.tiles) {
    store.tiles.set(tile.name, tile);
    if (tile.strip && extend(tile.name, tile.strip)) drawn.push(tile.name);
  }
  for (const name of store.tiles.keys()) {
    if (!update.names.includes(name)) store.tiles.delete(name);
  }
  return drawn;
}

function extend(name, told) {
  const strip = store.strips.get(name);
  if (told.whole || !strip) {
    store.strips.set(name, { first: told.first, cell_s: told.cell_s, letters: told.letters });
    return true;
  }
  const kept = strip.letters.slice(0, told.first - strip.first);
  const letters = kept + told.letters;
  if (letters === strip.letters) return false;
  const most = Math.ceil((3600 * store.about.hours) / strip.cell_s);
  strip.letters = letters.slice(-most);
  strip.first = told.first + told.letters.length - strip.letters.length;
  return true;
}

// Seconds since the newest epoch of a subject ended, now.
export function since(tile) {
  if (tile.ended === null || !store.heard) return null;
  return store.heard.now - tile.ended + (performance.now() - store.heard.at) / 1000;
}

// Whether this is a night that is over.
export function isPast() {
  return Object.keys(store.about?.keys ?? {}).length > 0;
}

// The time of day by the server, or the end of a night that is over, Unix time, s.
export function utcNow() {
  if (isPast()) return store.heard?.utc ?? 0;
  return store.heard ? store.heard.utc + (performance.now() - store.heard.at) / 1000 : Date.now() / 1000;
}

// The names, those in trouble first, else in the order of the config.
export function inOrder() {
  const rank = (name) => RANK[store.tiles.get(name)?.level ?? "bad"];
  return store.names.map((name, i) => [rank(name), i, name]).sort((a, b) => a[0] - b[0] || a[1] - b[1]).map((x) => x[2]);
}

export function count() {
  const levels = store.names.map((name) => store.tiles.get(name)?.level ?? "bad");
  return { all: levels.length, bad: levels.filter((l) => l === "bad").length, warn: levels.filter((l) => l === "warn").length };
}
