// How times and numbers are written, and elements made.

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// Changes nothing where it is so already: an untouched node costs no layout, and is not read again.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function percent(fraction) {
  return `${Math.round(100 * fraction)} %`;
}

export function duration(seconds) {
  const s = Math.max(0, seconds);
  if (s < 99.5) return `${Math.round(s)} s`;
  if (s < 99.5 * 60) return `${Math.round(s / 60)} min`;
  return s < 99.5 * 3600 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
}

const two = (n) => String(n).padStart(2, "0");

export function clock(unix, seconds = false) {
  const t = new Date(1000 * unix);
  return `${two(t.getHours())}:${two(t.getMinutes())}${seconds ? `:${two(t.getSeconds())}` : ""}`;
}

// Black or white, whichever is read better on a colour (WCAG's relative luminance).
export function inkOn(colour) {
  const [r, g, b] = [1, 3, 5].map((i) => {
    const c = parseInt(colour.slice(i, i + 2), 16) / 255;
    return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000000" : "#ffffff";
}
