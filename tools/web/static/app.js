// The page: one connection, and either all tiles or one subject.

import { askJson, follow, hasToken, Refused, setToken, takeToken } from "./connection.js";
import { clock, element, setText } from "./format.js";
import { SubjectView } from "./subject.js";
import { count, isPast, setAbout, store, take, utcNow } from "./store.js";
import { Tiles } from "./tiles.js";

const PATIENCE_TICKS = 4; // without an event for so many the server is lost
const RETRY_MS = 1000;

const main = document.getElementById("main");
const lost = document.getElementById("lost");
let view = null;

function route() {
  view?.close();
  const name = location.hash.replace(/^#\/?/, "");
  view = name ? new SubjectView(main, name) : new Tiles(main);
  document.title = name ? `${name} · hypnod` : "hypnod";
  view.show([...store.tiles.keys()]);
  view.drawAll?.();
}

function summarise() {
  if (isPast()) return `${store.names.length} subjects, a night that is over`;
  const { all, bad, warn } = count();
  const parts = [`${all - bad} of ${all} subjects staged`];
  if (bad) parts.push(`${bad} not`);
  if (warn) parts.push(`${warn} to look at`);
  for (const [what, why] of Object.entries(store.daemon?.troubles ?? {})) parts.push(`${what}: ${why}`);
  return store.lost ? "nothing is known now" : parts.join(" · ");
}

// A page that has lost the server, or a server that has lost the daemon, shows no stage as present.
function showState() {
  document.body.classList.toggle("is-lost", Boolean(store.lost));
  lost.hidden = !store.lost;
  if (store.lost) setText(lost, `Lost: ${store.lost}.${store.names.length ? " What is below is old." : ""}`);
  setText(document.getElementById("summary"), summarise());
}

function lose(why) {
  store.lost = why;
  showState();
  view?.show([]);
}

function askForToken() {
  const field = element("input", { type: "password", id: "token", autocomplete: "off", required: "" });
  const form = element("form", { class: "token" }, element("label", { for: "token" }, "Token"), field, element("button", {}, "Show"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    setToken(field.value.trim());
    start();
  });
  lose(hasToken() ? "the server refuses this token" : "the server asks for a token");
  main.replaceChildren(form);
  field.focus();
}

async function start() {
  try {
    setAbout(await askJson("/api/about"));
  } catch (error) {
    if (error instanceof Refused) return askForToken();
    lose("the server does not answer");
    setTimeout(start, RETRY_MS);
    return;
  }
  window.onhashchange = () => {
    route();
    main.focus();
  };
  route();
  const patience = 1000 * store.about.tick_s * PATIENCE_TICKS;
  follow("/api/events", patience, (update, first) => {
    const drawn = take(update, first);
    showState();
    view.show(drawn);
  }, () => lose("the server does not answer"), askForToken);
}

setInterval(() => {
  setText(document.getElementById("clock"), clock(utcNow()));
  view?.tick();
}, 1000);

takeToken();
start();
