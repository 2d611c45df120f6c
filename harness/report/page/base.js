// What everything else uses: elements, numbers, packed data, statuses, theme. Text only ever enters the page as text nodes.

const $ = (selector, root = document) => root.querySelector(selector);

function el(tag, attributes = {}, ...children) {
  return dress(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return dress(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function dress(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const STATUS = {
  c: { name: "correct", glyph: "✓" },
  w: { name: "wrong", glyph: "✗" },
  p: { name: "partial", glyph: "◐" },
  u: { name: "unparsed", glyph: "?" },
  t: { name: "timeout", glyph: "◷" },
  x: { name: "crashed", glyph: "✱" },
  r: { name: "refused", glyph: "⊘" },
  e: { name: "verifier_error", glyph: "!" },
};
const LETTER = Object.fromEntries(Object.entries(STATUS).map(([letter, { name }]) => [name, letter]));

function statusBadge(letter) {
  const { name, glyph } = STATUS[letter];
  return el("span", { class: `status s-${letter}` }, el("span", { "aria-hidden": "true" }, `${glyph} `), name.replace("_", " "));
}

function statusGlyph(letter) {
  if (letter === ".") return el("span", { class: "soft" }, el("span", { "aria-hidden": "true" }, "·"), el("span", { class: "sr" }, "missing"));
  const { name, glyph } = STATUS[letter];
  return el("span", { class: `s-${letter}` }, el("span", { "aria-hidden": "true" }, glyph), el("span", { class: "sr" }, name));
}

const count = (value) => value.toLocaleString("en-US");
const plural = (value, word) => `${count(value)} ${word}${value === 1 ? "" : "s"}`;
const significant = (value) => {
  if (Number.isInteger(value)) return count(value);
  return Math.abs(value) < 0.001 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
};

// Scores between 0 and 1 are shown in percent, others as they are.
function scoreScale(estimates) {
  const known = estimates.filter(Boolean);
  const unit = known.every(({ mean, low, high }) => [mean, low ?? mean, high ?? mean].every((x) => x >= 0 && x <= 1));
  return { unit, show: (x) => (unit ? (100 * x).toFixed(1) : x.toFixed(3)), signed: (x) => `${x > 0 ? "+" : x < 0 ? "−" : "±"}${unit ? (100 * Math.abs(x)).toFixed(1) : Math.abs(x).toFixed(3)}` };
}

const ICONS = {
  play: "M5 3l8 5-8 5z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  first: "M3 3h2v10H3zM13 3v10L6 8z",
  back: "M12 3v10L4 8z",
  forth: "M4 3l8 5-8 5z",
  last: "M11 3h2v10h-2zM3 3l7 5-7 5z",
};

function icon(name) {
  return svg("svg", { class: "icon", viewBox: "0 0 16 16", width: 14, height: 14, "aria-hidden": "true" }, svg("path", { d: ICONS[name] }));
}

async function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

// Portions of samples: blocks of this page, or scripts beside it that call unmaskChunk.
class Chunks {
  constructor({ count, folder }) {
    this.count = count;
    this.folder = folder;
    this.known = new Map();
    this.waiting = new Map();
    window.unmaskChunk = (number, packed) => this.waiting.get(number)?.(packed);
  }

  get(number) {
    if (!this.known.has(number)) {
      if (this.known.size >= 24) this.known.delete(this.known.keys().next().value);
      this.known.set(number, this.packed(number).then(unpack));
    }
    return this.known.get(number);
  }

  packed(number) {
    const block = document.getElementById(`chunk-${number}`);
    if (block) return Promise.resolve(block.textContent);
    return new Promise((resolve, reject) => {
      const script = el("script", { src: `${encodeURIComponent(this.folder)}/${number}.js`, load: () => script.remove() });
      script.addEventListener("error", () => reject(new Error(`${this.folder}/${number}.js is missing: it belongs beside this page`)));
      this.waiting.set(number, resolve);
      document.head.append(script);
    });
  }
}

const THEMES = ["auto", "light", "dark"];

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  const glyph = { auto: "◐", light: "☀", dark: "☾" }[theme];
  $("#theme-button").replaceChildren(el("span", { "aria-hidden": "true" }, glyph), el("span", { class: "sr" }, `Theme: ${theme}`));
  remember("unmask-theme", theme);
}

function nextTheme() {
  setTheme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length]);
}

function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // storage may be switched off for pages from disk; then nothing is remembered
  }
}

function remembered(name, fallback) {
  try {
    return localStorage.getItem(name) ?? fallback;
  } catch {
    return fallback;
  }
}
