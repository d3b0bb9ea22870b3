// Asks the server: with the token where one is needed, and events as they come.

const KEY = "hypnod-token";
const RETRY_MS = 1000;

// A token comes once, behind the # of the address, which no server is told; then it leaves there.
export function takeToken() {
  const found = /^#token=([!-~]+)$/.exec(location.hash);
  if (found) {
    sessionStorage.setItem(KEY, found[1]);
    history.replaceState(null, "", "#/");
  }
}

export function setToken(token) {
  sessionStorage.setItem(KEY, token);
}

export function hasToken() {
  return sessionStorage.getItem(KEY) !== null;
}

export class Refused extends Error {}

async function ask(path, signal, options = {}) {
  const token = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const answer = await fetch(path, { ...options, headers, signal, cache: "no-store" });
  if (answer.status === 401) throw new Refused();
  if (!answer.ok) throw new Error(await answer.text());
  return answer;
}

export async function askJson(path, signal) {
  return (await ask(path, signal)).json();
}

export async function sendJson(path, content) {
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) };
  return (await ask(path, undefined, options)).json();
}

// Yields the content of each event of an answer.
async function* events(path, signal) {
  const reader = (await ask(path, signal)).body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      yield JSON.parse(text.slice("data: ".length, end));
      text = text.slice(end + 2);
    }
  }
}

// Comes true when somebody can see the tab.
function seen() {
  return new Promise((resolve) => {
    if (document.hidden) document.addEventListener("visibilitychange", () => resolve(seen()), { once: true });
    else resolve();
  });
}

// Follows events for ever, while the tab is seen: a browser has six connections to a server, for all
// of its tabs together, and the next one would not even open. `heard(event, first)`, and `silent()`
// whenever none has come for `patienceMs`. Returns what ends it.
export function follow(path, patienceMs, heard, silent, refused) {
  let over = false;
  let attempt = null;
  let watchdog = 0;
  const wait = () => {
    watchdog = setTimeout(() => {
      watchdog = 0;
      silent();
      attempt?.abort();
    }, patienceMs);
  };
  const hide = () => {
    if (document.hidden) attempt?.abort();
  };
  document.addEventListener("visibilitychange", hide);
  (async () => {
    for (;;) {
      await seen();
      if (over) return;
      attempt = new AbortController();
      if (!watchdog) wait();
      try {
        let first = true;
        for await (const event of events(path, attempt.signal)) {
          if (over) return;
          clearTimeout(watchdog);
          wait();
          heard(event, first);
          first = false;
        }
      } catch (error) {
        if (error instanceof Refused) {
          over = true;
          clearTimeout(watchdog);
          refused();
          return;
        }
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  })();
  return () => {
    over = true;
    clearTimeout(watchdog);
    document.removeEventListener("visibilitychange", hide);
    attempt?.abort();
  };
}
