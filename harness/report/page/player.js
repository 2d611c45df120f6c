// The trajectory player: the tokens of one response, in the order in which they were fixed.

// What is on show: cells (a token, or the few tokens that make up one character) and what each reads at every step.
class Trajectory {
  constructor(entry) {
    this.entry = entry;
    this.pieces = entry.p ?? entry.i.map((id) => `[${id}]`);
    this.special = new Set(entry.sp ?? []);
    this.steps = [];
    let step = 0;
    for (const delta of entry.s ?? []) this.steps.push((step += delta));
    this.events = (entry.e ?? []).map(([at, position, before, after, kind]) => ({ at, position, before, after, kind }));
    this.length = Math.max(-1, ...this.steps, ...this.events.map(({ at }) => at)) + 1;
    this.cells = this.makeCells();
    this.fixed = new Array(this.length).fill(0);
    for (const at of this.steps) this.fixed[at] += 1;
  }

  makeCells() {
    const cells = [];
    const changes = groupBy(this.events, ({ position }) => position);
    let first = 0;
    for (let last = 0; last < this.pieces.length; last += 1) {
      if (this.pieces[last] === "" && last + 1 < this.pieces.length && !this.special.has(last + 1)) continue;
      cells.push(this.makeCell(first, last, changes.get(last) ?? []));
      first = last + 1;
    }
    return cells;
  }

  makeCell(first, last, changes) {
    const step = Math.max(...this.steps.slice(first, last + 1));
    const initial = changes.length && changes[0].kind !== "insert" ? changes[0].before : this.pieces[last];
    const states = [{ at: step, text: initial, kind: "fixed" }];
    // "remask" makes it a mask, "unmask" fixes it again, the others replace it.
    for (const { at, after, kind } of changes) states.push({ at, text: kind === "remask" ? null : after, kind });
    // A token that is masked again is fixed once more before the end; the record does not say when.
    if (changes.length && states.at(-1).text === null) states.push({ at: this.length - 1, text: this.pieces[last], kind: "edit" });
    return { first, last, step, states, text: this.pieces[last], special: this.special.has(last), cut: first >= this.entry.n, block: this.blockOf(first) };
  }

  // Blocks lie at multiples of the block size, counted from `o` tokens before the response.
  blockOf(token) {
    return Math.floor((token + (this.entry.o ?? 0)) / this.entry.b);
  }

  // What a cell reads after `done` steps.
  read(cell, done) {
    let current = null;
    for (const state of cell.states) if (state.at < done) current = state;
    return current;
  }

  // The rendered text of the response proper and where each cell begins in it, in UTF-16 units.
  textPlaces() {
    let length = 0;
    return this.cells.map((cell) => {
      const start = length;
      if (!cell.special && !cell.cut) length += cell.text.length;
      return [start, length];
    });
  }
}

function groupBy(values, key) {
  const groups = new Map();
  for (const value of values) groups.set(key(value), [...(groups.get(key(value)) ?? []), value]);
  return groups;
}

const SHADES = { confidence: "confidence", order: "order", none: "no shading" };

class Player {
  constructor(entry, name) {
    this.trajectory = new Trajectory(entry);
    this.entry = entry;
    this.done = this.trajectory.length;
    this.timer = null;
    this.inspected = -1;
    this.followers = [];
    this.node = el("div", { class: "player", role: "group", "aria-label": `Trajectory${name ? ` of run ${name}` : ""}` }, this.controls(), this.tokens(), this.strip(), this.readoutLine(), this.inspectLine(), this.eventList());
    this.shade(remembered("unmask-shade", "confidence"));
    this.show(this.done);
  }

  controls() {
    const button = (label, glyph, act, extra = {}) => el("button", { type: "button", "aria-label": label, title: label, click: act, ...extra }, glyph);
    this.playButton = el("button", { type: "button", class: "play", click: () => this.toggle() }, icon("play"), "Play");
    this.slider = el("input", { type: "range", min: 0, max: this.trajectory.length, step: 1, "aria-label": "Denoising step", input: () => { this.pause(); this.seek(Number(this.slider.value)); } });
    return el(
      "div",
      { class: "controls" },
      this.playButton,
      button("All masked", icon("first"), () => { this.pause(); this.seek(0); }),
      button("One step back", icon("back"), () => this.step(-1)),
      button("One step forth", icon("forth"), () => this.step(1)),
      button("All fixed", icon("last"), () => { this.pause(); this.seek(this.trajectory.length); }),
      this.slider,
    );
  }

