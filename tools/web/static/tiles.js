// All subjects on one screen, a tile each.

import { clock, duration, element, percent, setText } from "./format.js";
import { drawStrip } from "./strip.js";
import { inOrder, isPast, since, store, utcNow } from "./store.js";

const MANY = 24; // from so many on tiles are small
const LEAST_S = 1800; // a strip is at least so long

export class Tiles {
  constructor(main) {
    this.made = new Map();
    this.list = element("ul", { class: "tiles", "aria-label": "Subjects" });
    main.replaceChildren(this.list);
    this.resized = new ResizeObserver(() => this.drawAll());
    this.resized.observe(this.list);
  }

  close() {
    this.resized.disconnect();
  }

  show(drawn) {
    const order = inOrder();
    this.list.classList.toggle("many", order.length > MANY);
    for (const [name, tile] of this.made) {
      if (!store.tiles.has(name)) {
        tile.item.remove();
        this.made.delete(name);
      }
    }
    for (const name of order) {
      if (!this.made.has(name)) this.made.set(name, new Tile(name));
    }
    this.arrange(order.map((name) => this.made.get(name).item));
    for (const name of order) this.made.get(name).show(store.tiles.get(name));
    for (const name of drawn) this.made.get(name)?.draw();
    this.tick();
  }

  // Moves what is out of place, and leaves the focus where it was.
  arrange(items) {
    const focused = document.activeElement;
    items.forEach((item, i) => {
      if (this.list.children[i] !== item) this.list.insertBefore(item, this.list.children[i] ?? null);
    });
    if (focused !== document.activeElement && this.list.contains(focused)) focused.focus();
  }

  tick() {
    for (const tile of this.made.values()) tile.tick();
  }

  drawAll() {
    for (const tile of this.made.values()) tile.draw();
  }
}

class Tile {
  constructor(name) {
    this.name = name;
    const part = (tag, className) => element(tag, { class: className });
    this.age = part("span", "age");
    this.stage = part("span", "stage");
    this.confidence = part("span", "confidence");
    this.quality = part("span", "quality");
    this.troubles = part("span", "troubles");
    this.rules = part("span", "rules");
    this.canvas = element("canvas", { class: "strip", "aria-hidden": "true" });
    this.times = element("span", { class: "times", "aria-hidden": "true" }, element("span"), element("span"));
    const head = element("span", { class: "head" }, element("span", { class: "name" }, name), " ", this.age);
    const now = isPast() ? "" : element("span", { class: "now" }, this.stage, " ", this.confidence);
    const link = element("a", { href: `#/${name}` }, head, " ", now, this.canvas, this.times, " ", this.quality, " ", this.troubles, " ", this.rules);
    this.item = element("li", { class: "tile" }, link);
  }

  show(tile) {
    this.tile = tile;
    this.item.dataset.level = tile.level;
    showStage(tile, this.stage, this.confidence);
    setText(this.quality, describeQuality(tile));
    setText(this.troubles, tile.troubles.join("; "));
    setText(this.rules, describeRules(tile));
  }

  tick() {
    const s = this.tile ? since(this.tile) : null;
    setText(this.age, s === null ? (isPast() ? "" : "no epoch") : `${duration(s)} ago`);
  }

  draw() {
    const strip = store.strips.get(this.name);
    if (!strip) return;
    const end = utcNow();
    const start = Math.max(end - 3600 * store.about.hours, Math.min(strip.first * strip.cell_s, end - LEAST_S));
    drawStrip(this.canvas, strip, Object.keys(this.tile?.probabilities ?? {}), start, end);
    setText(this.times.firstChild, clock(start));
    setText(this.times.lastChild, clock(end));
  }
}

// The stage and how sure it is; nothing that is old looks like the present.
export function showStage(tile, stage, confidence) {
  setText(stage, store.lost ? "?" : (tile.stage ?? "–"));
  stage.dataset.stage = store.lost ? "" : (tile.stage ?? "");
  setText(confidence, tile.confidence && !store.lost ? percent(tile.confidence) : "");
}

export function describeQuality(tile) {
  const parts = Object.entries(tile.validity).map(([name, why]) => `${name.toUpperCase()} ${why.replaceAll("_", " ")}`);
  if (tile.drift !== null) parts.push(`drift ${tile.drift.toFixed(1)}`);
  if (tile.filling) parts.push("filling");
  return parts.join(" · ");
}

export function describeRules(tile) {
  const parts = tile.rules.map((rule) => `${rule.name} ${rule.armed ? "armed" : "not armed"}`);
  if (tile.pulse) parts.push(`pulse ${duration(utcNow() - tile.pulse.at)} ago`);
  return parts.join(" · ");
}