  // How many tokens each step fixed; edits as marks on top. A click goes there.
  strip() {
    const { fixed, length, events } = this.trajectory;
    const top = Math.max(...fixed, 1);
    this.bars = fixed.map((n, at) => svg("rect", { x: at + 0.08, width: 0.84, y: 30 - (28 * n) / top, height: (28 * n) / top }));
    const marks = [...new Set(events.map(({ at }) => at))].map((at) => svg("rect", { class: "edit", x: at + 0.08, width: 0.84, y: 0, height: 3 }));
    const picture = svg("svg", { class: "strip", viewBox: `0 0 ${length || 1} 32`, preserveAspectRatio: "none", role: "img", "aria-label": `Tokens fixed in each of ${length} steps, at most ${top}` }, this.bars, marks);
    picture.style.setProperty("max-width", `${Math.max(length, 4) * 1.75}rem`); // a few steps need no wide bars
    picture.addEventListener("click", (event) => {
      const box = picture.getBoundingClientRect();
      this.pause();
      this.seek(Math.min(length, Math.floor((length * (event.clientX - box.left)) / box.width) + 1));
    });
    return picture;
  }

  readoutLine() {
    this.readout = el("span", { role: "status" });
    this.shadeSelect = el("select", { "aria-label": "Shading", change: () => this.shade(this.shadeSelect.value) }, Object.entries(SHADES).map(([value, label]) => el("option", { value }, value === "none" ? label : `shade: ${label}`)));
    this.scale = el("span", { class: "scale" });
    return el("div", { class: "readout" }, this.readout, this.scale, this.shadeSelect);
  }

  tokens() {
    const places = this.trajectory.textPlaces();
    const rewards = this.entry.r ?? [];
    let block = null;
    const nodes = this.trajectory.cells.map((cell, number) => {
      const classes = ["tok"];
      if (cell.special) classes.push("special");
      if (cell.cut) classes.push("cut");
      const edge = block !== null && cell.block !== block && el("span", { class: "edge", "aria-hidden": "true" });
      block = cell.block;
      const [start, end] = places[number];
      const span = rewards.find(([from, to]) => start < to && end > from && end > start);
      if (span && span[2] !== 0) classes.push(span[2] > 0 ? "stepped-up" : "stepped-down");
      const node = el("span", { class: classes.join(" "), "data-cell": number });
      const confidence = Math.min(...this.entry.c.slice(cell.first, cell.last + 1));
      node.style.setProperty("--doubt-share", String(Math.min(Math.max(100 - confidence, 0), 100) * 0.85));
      node.style.setProperty("--order", String((100 * cell.step) / Math.max(this.trajectory.length - 1, 1)));
      cell.node = node;
      cell.base = node.className;
      cell.gains = rewards.filter(([, to]) => start < to && end >= to && end > start).map((reward) => this.gain(reward));
      return [edge, node, cell.gains];
    });
    this.area = el("div", { class: "tokens", tabindex: 0, role: "group", "aria-label": "Response, token by token; arrow keys walk the tokens" }, nodes);
    this.area.addEventListener("pointerover", (event) => this.inspect(Number(event.target.closest("[data-cell]")?.dataset.cell ?? -1)));
    this.area.addEventListener("keydown", (event) => this.walk(event));
    return this.area;
  }

  gain([, , value]) {
    const side = value > 0 ? "up" : value < 0 ? "down" : "flat";
    return el("span", { class: `gain ${side}`, title: "step reward" }, el("span", { class: "sr" }, "step reward "), `${value > 0 ? "+" : ""}${significant(value)}`);
  }

  inspectLine() {
    this.inspectNode = el("p", { class: "inspect" }, "Point at a token for its step and confidence.");
    return this.inspectNode;
  }

  eventList() {
    const { events } = this.trajectory;
    if (!events.length) return null;
    const items = events.map(({ at, position, before, after, kind }) =>
      el("li", {}, el("button", { type: "button", click: () => { this.pause(); this.seek(at + 1); } }, `step ${at + 1}`), ` ${kind} at token ${position + 1}: `, el("code", {}, kind === "unmask" ? "mask" : visible(before)), " → ", el("code", {}, kind === "remask" ? "mask" : visible(after))),
    );
    return el("details", { open: events.length <= 6 }, el("summary", {}, plural(events.length, "change"), " to tokens that were fixed"), el("ul", { class: "events" }, items));
  }

  walk(event) {
    const moves = { ArrowLeft: -1, ArrowUp: -10, ArrowRight: 1, ArrowDown: 10 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    event.stopPropagation();
    this.inspect(Math.min(Math.max(this.inspected + moves[event.key], 0), this.trajectory.cells.length - 1));
    this.trajectory.cells[this.inspected]?.node.scrollIntoView({ block: "nearest" });
  }

  inspect(number) {
    const cell = this.trajectory.cells[number];
    if (!cell || number === this.inspected) return;
    this.trajectory.cells[this.inspected]?.node.classList.remove("inspected");
    this.inspected = number;
    cell.node.classList.add("inspected");
    const tokens = cell.first === cell.last ? `token ${cell.first + 1}` : `tokens ${cell.first + 1} to ${cell.last + 1}`;
    const confidence = Math.min(...this.entry.c.slice(cell.first, cell.last + 1));
    const shown = this.trajectory.read(cell, this.done)?.text ?? null;
    this.inspectNode.replaceChildren(
      el("code", {}, shown === null ? "masked" : visible(shown)),
      ` ${tokens} · block ${cell.block + 1} · fixed in step ${cell.step + 1} · confidence ${(confidence / 100).toFixed(2)}${cell.cut ? " · behind the end, counts for nothing" : ""}`,
    );
  }

  shade(kind) {
    this.area.dataset.shade = kind in SHADES ? kind : "confidence";
    this.shadeSelect.value = this.area.dataset.shade;
    const ends = { confidence: ["unsure", "sure"], order: ["first", "last"], none: null }[this.area.dataset.shade];
    this.scale.replaceChildren(...(ends ? [ends[0], el("i", { class: this.area.dataset.shade, "aria-hidden": "true" }), ends[1]] : []));
    remember("unmask-shade", this.area.dataset.shade);
  }

  nextShade() {
    const kinds = Object.keys(SHADES);
    this.shade(kinds[(kinds.indexOf(this.area.dataset.shade) + 1) % kinds.length]);
  }

  step(by) {
    this.pause();
    this.seek(this.done + by);
  }

  seek(done) {
    this.show(Math.min(Math.max(done, 0), this.trajectory.length));
  }

  show(done) {
    const { trajectory } = this;
    this.done = done;
    const open = this.openBlock(done);
    let fixed = 0;
    for (const cell of trajectory.cells) {
      const state = trajectory.read(cell, done);
      if (state && state.text !== null) fixed += cell.last - cell.first + 1;
      this.paint(cell, state, done, open);
    }
    this.bars.forEach((bar, at) => bar.classList.toggle("done", at < done));
    this.slider.value = String(done);
    this.slider.setAttribute("aria-valuetext", `step ${done} of ${trajectory.length}`);
    this.readout.replaceChildren("step ", el("b", {}, `${done} / ${trajectory.length}`), ` · ${fixed} of ${plural(trajectory.steps.length, "token")}`, open === null ? "" : ` · block ${open + 1}`);
  }

  openBlock(done) {
    const fresh = this.trajectory.cells.find((cell) => cell.states.some((state) => state.at === done - 1));
    return done > 0 && fresh ? fresh.block : null;
  }

  paint(cell, state, done, open) {
    const text = state?.text ?? null;
    const marks = [
      text === null && "masked",
      state && state.at === done - 1 && done < this.trajectory.length && "fresh",
      state?.kind === "edit" && "edited",
      state?.kind === "delete" && "removed",
      open === cell.block && done < this.trajectory.length && "here",
      this.trajectory.cells[this.inspected] === cell && "inspected",
    ].filter(Boolean).join(" ");
    // A mask is as wide as what it will become, so that nothing moves when it does.
    const reading = text ?? cell.states[0].text;
    const painted = `${marks}\n${reading}`;
    if (cell.painted === painted) return;
    for (const gain of cell.gains) gain.classList.toggle("to-come", text === null);
    if (cell.reading !== reading) cell.node.replaceChildren(...written(reading));
    cell.node.className = marks ? `${cell.base} ${marks}` : cell.base;
    [cell.painted, cell.reading] = [painted, reading];
  }

  get playing() {
    return this.timer !== null;
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  // A whole trajectory takes some eight seconds, but no step more than half of one.
  play() {
    if (this.done >= this.trajectory.length) this.seek(0);
    this.playButton.replaceChildren(icon("pause"), "Pause");
    this.readout.setAttribute("aria-live", "off");
    const pause = Math.min(Math.max(8000 / Math.max(this.trajectory.length, 1), 30), 500);
    this.timer = setInterval(() => {
      this.seek(this.done + 1);
      if (this.done >= this.trajectory.length) this.pause();
    }, pause);
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
    this.playButton.replaceChildren(icon("play"), "Play");
    this.readout.removeAttribute("aria-live");
  }
}

// Text as nodes, with a mark for every line end.
function written(text) {
  return text.split("\n").flatMap((part, place) => (place ? [el("span", { class: "nl" }, "\n"), part] : [part])).filter((part) => part !== "");
}

const visible = (text) => text.replaceAll("\n", "↵").replaceAll("\t", "⇥").replaceAll(" ", "␣") || "(part of a character)";
